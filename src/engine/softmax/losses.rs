use burn::tensor::Tensor;

use super::blocks::Blocks;
use super::plain;
use super::problem::Softmax;
use crate::batch::PerSample;
use crate::device::has_late_gradients;
#[cfg(feature = "flex")]
use crate::device::{Engine, engine_of};
use crate::engine::counting::Coefficients;
#[cfg(feature = "flex")]
use crate::engine::host;
use crate::engine::late_gradients::{Derivative, with_late_gradients};

/// What a softmax gives.
pub(crate) struct Losses {
    /// The weighed losses of the samples, `[batch_size]`, or their sum, `[1]`, on the graph of features and
    /// class vectors.
    pub value: Tensor<1>,
    /// The losses before they are weighed, without autodiff.
    pub each: PerSample,
}

/// The losses of the samples.
///
/// Classes are gone through in blocks, forth and back, so that no matrix of all scores exists beyond the
/// budget. A backend that cannot take its gradients from outside its graph gets the plain operations.
pub(crate) fn losses(problem: Softmax, coefficients: Coefficients, is_reduced: bool) -> Losses {
    let inputs = [problem.features.clone(), problem.centers.clone()];
    #[cfg(feature = "flex")]
    if let Engine::Host = engine_of(&problem.classes.device()) {
        let folded = coefficients.within_single();
        if let Some(found) = host::losses(&problem, folded, is_reduced) {
            let value = with_gradients(inputs, found.value, found.softmax);
            return Losses {
                value: match folded {
                    Some(_) => value,
                    None => coefficients.weigh_all(value, is_reduced),
                },
                each: PerSample::Host(found.losses),
            };
        }
    }
    let losses = if has_late_gradients(&problem.classes.device()) {
        let (losses, blocks) = Blocks::forward(problem);
        with_gradients(inputs, losses, blocks)
    } else {
        plain::losses(&problem)
    };
    let each = PerSample::Device(losses.clone().without_autodiff());
    Losses {
        value: coefficients.weigh_all(losses, is_reduced),
        each,
    }
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
