//! Checks of where tensors are, and of which types a device holds.

use super::error::KnnError;
use alloc::format;
use burn::tensor::{DType, Device};

/// Checks that two tensors are on one device. An autodiff device counts as the device that it wraps.
pub(crate) fn check_device(
    name: &'static str,
    device: &Device,
    expected_name: &'static str,
    expected: &Device,
) -> Result<(), KnnError> {
    let device = device.clone().without_autodiff();
    let expected = expected.clone().without_autodiff();
    if device == expected {
        return Ok(());
    }
    Err(KnnError::Devices {
        name,
        device: format!("{device:?}"),
        expected_name,
        expected: format!("{expected:?}"),
    })
}

/// Checks that the device can hold stored values of this type.
pub(crate) fn check_dtype(
    name: &'static str,
    dtype: DType,
    device: &Device,
) -> Result<(), KnnError> {
    if device.supports_dtype(dtype) {
        return Ok(());
    }
    Err(KnnError::UnsupportedDType {
        name,
        dtype,
        device: format!("{device:?}"),
    })
}
