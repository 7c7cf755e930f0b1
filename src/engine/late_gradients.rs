//! Values whose gradients by two inputs are computed in the backward pass, outside the autodiff graph.

#![cfg_attr(
    feature = "ndarray",
    allow(deprecated, reason = "supported as long as Burn has it")
)]

use alloc::sync::Arc;
#[cfg(feature = "_kernels")]
use burn::backend::Cube;
#[cfg(feature = "flex")]
use burn::backend::Flex;
#[cfg(feature = "ndarray")]
use burn::backend::NdArray;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;
use core::fmt::Debug;

/// How values change with two matrices.
pub(crate) trait Derivative: Debug + Send + Sync {
    /// The gradients of both matrices, each where it is wanted, from the gradient of the values,
    /// `[values]`. All are without autodiff.
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2];
}

/// A derivative on its way through Burn's dispatch.
#[derive(Clone, Debug)]
pub struct Late(Arc<dyn Derivative>);

/// `values`, `[values]`, as a part of the graph that both inputs belong to. An input without autodiff is
/// a constant. They must be on a backend that [`LateGradients`] lists, see
/// [`has_late_gradients`](crate::device::has_late_gradients).
pub(crate) fn with_late_gradients(
    [one, other]: [Tensor<2>; 2],
    values: Tensor<1>,
    derivative: impl Derivative + 'static,
) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::late_gradients(
        one.into_dispatch(),
        other.into_dispatch(),
        values.into_dispatch(),
        Late(Arc::new(derivative)),
    ))
}

/// The operation behind [`with_late_gradients`].
#[backend_extension(
    Cube: cfg(feature = "_kernels"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Autodiff
)]
pub trait LateGradients: Backend {
    fn late_gradients(
        _one: FloatTensor<Self>,
        _other: FloatTensor<Self>,
        values: FloatTensor<Self>,
        _derivative: Late,
    ) -> FloatTensor<Self> {
        values
    }
}

/// A backend whose primitives can be taken out of Burn's tensors and put back.
trait Primitives: Backend {
    fn lift(primitive: FloatTensor<Self>) -> Tensor<1>;
    fn lower(tensor: Tensor<2>) -> FloatTensor<Self>;
}

#[cfg(any(feature = "flex", feature = "ndarray", feature = "_kernels"))]
macro_rules! primitives_of {
    ($backend:ty) => {
        impl LateGradients for $backend {}

        impl Primitives for $backend {
            fn lift(primitive: FloatTensor<Self>) -> Tensor<1> {
                Tensor::from_primitive::<$backend>(primitive)
            }

            fn lower(tensor: Tensor<2>) -> FloatTensor<Self> {
                tensor
                    .try_into_primitive::<$backend>()
                    .expect("a gradient is on the device of its input")
            }
        }
    };
}

#[cfg(feature = "flex")]
primitives_of!(Flex);
#[cfg(feature = "ndarray")]
primitives_of!(NdArray);
// With and without Burn's fusion: there is nothing to compute, and so nothing to describe to it.
#[cfg(feature = "_kernels")]
primitives_of!(Cube);

#[derive(Debug)]
struct Derive;

impl<B: Primitives> Backward<B, 2> for Derive {
    type State = Late;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = B::lift(gradients.consume::<B>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let Late(derivative) = ops.state;
        let found = derivative.gradients(upstream, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<B>(parent.id, B::lower(gradient));
            }
        }
    }
}

impl<B: Primitives + LateGradients, C: CheckpointStrategy> LateGradients for Autodiff<B, C> {
    fn late_gradients(
        one: FloatTensor<Self>,
        other: FloatTensor<Self>,
        values: FloatTensor<Self>,
        derivative: Late,
    ) -> FloatTensor<Self> {
        let values = values.into_primitive();
        let nodes = [one.node(), other.node()];
        match Derive.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(graph) => graph.finish(derivative, values),
            OpsKind::UnTracked(graph) => graph.finish(values),
        }
    }
}
