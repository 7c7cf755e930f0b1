//! The kernels as operations of Burn's backends.

use alloc::boxed::Box;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::DType;
use core::any::Any;

use super::known_labels::KnownLabels;
use super::{angles_kernel, apply_kernel, measure_kernel, totals_kernel};
use crate::device::KernelBackend;
use crate::engine::softmax::Arithmetic;

/// The kernels as operations of a backend.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub trait Kernels: Backend {
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

    #[fusion(meta = described::angles)]
    fn own_angles(
        features: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        classes: IntTensor<Self>,
        sub_centers: usize,
        arithmetic: Arithmetic,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        IntTensor<Self>,
    );
}

impl Kernels for KernelBackend {
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

    fn own_angles(
        features: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        classes: IntTensor<Self>,
        sub_centers: usize,
        arithmetic: Arithmetic,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        IntTensor<Self>,
    ) {
        let (by_features, by_centers, numbers, rows) = angles_kernel::angles(
            same(features),
            same(centers),
            same(classes),
            sub_centers,
            arithmetic,
        );
        (
            same(by_features),
            same(by_centers),
            same(numbers),
            same(rows),
        )
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
    use super::{Arithmetic, DType, KnownLabels};
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

    pub fn angles(
        features: &TensorSpec,
        _centers: &TensorSpec,
        classes: &TensorSpec,
        _sub_centers: &usize,
        _arithmetic: &Arithmetic,
    ) -> (TensorSpec, TensorSpec, TensorSpec, TensorSpec) {
        let numbers = Shape::new([4, features.shape[0]]);
        (
            features.clone(),
            features.clone(),
            TensorSpec::new(numbers, features.dtype),
            classes.clone(),
        )
    }
}
