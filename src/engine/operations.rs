//! The reference: loss, gradients and pulls by Burn's tensor operations, on every backend.
//!
//! A sample that does not count has its features and its center replaced by zeros before anything is
//! computed from them. So it has exact zeros in the loss, the gradients and the pulls, whatever it
//! holds.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Int, IntDType, Tensor, Transaction};

use super::class_totals::class_totals;
use super::overflow::{self, Look};
use super::problem::{Measured, Problem, Wants};
use crate::batch::{
    BatchError, Checking, DeviceSamples, HostSamples, Meaning, PerSample, read_labels,
};
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

/// A label that names no class is replaced by 0 before anything is looked up with it, since an index
/// out of range is undefined on some backends.
fn own_centers(problem: &Problem) -> Own {
    let labels = &problem.batch.labels;
    let dtype: IntDType = problem.batch.device().settings().int_dtype;
    let classes = labels
        .clone()
        .mask_fill(problem.rules.in_range(labels).bool_not(), 0)
        .cast(dtype);
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
        let offsets = self.offsets.clone();
        let losses = match coefficients {
            Coefficients::Host(values) => self.host_losses(problem, &values),
            Coefficients::Roots(roots) => {
                let roots = roots.unsqueeze_dim::<2>(1);
                half_squares(offsets, problem.radius, |x| {
                    let x = x * roots;
                    (x.clone(), x)
                })
            }
        };
        match problem.weighing.reduction {
            Some(_) => losses.sum(),
            None => losses,
        }
    }

    fn host_losses(&self, problem: &Problem, coefficients: &[f64]) -> Tensor<1> {
        let dtype = self.offsets.dtype();
        let factors = |which: usize| -> Vec<f64> {
            let factors = coefficients.iter().map(|value| split(*value, dtype)[which]);
            factors.collect()
        };
        let times = |x: Tensor<2>, which: usize| {
            let factors = factors(which);
            if factors.iter().all(|factor| *factor == 1.0) {
                x
            } else if factors.iter().all(|factor| *factor == factors[0]) {
                x.mul_scalar(factors[0])
            } else {
                x * PerSample::Host(factors).column(&problem.batch.device(), dtype)
            }
        };
        half_squares(self.offsets.clone(), problem.radius, |x| {
            (times(times(x.clone(), 0), 1), times(times(x, 2), 3))
        })
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

/// What the half squared distances are multiplied by, one number per sample.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack"
)]
enum Coefficients {
    Host(Vec<f64>),
    /// The roots of the coefficients, `[batch_size]`.
    Roots(Tensor<1>),
}

/// Four factors whose product is the coefficient: two for either distance of a squared one.
///
/// A coefficient outside the normal range of `f32` becomes its fourth root four times. A product with a
/// distance then stays in range, step by step, if loss and gradient do.
fn split(coefficient: f64, dtype: DType) -> [f64; 4] {
    // A coefficient below 1 and a distance above, or the reverse, may be multiplied at once.
    let normal = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX) / 4.0;
    if coefficient == 0.0 || normal.contains(&coefficient) {
        return [coefficient, 1.0, 1.0, 1.0];
    }
    let root = num_traits::Float::sqrt(num_traits::Float::sqrt(coefficient));
    // The last factor makes up for the rounding of the others to the data type.
    let root = match dtype {
        DType::F64 => root,
        _ => f64::from(root as f32),
    };
    if root > 0.0 {
        [root, root, root, coefficient / root / root / root]
    } else {
        [0.0; 4]
    }
}

/// The rows with zeros where `masked`, `[batch_size]`.
fn zero_rows(rows: Tensor<2>, masked: Tensor<1, Bool>) -> Tensor<2> {
    let shape = rows.dims();
    rows.mask_fill(masked.unsqueeze_dim::<2>(1).expand(shape), 0.0)
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
    fn new(columns: usize, values: Vec<f64>) -> Self {
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

    fn are_finite(&self, sample: usize) -> bool {
        let others = self.cosine.iter().flatten();
        self.distances[sample].is_finite() && others.map(|of| of[sample]).all(f64::is_finite)
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
    let mut reads = Transaction::default()
        .register(batch.labels.clone())
        .register(numbers);
    if let Some(weights) = &batch.weights {
        reads = reads.register(weights.clone());
    }
    let data = reads
        .try_execute()
        .map_err(|error| BatchError::Read(error.to_string()))?;
    let labels = read_labels(&data[0]);
    let numbers = Numbers::new(columns, data[1].iter::<f64>().collect());
    let weights: Option<Vec<f64>> = data.get(2).map(|data| data.iter::<f64>().collect());

    let mut samples = HostSamples::default();
    for (sample, label) in labels.into_iter().enumerate() {
        let (class, weight) = match problem.rules.meaning(label) {
            Meaning::Ignored => (0, 0.0),
            Meaning::Unknown => {
                return Err(BatchError::Label {
                    sample,
                    label,
                    num_classes: problem.rules.num_classes,
                });
            }
            Meaning::Class(class) => {
                if !numbers.are_finite(sample) {
                    return Err(what_is_not_finite(problem, own, sample, class));
                }
                let value = weights.as_ref().map_or(1.0, |weights| weights[sample]);
                if !(value.is_finite() && value >= 0.0) {
                    return Err(BatchError::Weight { sample, value });
                }
                (class, value)
            }
        };
        samples.classes.push(class);
        samples.weights.push(weight);
    }
    Ok(Checked {
        geometry,
        samples,
        numbers,
    })
}

/// Why a distance is not finite: a feature, the center, or only their difference is not.
fn what_is_not_finite(problem: &Problem, own: &Own, sample: usize, class: usize) -> BatchError {
    let batch = &problem.batch;
    let features = batch.given.as_ref().unwrap_or(&batch.features);
    let bad = |rows: &Tensor<2>| -> Result<Option<(usize, f64)>, BatchError> {
        let row = rows.clone().without_autodiff().narrow(0, sample, 1);
        let row = row
            .try_into_data()
            .map_err(|error| BatchError::Read(error.to_string()))?;
        Ok(row
            .iter::<f64>()
            .enumerate()
            .find(|(_, value)| !value.is_finite()))
    };
    match (bad(features), bad(&own.centers)) {
        (Err(error), _) | (_, Err(error)) => error,
        (Ok(Some((dim, value))), _) => BatchError::Feature { sample, dim, value },
        (_, Ok(Some((dim, value)))) => BatchError::Center { class, dim, value },
        (Ok(None), Ok(None)) => BatchError::Distance {
            sample,
            class,
            dtype: format!("{:?}", batch.features.dtype()),
        },
    }
}

fn deferred(problem: &Problem, own: Own) -> Measured {
    let batch = &problem.batch;
    let weights = match &batch.weights {
        Some(weights) => weights.clone(),
        None => {
            let options = (&batch.device(), batch.features.dtype());
            Tensor::ones([batch.batch_size()], options)
        }
    };
    let states = States::new(problem, &own, &weights);
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
    let roots = problem.weighing.roots_on_device(&samples, |weights| {
        class_totals(&samples.classes, &weights, problem.rules.num_classes)
    });
    let value = geometry.value(problem, Coefficients::Roots(roots));
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

/// Which samples count, and why the others do not; each `[batch_size]`.
struct States {
    counts: Tensor<1, Bool>,
    /// Labels, features, weights, distances. A sample is bad for one reason only.
    bad: [Tensor<1, Bool>; 4],
}

impl States {
    fn new(problem: &Problem, own: &Own, weights: &Tensor<1>) -> Self {
        let labels = &problem.batch.labels;
        let features = problem.batch.features.clone().without_autodiff();
        let is_named = problem.rules.in_range(labels);
        let is_weight = weights
            .clone()
            .is_finite()
            .bool_and(weights.clone().greater_equal_elem(0.0));
        let geometry = Geometry::new(
            problem.distance,
            features.clone(),
            own.centers.clone().without_autodiff(),
        );
        let is_near = all_finite(geometry.numbers(problem.distance));

        let not_ignored = |flags: Tensor<1, Bool>| match problem.rules.ignored(labels) {
            Some(ignored) => flags.bool_and(ignored.bool_not()),
            None => flags,
        };
        let bad_label = not_ignored(is_named.clone().bool_not());
        let mut counts = not_ignored(is_named);
        let [bad_features, bad_weight, bad_distance] = [all_finite(features), is_weight, is_near]
            .map(|is_good| {
                let bad = counts.clone().bool_and(is_good.clone().bool_not());
                counts = counts.clone().bool_and(is_good);
                bad
            });
        let bad = [bad_label, bad_features, bad_weight, bad_distance];
        Self { counts, bad }
    }

    fn masked(&self) -> Tensor<1, Bool> {
        self.counts.clone().bool_not()
    }

    /// `[4]`
    fn left_out(self) -> Tensor<1, Int> {
        Tensor::cat(self.bad.map(|bad| bad.int().sum()).to_vec(), 0)
    }
}

/// Which rows are finite, `[rows]`.
fn all_finite(rows: Tensor<2>) -> Tensor<1, Bool> {
    let [_, columns] = rows.dims();
    // Divided before they are summed, so that rows of finite values have finite sums. Half of that leaves
    // room for rounding.
    rows.abs()
        .mul_scalar(0.5 / columns as f64)
        .sum_dim(1)
        .squeeze_dim::<1>(1)
        .is_finite()
}
