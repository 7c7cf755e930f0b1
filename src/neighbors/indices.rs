//! Tensors of row numbers.

use alloc::vec::Vec;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// The numbers in the device's own integer type if that can count rows, else in one that can.
pub(crate) fn index_tensor<const D: usize>(
    indices: Vec<i64>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let dtype = match DType::from(device.settings().int_dtype) {
        dtype @ (DType::I64 | DType::I32 | DType::U64 | DType::U32) => dtype,
        _ => DType::I32,
    };
    Tensor::from_data(TensorData::new(indices, shape), (device, dtype))
}
