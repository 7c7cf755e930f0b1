use burn::tensor::Tensor;

use super::blocks::Blocks;
use super::plain;
use super::problem::Softmax;
use crate::batch::PerSample;
use crate::device::has_late_gradients;
#[cfg(feature = "flex")]
use crate::device::{Engine, engine_of};
#[cfg(feature = "flex")]
use crate::engine::counting::are_within_single;
#[cfg(feature = "flex")]
use crate::engine::host;
use crate::engine::late_gradients::{Derivative, with_late_gradients};

/// The losses of the samples of a batch.
pub(crate) struct Losses {
    /// On the graph of features and class vectors: the losses, `[batch_size]`, or what weighing them gives.
    pub value: Tensor<1>,
    /// The losses before they are weighed, without autodiff.
    pub each: PerSample,
    pub is_weighed: bool,
}

impl Losses {
    /// Losses, `[batch_size]`, that are still to be weighed.
    pub fn not_weighed(losses: Tensor<1>) -> Self {
        Self {
            each: PerSample::Device(losses.clone().without_autodiff()),
            value: losses,
            is_weighed: false,
        }
    }
}

/// The losses of the samples. An engine that weighs them on the way does so if it gets `coefficients`, and
/// reduces them if `is_reduced`.
///
/// Classes are gone through in blocks, forth and back, so that no matrix of all scores exists beyond the
/// budget. A backend that cannot take its gradients from outside its graph gets the plain operations.
#[cfg_attr(
    not(feature = "flex"),
    expect(
        unused_variables,
        reason = "only the host's engine weighs losses on the way"
    )
)]
pub(crate) fn losses(problem: Softmax, coefficients: Option<&[f64]>, is_reduced: bool) -> Losses {
    let inputs = [problem.features.clone(), problem.centers.clone()];
    #[cfg(feature = "flex")]
    if let Engine::Host = engine_of(&problem.classes.device()) {
        let coefficients = coefficients.filter(|coefficients| are_within_single(coefficients));
        if let Some(found) = host::losses(&problem, coefficients, is_reduced) {
            return Losses {
                value: with_gradients(inputs, found.value, found.softmax),
                each: PerSample::Host(found.losses),
                is_weighed: coefficients.is_some(),
            };
        }
    }
    Losses::not_weighed(if has_late_gradients(&problem.classes.device()) {
        let (losses, blocks) = Blocks::forward(problem);
        with_gradients(inputs, losses, blocks)
    } else {
        plain::losses(&problem)
    })
}

pub(super) fn with_gradients(
    inputs: [Tensor<2>; 2],
    values: Tensor<1>,
    derivative: impl Derivative + 'static,
) -> Tensor<1> {
    if inputs.iter().any(Tensor::is_autodiff) {
        with_late_gradients(inputs, values, derivative)
    } else {
        values
    }
}
