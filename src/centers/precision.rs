use alloc::format;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use num_traits::Float;
use serde::{Deserialize, Serialize};

use super::error::CentersError;
use crate::device::runs_shaders;

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

    /// Checks that the device has exponentials, logarithms and functions of angles in `f64`, if they are
    /// asked for. Some devices compute in that type but give wrong values for functions. Reads a few
    /// numbers back from the device.
    pub(crate) fn check_functions(self, device: &Device) -> Result<(), CentersError> {
        if self == Self::F32 || has_functions(device).unwrap_or(false) {
            Ok(())
        } else {
            Err(CentersError::Precision {
                device: format!("{device:?}"),
            })
        }
    }
}

/// `None` if the device does not compute in `f64`, cannot be asked, or does not return the numbers.
fn has_functions(device: &Device) -> Option<bool> {
    if runs_shaders(device) || !device.supports_dtype(DType::F64) {
        return None;
    }
    // Two, since a function of the number one may be replaced by its value, and its inverse undone.
    let two = Tensor::<1>::full([1], 2.0, (device, DType::F64));
    let found = [
        (two.clone().exp(), Float::exp(2.0_f64)),
        (two.clone().log(), core::f64::consts::LN_2),
        (two.clone().cos(), Float::cos(2.0_f64)),
        (two.sin(), Float::sin(2.0_f64)),
    ];
    let mut all = true;
    for (found, expected) in found {
        let found = found.try_into_data().ok()?.iter::<f64>().next()?;
        all &= Float::abs(found - expected) <= 1e-14 * Float::abs(expected);
    }
    Some(all)
}
