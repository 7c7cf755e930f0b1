use super::operations;
use super::problem::{Measured, Problem};
use crate::batch::BatchError;
use crate::device::{Engine, engine_of};

/// Loss of a batch and, if asked for, the pulls on the centers.
pub(crate) fn measure(problem: &Problem) -> Result<Measured, BatchError> {
    let faster = match engine_of(&problem.batch.device()) {
        // Gradients of the centers are left to Burn's own autodiff.
        _ if problem.tracked => None,
        #[cfg(feature = "flex")]
        Engine::Host => super::host::measure(problem),
        #[cfg(feature = "_kernels")]
        Engine::Cube => super::cube::measure(problem),
        Engine::Operations => None,
    };
    match faster {
        Some(measured) => Ok(measured),
        None => operations::measure(problem),
    }
}
