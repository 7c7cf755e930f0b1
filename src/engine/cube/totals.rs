use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::extension::Kernels;

/// For each sample the total weight of its class, `[samples]`.
pub(in crate::engine) fn class_totals(classes: &Tensor<1, Int>, weights: &Tensor<1>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::center_totals(
        classes.clone().into_dispatch(),
        weights.clone().into_dispatch(),
    ))
}
