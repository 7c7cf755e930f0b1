use burn::tensor::{DType, Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::device::runs_shaders;
use crate::error::LossError;

/// The data type of the centers, of the loss and of all sums.
///
/// # Example
///
/// ```
/// use burn::tensor::{DType, Device, Tensor};
/// use burn_center_loss::{CenterDType, CenterLossConfig};
///
/// let device = Device::flex();
/// let loss = CenterLossConfig::new(3, 2).with_dtype(CenterDType::F64).init(&device);
/// let value = loss.forward(Tensor::ones([1, 2], &device), Tensor::from_data([0], &device));
/// assert_eq!(value.dtype(), DType::F64);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CenterDType {
    /// `f32`, also for half-precision features.
    #[default]
    F32,
    /// `f64`, where the backend has it.
    F64,
}

impl From<CenterDType> for FloatDType {
    fn from(dtype: CenterDType) -> Self {
        match dtype {
            CenterDType::F32 => Self::F32,
            CenterDType::F64 => Self::F64,
        }
    }
}

impl CenterDType {
    /// Checks that the device has exponentials, logarithms and functions of angles in this type. Some
    /// devices compute in `f64` but give wrong values for functions. Reads a few numbers back from the
    /// device for `f64`.
    pub(crate) fn check_functions(self, device: &Device) -> Result<(), LossError> {
        let device = device.clone().without_autodiff();
        if self == Self::F32 || has_functions(&device).unwrap_or(false) {
            Ok(())
        } else {
            Err(LossError::DType {
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
        (two.clone().exp(), 2.0_f64.exp()),
        (two.clone().log(), std::f64::consts::LN_2),
        (two.clone().cos(), 2.0_f64.cos()),
        (two.sin(), 2.0_f64.sin()),
    ];
    let mut all = true;
    for (found, expected) in found {
        let found = found.try_into_data().ok()?.iter::<f64>().next()?;
        all &= (found - expected).abs() <= 1e-14 * expected.abs();
    }
    Some(all)
}
