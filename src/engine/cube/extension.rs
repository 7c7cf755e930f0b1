//! The kernels as operations of Burn's backends.

use alloc::boxed::Box;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::DType;
use core::any::Any;

use super::known_labels::KnownLabels;
use super::{apply_kernel, measure_kernel, totals_kernel};
use crate::device::KernelBackend;

/// The kernels as operations of a backend.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub trait CenterKernels: Backend {
    #[fusion(meta = described::measured)]
    fn center_measure(
        features: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        known: KnownLabels,
        index: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, IntTensor<Self>);

    #[fusion(dtype = weights, shape = weights)]
    fn center_totals(classes: IntTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = centers, shape = centers)]
    fn center_apply(
        centers: FloatTensor<Self>,
        classes: IntTensor<Self>,
        pulls: FloatTensor<Self>,
        factors: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl CenterKernels for KernelBackend {
    fn center_measure(
        features: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        known: KnownLabels,
        index: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, IntTensor<Self>) {
        let (offsets, numbers, marks) = measure_kernel::measure(
            same(features),
            same(centers),
            same(labels),
            same(weights),
            known,
            index,
        );
        (same(offsets), same(numbers), same(marks))
    }

    fn center_totals(classes: IntTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self> {
        same(totals_kernel::totals(same(classes), same(weights)))
    }

    fn center_apply(
        centers: FloatTensor<Self>,
        classes: IntTensor<Self>,
        pulls: FloatTensor<Self>,
        factors: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        same(apply_kernel::apply(
            same(centers),
            same(classes),
            same(pulls),
            same(factors),
        ))
    }
}

/// The value under another name of its type. Which type the backend's primitive is depends on a feature
/// of Burn's that this crate cannot see.
fn same<A: Any, B: Any>(value: A) -> B {
    let value: Box<dyn Any> = Box::new(value);
    *value
        .downcast()
        .expect("kernels are used where they are available")
}

/// Shapes and types of the outputs, which fusion asks for before there are any outputs.
#[cfg(feature = "fusion")]
mod described {
    use super::{DType, KnownLabels};
    use burn::backend::fusion::custom::TensorSpec;
    use burn::tensor::Shape;

    pub fn measured(
        features: &TensorSpec,
        _centers: &TensorSpec,
        _labels: &TensorSpec,
        _weights: &TensorSpec,
        _known: &KnownLabels,
        index: &DType,
    ) -> (TensorSpec, TensorSpec, TensorSpec) {
        let batch_size = features.shape[0];
        (
            features.clone(),
            TensorSpec::new(Shape::new([3, batch_size]), features.dtype),
            TensorSpec::new(Shape::new([2, batch_size]), *index),
        )
    }
}
