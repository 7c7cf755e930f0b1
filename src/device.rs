//! Which engine serves a device: the one place that decides it.
//!
//! An engine that this build does not have is never chosen. A backend that is not known here gets the
//! tensor operations, which run everywhere.

#[cfg(feature = "remote")]
use alloc::vec::Vec;
#[cfg(any(
    feature = "flex",
    feature = "ndarray",
    feature = "_kernels",
    feature = "remote"
))]
use burn::backend::DispatchDevice;
#[cfg(feature = "_kernels")]
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Device};
#[cfg(feature = "_kernels")]
use burn_cubecl::{CubeDevice, tensor::CubeTensor};

/// What computes loss, gradients and steps of the centers.
pub(crate) enum Engine {
    /// This crate's loops over memory that the host reaches.
    #[cfg(feature = "flex")]
    Host,
    /// This crate's CubeCL kernels.
    #[cfg(feature = "_kernels")]
    Cube,
    /// Burn's tensor operations.
    Operations,
}

/// The engine that serves tensors on a device, which is one without autodiff.
pub(crate) fn engine_of(device: &Device) -> Engine {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => Engine::Host,
        #[cfg(feature = "_kernels")]
        DispatchDevice::Cube(_) if kernels_see_tensors() => Engine::Cube,
        _ => Engine::Operations,
    }
}

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

/// Whether a device runs shaders, whose languages have no exponentials, logarithms and angles in `f64`. A driver may
/// refuse a shader with one, and every later call to the device then fails.
pub(crate) fn runs_shaders(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "_kernels")]
        DispatchDevice::Cube(CubeDevice::Wgpu(_) | CubeDevice::Metal(_)) => true,
        _ => false,
    }
}

/// Whether a device is hosted by another process or machine, which may fail on its own.
pub(crate) fn is_remote(device: &Device) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "remote")]
        DispatchDevice::Remote(_) => true,
        _ => false,
    }
}

/// What devices can be sorted by: backend and number.
#[cfg(feature = "std")]
pub(crate) fn order_of(device: &Device) -> (u16, u16) {
    use burn_std::device::Device as _;

    let id = device.as_dispatch().to_id();
    (id.type_id, id.index_id)
}

/// Whether a device computes in a data type. A device that is hosted elsewhere is asked once: each question
/// is a round trip.
pub(crate) fn computes_in(device: &Device, dtype: DType) -> bool {
    #[cfg(feature = "remote")]
    if is_remote(device) {
        static ANSWERS: burn_std::sync::Mutex<Vec<(Device, DType, bool)>> =
            burn_std::sync::Mutex::new(Vec::new());
        let device = device.clone().without_autodiff();
        let known = |(of, about, answer): &(Device, DType, bool)| {
            (*of == device && *about == dtype).then_some(*answer)
        };
        if let Some(answer) = ANSWERS.lock().iter().find_map(known) {
            return answer;
        }
        let answer = device.supports_dtype(dtype);
        ANSWERS.lock().push((device, dtype, answer));
        return answer;
    }
    device.supports_dtype(dtype)
}

/// Whether a device, which is one without autodiff, is on a backend that `engine/late_gradients.rs` lists:
/// one that takes gradients which are computed outside its autodiff graph.
pub(crate) fn has_late_gradients(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[cfg(feature = "_kernels")]
        DispatchDevice::Cube(_) => true,
        _ => false,
    }
}

/// The backend whose tensors the kernels take: the one below Burn's fusion.
#[cfg(all(feature = "_kernels", feature = "fusion"))]
pub(crate) type KernelBackend = burn_cubecl::CubeBackend;
/// The backend whose tensors the kernels take, unless fusion is on in Burn but not in this crate: then
/// no kernel is used.
#[cfg(all(feature = "_kernels", not(feature = "fusion")))]
pub(crate) type KernelBackend = burn::backend::Cube;

#[cfg(feature = "_kernels")]
fn kernels_see_tensors() -> bool {
    use core::any::TypeId;
    TypeId::of::<FloatTensor<KernelBackend>>() == TypeId::of::<CubeTensor>()
}
