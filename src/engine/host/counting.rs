//! Which samples of a batch count, where the host reads them at no cost.

use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::DType;
use num_traits::Float;

use super::memory::contiguous;
use super::samples::{host_classes, host_weights};
use crate::batch::{
    BatchRules, Checking, FittedBatch, Groups, HostSamples, NO_CLASS, Weighing, index,
};
use crate::engine::counting::{Counted, Samples};
use crate::engine::strict::{Known, StrictSamples};

/// The samples of a batch in which all count; `None` if one is ignored or bad, or for a data type other
/// than `f32`, or under deferred checking.
pub(in crate::engine) fn count(
    batch: &FittedBatch,
    rules: &BatchRules,
    weighing: &Weighing,
) -> Option<Counted<'static>> {
    let is_single = batch.features.dtype() == DType::F32;
    if rules.checking != Checking::Strict || !is_single {
        return None;
    }
    let classes = host_classes(rules, &batch.labels)?;
    if classes.contains(&NO_CLASS) {
        return None;
    }
    let weights = match &batch.weights {
        Some(weights) => Some(host_weights(weights, &classes)?),
        None => None,
    };
    let features = contiguous(batch.features.clone().without_autodiff())?;
    let lengths: Vec<f64> = features
        .as_slice::<f32>()?
        .chunks_exact(rules.feature_dim)
        .map(length)
        .collect();
    // In f64 no square of an f32 overflows.
    if !lengths.iter().all(|length| length.is_finite()) {
        return None;
    }
    let groups = Groups::new(&classes);
    let coefficients = weighing.coefficients(&groups, weights.as_deref(), classes.len());
    let coefficients = groups
        .of_samples()
        .into_iter()
        .enumerate()
        .map(|(sample, group)| coefficients.of(group, sample))
        .collect();
    Some(Counted {
        features: batch.features.clone(),
        classes: index(&classes, &batch.device()),
        samples: Samples::Strict(StrictSamples::Known(Known {
            samples: HostSamples {
                weights: weights.unwrap_or_else(|| vec![1.0; classes.len()]),
                classes,
            },
            lengths,
            coefficients,
        })),
        left_out: None,
    })
}

fn length(row: &[f32]) -> f64 {
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    Float::sqrt(row.iter().map(square).sum::<f64>())
}
