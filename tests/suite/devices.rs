//! The devices that every test runs on: one for each backend of the build.

use burn::tensor::{DType, Device, Tensor};

/// The plain (not autodiff) devices of the backends that this build has.
pub fn devices() -> Vec<Device> {
    vec![
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "supported as long as Burn has it")]
        Device::ndarray(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ]
}

/// Those of [`devices`] that compute in `dtype`.
pub fn devices_with(dtype: DType) -> Vec<Device> {
    devices()
        .into_iter()
        .filter(|device| device.supports_dtype(dtype))
        .collect()
}

/// The values of a tensor of any float type.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}
