use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::Device;

use crate::device::{Engine, engine_of};

/// One for each of the build's backends that the kernels run on.
pub(in crate::engine) fn devices() -> Vec<Device> {
    let devices = vec![
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        Device::cuda(burn::tensor::DeviceIndex::Default),
    ];
    for device in &devices {
        assert!(matches!(engine_of(device), Engine::Cube));
    }
    devices
}
