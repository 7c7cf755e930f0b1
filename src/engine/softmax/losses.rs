use burn::tensor::Tensor;

use super::blocks::Blocks;
use super::plain;
use super::problem::Softmax;
#[cfg(feature = "flex")]
use crate::device::{Engine, engine_of};
#[cfg(feature = "flex")]
use crate::engine::host;
use crate::engine::late_gradients::{Derivative, has_late_gradients, with_late_gradients};

/// The loss of each sample, `[batch_size]`, on the graph of features and centers.
///
/// Classes are gone through in blocks, forth and back, so that no matrix of all scores exists beyond the
/// budget. A backend that can't take its gradients from outside its graph gets the plain operations.
pub(crate) fn losses(problem: Softmax) -> Tensor<1> {
    if !has_late_gradients(&problem.classes.device()) {
        return plain::losses(&problem);
    }
    let inputs = [problem.features.clone(), problem.centers.clone()];
    #[cfg(feature = "flex")]
    if let Engine::Host = engine_of(&problem.classes.device())
        && let Some((values, softmax)) = host::losses(&problem)
    {
        return with_gradients(inputs, values, softmax);
    }
    let (values, blocks) = Blocks::forward(problem);
    with_gradients(inputs, values, blocks)
}

fn with_gradients(
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
