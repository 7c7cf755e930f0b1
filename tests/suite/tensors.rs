//! Tensors from plain numbers and back.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// An `f32` matrix of these rows.
pub fn matrix(rows: &[Vec<f32>], device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), (device, DType::F32))
}

/// A matrix of these rows in any float type.
pub fn typed_matrix(rows: &[Vec<f64>], dtype: DType, device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), (device, dtype))
}

/// A matrix whose gradient is wanted, where the device has autodiff.
pub fn tracked(matrix: Tensor<2>) -> Tensor<2> {
    if matrix.device().is_autodiff() {
        return matrix.require_grad();
    }
    matrix
}

/// Labels in the device's own integer type.
pub fn labels(labels: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(labels.to_vec(), [labels.len()]), device)
}

/// The values of an integer tensor, row after row.
pub fn ints<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    tensor.into_data().iter::<i64>().collect()
}
