use burn::tensor::{Int, Tensor};

#[cfg(feature = "flex")]
use super::fused;
#[cfg(feature = "_kernels")]
use super::kernels;
use super::update::Step;

/// A [`Step`] that is ready to be taken: nothing about it can fail any more.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which features are on decides whether it is one"
)]
pub(super) enum Addition {
    /// Rows, each added to the center of the class beside it.
    Rows(Tensor<1, Int>, Tensor<2>),
    #[cfg(feature = "flex")]
    OnHost(fused::InPlace),
    #[cfg(feature = "_kernels")]
    ByKernels(kernels::InPlace),
}

impl From<Step> for Addition {
    fn from(step: Step) -> Self {
        #[cfg(feature = "flex")]
        let step = match fused::InPlace::new(step) {
            Ok(step) => return Self::OnHost(step),
            Err(step) => *step,
        };
        #[cfg(feature = "_kernels")]
        let step = match kernels::InPlace::new(step) {
            Ok(step) => return Self::ByKernels(step),
            Err(step) => *step,
        };
        let (classes, rows) = step.rows();
        Self::Rows(classes, rows)
    }
}
