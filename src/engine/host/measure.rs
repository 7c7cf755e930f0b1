//! One pass over the batch: it reads features and centers once, and writes gradient and pulls once.

use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Element, ElementConversion, Tensor, TensorData};
use core::ops::Range;
use num_traits::Float;

use super::memory::contiguous;
use super::pass::{Found, Pass, Weights, largest};
use super::samples::{host_classes, host_weights};
use crate::batch::{Groups, HostSamples, PerGroup, totals_and_shares};
use crate::centers::{Entries, Pulls, Singles};
use crate::distance::CenterDistance;
use crate::engine::autodiff::with_gradient;
use crate::engine::overflow;
use crate::engine::problem::{Measured, Problem, Wants};

/// Loss of a batch and the pulls on the centers; `None` if the pass does not support the distance, or
/// if a sample is bad.
pub(in crate::engine) fn measure(problem: &Problem) -> Option<Measured> {
    if problem.distance != CenterDistance::Euclidean || problem.radius > 0.0 {
        return None;
    }
    match problem.batch.features.dtype() {
        DType::F32 => measure_in::<f32>(problem, |tensor| tensor.as_slice()),
        DType::F64 => measure_in::<f64>(problem, |tensor| tensor.as_slice()),
        _ => None,
    }
}

fn measure_in<T: Element + Float>(
    problem: &Problem,
    values: fn(&FloatTensor<Flex>) -> Option<&[T]>,
) -> Option<Measured> {
    let batch = &problem.batch;
    let dtype = batch.features.dtype();
    let features = contiguous(batch.features.clone().without_autodiff())?;
    let centers = contiguous(problem.centers.clone())?;
    let classes = host_classes(problem.rules, &batch.labels)?;
    let weights = match &batch.weights {
        Some(weights) => Some(host_weights(weights, &classes)?),
        None => None,
    };
    let groups = Groups::new(&classes);
    if groups.len() == 0 {
        return None;
    }
    let weights = weights.as_deref();
    let coefficients = problem
        .weighing
        .coefficients(&groups, weights, classes.len());
    let (totals, shares) = totals_and_shares(&groups, weights);

    let Found {
        squares,
        gradient,
        pulls,
    } = Pass {
        feature_dim: problem.rules.feature_dim,
        features: values(&features)?,
        centers: values(&centers)?,
        groups: &groups,
        weights: &Weights::new(&coefficients, &shares)?,
        wants_gradient: batch.is_autodiff,
        wants: problem.wants,
    }
    .run();

    // `None` if a feature is not finite, or if its squared distance is not.
    let longest = Float::sqrt(largest(&squares)?.elem::<f64>());
    let value = loss::<T>(problem, &groups, &coefficients, &squares, classes.len())?;
    let matrix = |values: Vec<T>| {
        let rows = values.len() / problem.rules.feature_dim;
        FloatTensor::<Flex>::from_data(TensorData::new(values, [rows, problem.rules.feature_dim]))
    };
    let steepest = coefficients.largest() * longest;
    if batch.is_autodiff && overflow::exceeds(steepest, overflow::limit(dtype)) {
        return None;
    }
    let value = if batch.is_autodiff {
        let gradient = Tensor::from_primitive::<Flex>(matrix(gradient));
        with_gradient(batch.features.clone(), value, gradient)
    } else {
        value
    };
    let singles = if problem.wants == Wants::Step {
        singles(&groups, &features)
    } else {
        None
    };
    let pulls = (problem.wants != Wants::Nothing).then(|| {
        Box::new(Pulls {
            rows: Tensor::from_primitive::<Flex>(matrix(pulls)),
            entries: Entries::Host {
                samples: HostSamples {
                    classes: groups.classes,
                    weights: totals,
                },
                reach: longest,
            },
            num_classes: problem.rules.num_classes,
            singles,
        })
    });
    Some(Measured {
        value,
        pulls,
        left_out: None,
    })
}

/// The groups of one sample, if there are any.
fn singles(groups: &Groups, features: &FloatTensor<Flex>) -> Option<Box<Singles>> {
    if groups.each_places().all(|places| places.len() > 1) {
        return None;
    }
    let only_sample = |places: Range<usize>| match groups.order[places] {
        [sample] => Some(sample),
        _ => None,
    };
    Some(Box::new(Singles {
        samples: groups.each_places().map(only_sample).collect(),
        features: Tensor::from_primitive::<Flex>(features.clone()),
    }))
}

/// The loss, of squared distances in the order of the groups; `None` if it overflows.
fn loss<T: Element + Float>(
    problem: &Problem,
    groups: &Groups,
    coefficients: &PerGroup,
    squares: &[T],
    batch_size: usize,
) -> Option<Tensor<1>> {
    let values: Vec<T> = match problem.weighing.reduction {
        Some(_) => alloc::vec![sum(groups, coefficients, squares).elem()],
        None => {
            let mut losses = alloc::vec![T::zero(); batch_size];
            for group in 0..groups.len() {
                let squares = &squares[groups.places(group..group + 1)];
                for (sample, square) in groups.samples(group).iter().zip(squares) {
                    let coefficient = coefficients.of(group, *sample);
                    losses[*sample] = (0.5 * coefficient * square.elem::<f64>()).elem();
                }
            }
            losses
        }
    };
    let limit = overflow::limit(problem.batch.features.dtype());
    let is_in_range = values
        .iter()
        .all(|value| !overflow::exceeds(value.elem(), limit));
    is_in_range.then(|| {
        let values = TensorData::from(values.as_slice());
        Tensor::from_primitive::<Flex>(FloatTensor::<Flex>::from_data(values))
    })
}

/// The loss of all samples.
fn sum<T: Element>(groups: &Groups, coefficients: &PerGroup, squares: &[T]) -> f64 {
    let square = |place: usize| squares[place].elem::<f64>();
    let twice: f64 = match coefficients {
        PerGroup::Same(coefficients) => coefficients
            .iter()
            .zip(groups.each_places())
            .map(|(coefficient, places)| coefficient * places.map(square).sum::<f64>())
            .sum(),
        PerGroup::Each(coefficients) => (0..groups.order.len())
            .map(|place| coefficients[groups.order[place]] * square(place))
            .sum(),
    };
    0.5 * twice
}
