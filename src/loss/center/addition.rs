use burn::tensor::{IndexingUpdateOp, Int, Tensor};

#[cfg(feature = "flex")]
use super::fused::InPlace;
use super::update::Step;

/// A [`Step`] that is ready to be taken: nothing about it can fail any more.
pub(super) enum Addition {
    /// Rows, each added to the center of the class beside it.
    Rows(Tensor<1, Int>, Tensor<2>),
    #[cfg(feature = "flex")]
    InPlace(InPlace),
}

impl From<Step> for Addition {
    fn from(step: Step) -> Self {
        #[cfg(feature = "flex")]
        let step = match InPlace::new(step) {
            Ok(step) => return Self::InPlace(step),
            Err(step) => step,
        };
        let (classes, rows) = step.rows();
        Self::Rows(classes, rows)
    }
}

impl Addition {
    /// The centers after the step. Where this is their only handle they are changed in place.
    pub fn added_to(self, centers: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Rows(classes, rows) => {
                centers.select_assign(0, classes, rows, IndexingUpdateOp::Add)
            }
            #[cfg(feature = "flex")]
            Self::InPlace(step) => step.added_to(centers),
        }
    }
}
