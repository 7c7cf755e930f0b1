use alloc::boxed::Box;
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::super::update::Step;
use super::operations::CenterKernels;
use super::run_on;

/// A [`Step`] that changes centers in the memory of their device.
pub(in super::super) struct InPlace {
    classes: Tensor<1, Int>,
    pulls: Tensor<2>,
    factors: Tensor<1>,
}

impl InPlace {
    /// The step back where no kernel runs.
    pub fn new(step: Step) -> Result<Self, Box<Step>> {
        let (device, dtype) = (step.pulls.device(), step.pulls.dtype());
        match run_on(&device) {
            true => Ok(Self {
                classes: step.classes.on(&device),
                factors: step.factors.column(&device, dtype).squeeze_dim(1),
                pulls: step.pulls,
            }),
            false => Err(Box::new(step)),
        }
    }

    /// The centers, which are on the device of the step and of its data type, after the step.
    pub fn added_to(self, centers: Tensor<2>) -> Tensor<2> {
        Tensor::from_dispatch(Dispatch::center_apply(
            centers.into_dispatch(),
            self.classes.into_dispatch(),
            self.pulls.into_dispatch(),
            self.factors.into_dispatch(),
        ))
    }
}
