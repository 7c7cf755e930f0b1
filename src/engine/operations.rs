//! The reference: loss, gradients and pulls by Burn's tensor operations, on every backend.
//!
//! Which samples count is decided in `counting`. The centers of those that do not are replaced by zeros
//! as well, so that they have exact zeros in the pulls too.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Int, Tensor};

use super::counting::{
    Coefficients, States, all_finite, classes_in_range, weights_or_ones, zero_rows,
};
use super::overflow::{self, Look};
use super::problem::{Measured, Problem, Wants};
use super::strict::{Read, given_features, not_finite, read_samples};
use crate::batch::{BatchError, Checking, DeviceSamples, HostSamples};
use crate::centers::{Entries, OnDevice, Pulls};
use crate::distance::{CenterDistance, beyond, half_squares, norms, unit_rows};

/// Loss of a batch and the pulls on the centers, or what is wrong with the batch.
pub(super) fn measure(problem: &Problem) -> Result<Measured, BatchError> {
    let own = own_centers(problem);
    match problem.rules.checking {
        Checking::Strict => strict(problem, own),
        Checking::Deferred => Ok(deferred(problem, own)),
    }
}

/// The distance of every sample that counts from the center of its class, radius and weights aside.
pub(crate) fn distances(problem: &Problem) -> Result<Vec<f64>, BatchError> {
    let own = own_centers(problem);
    let Checked {
        samples, numbers, ..
    } = check(problem, &own)?;
    Ok(numbers
        .distances
        .into_iter()
        .zip(&samples.weights)
        .filter(|(_, weight)| **weight > 0.0)
        .map(|(distance, _)| distance)
        .collect())
}

/// The class of each sample and its center.
struct Own {
    /// In range, and in the device's own integer type.
    classes: Tensor<1, Int>,
    /// `[batch_size, feature_dim]`
    centers: Tensor<2>,
}

fn own_centers(problem: &Problem) -> Own {
    let classes = classes_in_range(problem.rules, &problem.batch);
    Own {
        centers: problem.centers.clone().select(0, classes.clone()),
        classes,
    }
}

/// How features lie to their centers. `[batch_size, feature_dim]`
struct Geometry {
    features: Tensor<2>,
    centers: Tensor<2>,
    /// What the loss measures.
    offsets: Tensor<2>,
    /// What moves the centers, without autodiff. Under the cosine distance the centers move towards
    /// directions but have any length themselves.
    pulls: Tensor<2>,
}

impl Geometry {
    fn new(distance: CenterDistance, features: Tensor<2>, centers: Tensor<2>) -> Self {
        let (offsets, pulls) = match distance {
            CenterDistance::Euclidean => {
                let offsets = features.clone() - centers.clone();
                (offsets.clone(), offsets.without_autodiff())
            }
            CenterDistance::Cosine => {
                let directions = unit_rows(features.clone());
                let pulls =
                    directions.clone().without_autodiff() - centers.clone().without_autodiff();
                (directions - unit_rows(centers.clone()), pulls)
            }
        };
        Self {
            features,
            centers,
            offsets,
            pulls,
        }
    }

    /// Distance and length of the pull of each sample and, under the cosine distance, the norms of
    /// feature and center: `[batch_size, 1 or 4]`. One of them is not finite if anything is not.
    fn numbers(&self, distance: CenterDistance) -> Tensor<2> {
        let distances = norms(self.offsets.clone().without_autodiff());
        match distance {
            CenterDistance::Euclidean => distances,
            CenterDistance::Cosine => {
                let rows = [&self.pulls, &self.features, &self.centers];
                let rows = rows.map(|rows| norms(rows.clone().without_autodiff()));
                Tensor::cat([vec![distances], rows.to_vec()].concat(), 1)
            }
        }
    }

    /// The loss, of which each half squared distance has its coefficient.
    fn value(&self, problem: &Problem, coefficients: Coefficients) -> Tensor<1> {
        let losses = half_squares(self.offsets.clone(), problem.radius, |x| {
            coefficients.pair(x)
        });
        match problem.weighing.reduction {
            Some(_) => losses.sum(),
            None => losses,
        }
    }

    fn pulls(self, problem: &Problem, entries: Entries) -> Option<Box<Pulls>> {
        (problem.wants != Wants::Nothing).then(|| {
            Box::new(Pulls {
                rows: if problem.radius > 0.0 {
                    let offsets = self.offsets.without_autodiff();
                    self.pulls * beyond(offsets, problem.radius)
                } else {
                    self.pulls
                },
                entries,
                num_classes: problem.rules.num_classes,
                singles: None,
            })
        })
    }
}

/// A batch whose samples are all good.
struct Checked {
    geometry: Geometry,
    samples: HostSamples,
    numbers: Numbers,
}

/// [`Geometry::numbers`] on the host.
struct Numbers {
    distances: Vec<f64>,
    /// Lengths of pulls, features and centers, under the cosine distance.
    cosine: Option<[Vec<f64>; 3]>,
}

impl Numbers {
    fn new(columns: usize, values: &[f64]) -> Self {
        let column = |column: usize| -> Vec<f64> {
            values
                .iter()
                .skip(column)
                .step_by(columns)
                .copied()
                .collect()
        };
        Self {
            distances: column(0),
            cosine: (columns > 1).then(|| [1, 2, 3].map(column)),
        }
    }

    /// An upper bound of the entries of the pulls.
    fn reach(&self) -> f64 {
        let lengths = match &self.cosine {
            Some([pulls, ..]) => pulls,
            None => &self.distances,
        };
        lengths.iter().copied().fold(0.0, f64::max)
    }
}

fn strict(problem: &Problem, own: Own) -> Result<Measured, BatchError> {
    let Checked {
        geometry,
        samples,
        numbers,
    } = check(problem, &own)?;
    let mut coefficients = problem.weighing.of_samples(&samples);
    for (coefficient, distance) in coefficients.iter_mut().zip(&numbers.distances) {
        // Such a sample has neither loss nor gradient. Its coefficient may be beyond the data type, and
        // infinity times zero would be NaN.
        if *distance <= problem.radius {
            *coefficient = 0.0;
        }
    }
    let look = Look {
        distances: &numbers.distances,
        norms: match &numbers.cosine {
            Some([_, features, centers]) => Some((features, centers)),
            None => None,
        },
        samples: &samples,
        coefficients: &coefficients,
    };
    overflow::check(problem, &look, geometry.offsets.dtype())?;
    let value = geometry.value(problem, Coefficients::Host(coefficients));
    let entries = Entries::Host {
        reach: numbers.reach(),
        samples,
    };
    Ok(Measured {
        value,
        pulls: geometry.pulls(problem, entries),
        left_out: None,
    })
}

/// Reads labels, weights and [`Geometry::numbers`], and refuses the batch if a sample is bad.
fn check(problem: &Problem, own: &Own) -> Result<Checked, BatchError> {
    let batch = &problem.batch;
    let (mut features, mut centers) = (batch.features.clone(), own.centers.clone());
    if let Some(ignored) = problem.rules.ignored(&batch.labels) {
        features = zero_rows(features, ignored.clone());
        centers = zero_rows(centers, ignored);
    }
    let geometry = Geometry::new(problem.distance, features, centers);
    let numbers = geometry.numbers(problem.distance);
    let [_, columns] = numbers.dims();
    let Read {
        samples, numbers, ..
    } = read_samples(batch, problem.rules, numbers, None, |sample, class| {
        what_is_not_finite(problem, own, sample, class)
    })?;
    Ok(Checked {
        geometry,
        samples,
        numbers: Numbers::new(columns, &numbers),
    })
}

/// Why a distance is not finite: a feature, the center, or only their difference is not.
fn what_is_not_finite(
    problem: &Problem,
    own: &Own,
    sample: usize,
    class: usize,
) -> Result<BatchError, BatchError> {
    let batch = &problem.batch;
    if let Some((dim, value)) = not_finite(given_features(batch), sample)? {
        return Ok(BatchError::Feature { sample, dim, value });
    }
    if let Some((dim, value)) = not_finite(&own.centers, sample)? {
        return Ok(BatchError::Center { class, dim, value });
    }
    Ok(BatchError::Distance {
        sample,
        class,
        dtype: format!("{:?}", batch.features.dtype()),
    })
}

fn deferred(problem: &Problem, own: Own) -> Measured {
    let batch = &problem.batch;
    let weights = weights_or_ones(batch);
    let near = Geometry::new(
        problem.distance,
        batch.features.clone().without_autodiff(),
        own.centers.clone().without_autodiff(),
    );
    let is_near = all_finite(near.numbers(problem.distance));
    let states = States::new(batch, problem.rules, &weights, Some(is_near));
    let masked = states.masked();
    let geometry = Geometry::new(
        problem.distance,
        zero_rows(batch.features.clone(), masked.clone()),
        zero_rows(own.centers, masked.clone()),
    );
    let samples = DeviceSamples {
        classes: own.classes,
        weights: weights.mask_fill(masked, 0.0),
        are_weighted: batch.weights.is_some(),
    };
    let coefficients =
        Coefficients::on_device(&problem.weighing, &samples, problem.rules.num_classes);
    let value = geometry.value(problem, coefficients);
    let reach = norms(geometry.pulls.clone()).squeeze_dim(1);
    Measured {
        value,
        pulls: geometry.pulls(
            problem,
            Entries::Device(Box::new(OnDevice { samples, reach })),
        ),
        left_out: Some(Box::new(states.left_out())),
    }
}
