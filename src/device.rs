//! The devices that this crate treats in ways of their own: the one place that tells them apart.
//!
//! A backend that is not known here gets Burn's tensor operations, which run everywhere.

#[cfg(any(feature = "flex", feature = "ndarray", feature = "remote"))]
use burn::backend::DispatchDevice;
#[cfg(feature = "flex")]
use burn::backend::{Flex, tensor::FloatTensor};
#[cfg(feature = "flex")]
use burn::tensor::Tensor;
use burn::tensor::{DType, Device};

/// Whether this crate's loops over host memory serve a device, which is one without autodiff.
pub(crate) fn is_flex(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        _ => false,
    }
}

/// The memory of a tensor without autodiff, with no gaps between its rows, if it is on flex.
#[cfg(feature = "flex")]
pub(crate) fn flex_memory(tensor: Tensor<2>) -> Option<FloatTensor<Flex>> {
    let primitive = tensor.try_into_primitive::<Flex>().ok()?;
    Some(match primitive.is_contiguous() {
        true => primitive,
        false => primitive.to_contiguous(),
    })
}

/// Whether the host computes on this device's memory: whole `f32` factors in a matrix product, and
/// values that are read at no cost.
pub(crate) fn is_host(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        _ => is_flex(device),
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

/// Whether a device runs shaders, whose languages have no exponentials, logarithms and angles in `f64`. A driver may
/// refuse a shader with one, and every later call to the device then fails.
///
/// The name of the device tells, since a program may have turned its backend on in Burn alone.
pub(crate) fn runs_shaders(device: &Device) -> bool {
    let name = format!("{device:?}");
    ["Wgpu", "Metal"]
        .iter()
        .any(|runtime| name.contains(runtime))
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
