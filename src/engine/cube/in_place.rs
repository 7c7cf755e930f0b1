use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::extension::Kernels;
use crate::centers::Step;

/// A step that changes centers in the memory of their device.
pub(crate) struct InPlace {
    classes: Tensor<1, Int>,
    pulls: Tensor<2>,
    factors: Tensor<1>,
}

impl InPlace {
    pub fn new(step: Step) -> Self {
        let (device, dtype) = (step.pulls.device(), step.pulls.dtype());
        Self {
            classes: step.classes.on(&device),
            factors: step.factors.column(&device, dtype).squeeze_dim(1),
            pulls: step.pulls,
        }
    }

    /// The centers, which are on the device of the step and of its data type, after the step.
    pub fn add_to(self, centers: Tensor<2>) -> Tensor<2> {
        Tensor::from_dispatch(Dispatch::center_apply(
            centers.into_dispatch(),
            self.classes.into_dispatch(),
            self.pulls.into_dispatch(),
            self.factors.into_dispatch(),
        ))
    }
}
