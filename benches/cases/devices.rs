//! The devices that a bench runs on: one for each backend of the build.

use burn::tensor::Device;

/// The plain (not autodiff) devices of the backends that this build has, by name.
pub fn devices() -> Vec<(&'static str, Device)> {
    vec![
        #[cfg(feature = "flex")]
        ("flex", Device::flex()),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "supported as long as Burn has it")]
        ("ndarray", Device::ndarray()),
        #[cfg(feature = "wgpu")]
        (
            "wgpu",
            Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        ),
    ]
}

/// Waits for what the device has been given to do, so that it is in the time.
pub fn sync(device: &Device) {
    device.sync().expect("the device runs what it was given");
}
