//! The devices that every test runs on: one for each backend of the build.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{CenterDType, MarginSoftmaxConfig};

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

/// The devices of all backends, with autodiff.
pub fn autodiff_devices() -> Vec<Device> {
    devices().into_iter().map(Device::autodiff).collect()
}

/// Those of [`devices`] that compute in `dtype`.
pub fn devices_with(dtype: DType) -> Vec<Device> {
    devices()
        .into_iter()
        .filter(|device| device.supports_dtype(dtype))
        .collect()
}

/// The devices, with autodiff, that have exponentials in `f64`.
pub fn f64_devices() -> Vec<Device> {
    let config = MarginSoftmaxConfig::new(2, 2).with_dtype(CenterDType::F64);
    let devices = devices_with(DType::F64).into_iter();
    devices
        .filter(|device| config.try_init(device).is_ok())
        .map(Device::autodiff)
        .collect()
}

/// One in how many cases a test over thousands of them runs. Kernels on software Vulkan take a hundred times as long as
/// the host, so a build that has them runs fewer. A prime, which meets every setting of a grid.
pub const ONE_IN: usize = if cfg!(feature = "wgpu") { 13 } else { 1 };

/// The configuration of a property test of this many cases, of which [`ONE_IN`] decides how many run.
pub fn property_cases(count: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config::with_cases(count / ONE_IN as u32)
}

/// The values of a tensor of any float type.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}
