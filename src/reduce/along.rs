use burn::tensor::Tensor;

use super::apart::apart;

/// Burn's `sum_dim`, which nothing after it is fused with.
pub(crate) fn sum_dim<const D: usize>(tensor: Tensor<D>, dim: usize) -> Tensor<D> {
    apart(tensor.sum_dim(dim))
}

/// Burn's `max_dim`, which nothing after it is fused with.
pub(crate) fn max_dim<const D: usize>(tensor: Tensor<D>, dim: usize) -> Tensor<D> {
    apart(tensor.max_dim(dim))
}
