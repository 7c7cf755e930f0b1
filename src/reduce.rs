//! Sums and maxima along a dimension, right under Burn's fusion too.
//!
//! With its `fusion` and `autotune` on, as they are by default, Burn 0.22.1 may run several reductions along the last
//! dimension, and the operations between them, as one kernel. It gives two intermediate values the same register if one of
//! them is used by two later reductions (burn#5257). The second then overwrites the first.

use burn::tensor::Tensor;

use crate::device::{is_host, is_remote};

/// Burn's `sum_dim`, which nothing after it is fused with.
pub(crate) fn sum_dim<const D: usize>(tensor: Tensor<D>, dim: usize) -> Tensor<D> {
    fusion_barrier(tensor.sum_dim(dim))
}

/// Burn's `max_dim`, which nothing after it is fused with.
pub(crate) fn max_dim<const D: usize>(tensor: Tensor<D>, dim: usize) -> Tensor<D> {
    fusion_barrier(tensor.max_dim(dim))
}

/// The tensor itself. On a GPU, the operations that wait to be fused are sent to the device.
pub(crate) fn fusion_barrier<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let device = tensor.device().without_autodiff();
    if !is_host(&device) && !is_remote(&device) {
        // A device that has failed says so when something is read from it.
        let _ = device.flush();
    }
    tensor
}
