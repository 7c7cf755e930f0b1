//! The float types that classifiers compute in: half precisions are taken as `f32`.

use burn::tensor::{DType, FloatDType, Tensor};

/// The tensor outside of any autodiff graph, half precisions widened to `f32`.
pub(crate) fn full_precision(tensor: Tensor<2>) -> Tensor<2> {
    let tensor = tensor.without_autodiff();
    match tensor.dtype() {
        DType::F32 | DType::F64 => tensor,
        _ => tensor.cast(FloatDType::F32),
    }
}

/// The type that [`full_precision`] gives a tensor of this type.
pub(crate) fn full_precision_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}
