use burn::tensor::FloatDType;
use serde::{Deserialize, Serialize};

/// The data type of the centers, of the loss and of everything summed on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// `f32`, also for half-precision features.
    #[default]
    F32,
    /// `f64`, where the backend has it.
    F64,
}

impl Precision {
    pub(crate) fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F64 => FloatDType::F64,
        }
    }
}
