//! Checks of where tensors are, and of which types a device holds.

use super::error::KnnError;
use crate::device::computes_in;
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
    if computes_in(device, dtype) {
        return Ok(());
    }
    Err(KnnError::UnsupportedDType {
        name,
        dtype,
        device: format!("{device:?}"),
    })
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use burn::tensor::BoolStore;

    #[test]
    fn an_autodiff_device_is_the_device_that_it_wraps() {
        let (plain, wrapped) = (Device::flex(), Device::flex().autodiff());
        assert_eq!(check_device("queries", &plain, "centers", &wrapped), Ok(()));
        assert_eq!(check_device("queries", &wrapped, "centers", &plain), Ok(()));
    }

    #[test]
    fn a_type_that_the_device_does_not_have_is_named() {
        let device = Device::flex();
        assert_eq!(check_dtype("labels", DType::U64, &device), Ok(()));
        let error = check_dtype("labels", DType::Bool(BoolStore::U32), &device).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "labels is stored as Bool(U32), which {device:?} does not support; load it onto another device"
            )
        );
    }
}
