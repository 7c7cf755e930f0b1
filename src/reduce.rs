//! Sums and maxima along a dimension, right under Burn's fusion too.
//!
//! With its `fusion` and `autotune` on, as they are by default, Burn 0.22.1 may run several reductions along the last
//! dimension, and the operations between them, as one kernel. It gives two intermediate values the same register if one of
//! them is used by two later reductions (burn#5257). The second then overwrites the first. So every reduction here is the
//! last one of its kernel.
//!
//! The operations before a reduction become a part of its kernel only if one follows that Burn can fuse too. The functions
//! with `then` take it.

use burn::tensor::Tensor;

use crate::device::{is_host, is_remote};

/// Burn's `sum_dim`, which nothing after it is fused with.
pub(crate) fn sum_dim<const D: usize>(tensor: Tensor<D>, dim: usize) -> Tensor<D> {
    sum_then(tensor, dim, |sum| sum)
}

/// What `then` makes of the sum along a dimension, by operations between tensors of the shape of the sum.
pub(crate) fn sum_then<const D: usize, T>(
    tensor: Tensor<D>,
    dim: usize,
    then: impl FnOnce(Tensor<D>) -> T,
) -> T {
    sent(tensor, |tensor| then(tensor.sum_dim(dim)))
}

/// Burn's `max_dim`, which nothing after it is fused with.
pub(crate) fn max_dim<const D: usize>(tensor: Tensor<D>, dim: usize) -> Tensor<D> {
    max_then(tensor, dim, |largest| largest)
}

/// What `then` makes of the maximum along a dimension, by operations between tensors of the shape of the maximum.
pub(crate) fn max_then<const D: usize, T>(
    tensor: Tensor<D>,
    dim: usize,
    then: impl FnOnce(Tensor<D>) -> T,
) -> T {
    sent(tensor, |tensor| then(tensor.max_dim(dim)))
}

/// The tensor itself. On a GPU, the operations that wait to be fused are sent to the device.
pub(crate) fn fusion_barrier<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    sent(tensor, |tensor| tensor)
}

/// What `operations` make of a tensor. On a GPU, they and all that wait to be fused are sent to the device.
fn sent<const D: usize, T>(tensor: Tensor<D>, operations: impl FnOnce(Tensor<D>) -> T) -> T {
    let device = tensor.device().without_autodiff();
    let found = operations(tensor);
    if !is_host(&device) && !is_remote(&device) {
        // A device that has failed says so when something is read from it.
        let _ = device.flush();
    }
    found
}
