//! One kernel walks features and centers. It writes the differences, which are both the gradient, up to
//! a number per sample, and the pulls. What remains is arithmetic on one number per sample.

use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor, TensorData, Transaction};
use core::f64::consts::SQRT_2;
use num_traits::Float;

use super::extension::Kernels;
use super::known_labels::{KnownLabels, State};
use crate::batch::{Checking, DeviceSamples, HostSamples};
use crate::centers::{Entries, OnDevice, Pulls};
use crate::distance::CenterDistance;
use crate::engine::autodiff::with_gradient_of_rows;
use crate::engine::class_totals::class_totals;
use crate::engine::overflow::{self, Look};
use crate::engine::problem::{Measured, Problem, Wants};

/// Loss of a batch and the pulls on the centers; `None` if the kernels do not support the distance, or
/// if strict checking finds a bad sample.
pub(in crate::engine) fn measure(problem: &Problem) -> Option<Measured> {
    if problem.distance != CenterDistance::Euclidean || problem.radius > 0.0 {
        return None;
    }
    let found = Found::launch(problem);
    let offsets = found.offsets.clone();
    let left_out = found.left_out();
    let (weighed, left_out) = match problem.rules.checking {
        Checking::Strict => (weigh_on_host(problem, found)?, None),
        Checking::Deferred => (weigh_on_device(problem, found), Some(Box::new(left_out))),
    };
    let features = &problem.batch.features;
    let value = if problem.batch.is_autodiff {
        with_gradient_of_rows(
            features.clone(),
            weighed.value,
            weighed.directions,
            weighed.coefficients,
        )
    } else {
        weighed.value
    };
    Some(Measured {
        value,
        pulls: (problem.wants != Wants::Nothing).then(|| {
            Box::new(Pulls {
                rows: offsets,
                entries: weighed.entries,
                num_classes: problem.rules.num_classes,
                singles: None,
            })
        }),
        left_out,
    })
}

/// What the kernel finds.
struct Found {
    /// `[batch_size, feature_dim]`: features minus centers, zero for a sample that does not count.
    offsets: Tensor<2>,
    /// `[3, batch_size]`: two numbers whose product is half the squared distance, and the weight.
    numbers: Tensor<2>,
    /// `[2, batch_size]`: class and state.
    marks: Tensor<2, Int>,
}

impl Found {
    fn launch(problem: &Problem) -> Self {
        let batch = &problem.batch;
        let (device, dtype) = (batch.device(), batch.features.dtype());
        let weights = match &batch.weights {
            Some(weights) => weights.clone(),
            None => Tensor::ones([batch.batch_size()], (&device, dtype)),
        };
        let (offsets, numbers, marks) = Dispatch::center_measure(
            batch.features.clone().without_autodiff().into_dispatch(),
            problem.centers.clone().into_dispatch(),
            batch.labels.clone().into_dispatch(),
            weights.into_dispatch(),
            KnownLabels::new(problem.rules, batch.labels.dtype()),
            device.settings().int_dtype.into(),
        );
        Self {
            offsets: Tensor::from_dispatch(offsets),
            numbers: Tensor::from_dispatch(numbers),
            marks: Tensor::from_dispatch(marks),
        }
    }

    fn mark(&self, which: usize) -> Tensor<1, Int> {
        self.marks.clone().narrow(0, which, 1).squeeze_dim(0)
    }

    fn number(&self, which: usize) -> Tensor<1> {
        self.numbers.clone().narrow(0, which, 1).squeeze_dim(0)
    }

    /// How many samples have a bad label, bad features, a bad weight and a bad distance, `[4]`.
    fn left_out(&self) -> Tensor<1, Int> {
        let states = self.mark(1);
        let bad = [
            State::BAD_LABEL,
            State::BAD_FEATURES,
            State::BAD_WEIGHT,
            State::BAD_DISTANCE,
        ]
        .map(i64::from);
        let shape = [bad.len(), states.dims()[0]];
        let bad = Tensor::<1, Int>::from_data(bad, (&states.device(), states.dtype()));
        let states = states.unsqueeze_dim::<2>(0).expand(shape);
        let found = states.equal(bad.unsqueeze_dim::<2>(1).expand(shape));
        found.int().sum_dim(1).squeeze_dim(1)
    }
}

/// What the kernel's numbers come to under the weighing of the loss.
struct Weighed {
    value: Tensor<1>,
    /// `[batch_size, feature_dim]`: the gradient of the features, but for the coefficients.
    directions: Tensor<2>,
    /// `[batch_size]`
    coefficients: Tensor<1>,
    entries: Entries,
}

/// `None` if a sample is bad, or if the loss or a gradient is not finite.
fn weigh_on_host(problem: &Problem, found: Found) -> Option<Weighed> {
    let (device, dtype) = (problem.batch.device(), found.numbers.dtype());
    let data = Transaction::default()
        .register(found.numbers)
        .register(found.marks)
        .try_execute()
        .ok()?;
    let numbers: Vec<f64> = data[0].iter::<f64>().collect();
    let marks: Vec<i64> = data[1].iter::<i64>().collect();
    let batch_size = marks.len() / 2;
    let (classes, states) = marks.split_at(batch_size);
    let good = [State::GOOD, State::IGNORED].map(i64::from);
    if !states.iter().all(|state| good.contains(state)) {
        return None;
    }
    let (one, rest) = numbers.split_at(batch_size);
    let (other, weights) = rest.split_at(batch_size);
    // Roots and products of one number at a time: the square of a distance may overflow.
    let distances: Vec<f64> = one
        .iter()
        .zip(other)
        .map(|(one, other)| SQRT_2 * Float::sqrt(*one) * Float::sqrt(*other))
        .collect();
    let samples = HostSamples {
        classes: classes.iter().map(|class| *class as usize).collect(),
        weights: weights.to_vec(),
    };
    let coefficients = problem.weighing.of_samples(&samples);
    let look = Look {
        distances: &distances,
        norms: None,
        samples: &samples,
        coefficients: &coefficients,
    };
    overflow::check(problem, &look, dtype).ok()?;
    // A coefficient that the data type cannot hold is left to the tensor operations.
    let holds = |value: &f64| *value == 0.0 || overflow::normal(dtype).contains(value);
    if !coefficients.iter().all(holds) {
        return None;
    }
    let losses = coefficients
        .iter()
        .zip(one.iter().zip(other))
        .map(|(coefficient, (one, other))| coefficient * one * other);
    let values: Vec<f64> = match problem.weighing.reduction {
        Some(_) => alloc::vec![losses.sum()],
        None => losses.collect(),
    };
    let upload = |values: Vec<f64>| {
        let shape = [values.len()];
        Tensor::from_data(TensorData::new(values, shape), (&device, dtype))
    };
    Some(Weighed {
        value: upload(values),
        directions: found.offsets,
        coefficients: upload(coefficients),
        entries: Entries::Host {
            reach: distances.into_iter().fold(0.0, f64::max),
            samples,
        },
    })
}

/// The same without a read.
fn weigh_on_device(problem: &Problem, found: Found) -> Weighed {
    let samples = DeviceSamples {
        classes: found.mark(0),
        weights: found.number(2),
        are_weighted: problem.batch.weights.is_some(),
    };
    let roots = problem.weighing.roots_on_device(&samples, |weights| {
        class_totals(&samples.classes, &weights, problem.rules.num_classes)
    });
    let (one, other) = (found.number(0), found.number(1));
    let losses = (roots.clone() * one.clone()) * (roots.clone() * other.clone());
    Weighed {
        value: match problem.weighing.reduction {
            Some(_) => losses.sum(),
            None => losses,
        },
        // One root at a time: their product may be beyond the data type where the gradient is not. Without
        // autodiff there is no gradient.
        directions: if problem.batch.is_autodiff {
            found.offsets * roots.clone().unsqueeze_dim(1)
        } else {
            found.offsets
        },
        coefficients: roots,
        entries: Entries::Device(Box::new(OnDevice {
            samples,
            reach: one.sqrt() * other.sqrt() * SQRT_2,
        })),
    }
}
