//! Which engine serves a device: the one place that decides it.
//!
//! An engine that this build does not have is never chosen. A backend that is not known here gets
//! the tensor operations, which run everywhere.

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Whether the host computes on this device's memory: whole `f32` factors in a matrix product, and
/// values that are read at no cost.
pub(crate) fn is_host(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        _ => false,
    }
}
