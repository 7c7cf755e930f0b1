//! Values whose gradients are computed by this crate in the backward pass, on the flex backend.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

/// The derivative of values by two matrices.
pub(crate) trait Derivative: Debug + Send + Sync {
    /// The gradients of both matrices, each where it is wanted, from the gradient of the values,
    /// `[values]`. All are without autodiff.
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2];
}

/// A derivative on its way through Burn's dispatch.
#[derive(Clone, Debug)]
pub struct BackwardFn(Arc<dyn Derivative>);

/// `values`, `[values]` on flex, as a part of the graph that both inputs belong to. An input without
/// autodiff is a constant.
pub(crate) fn custom_backward(
    [one, other]: [Tensor<2>; 2],
    values: Tensor<1>,
    derivative: impl Derivative + 'static,
) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::custom_backward(
        one.into_dispatch(),
        other.into_dispatch(),
        values.into_dispatch(),
        BackwardFn(Arc::new(derivative)),
    ))
}

/// The operation behind [`custom_backward`].
#[backend_extension(Flex, Autodiff)]
pub trait CustomBackward: Backend {
    fn custom_backward(
        _one: FloatTensor<Self>,
        _other: FloatTensor<Self>,
        values: FloatTensor<Self>,
        _derivative: BackwardFn,
    ) -> FloatTensor<Self> {
        values
    }
}

impl CustomBackward for Flex {}

/// A backend whose primitives can be taken out of Burn's tensors and put back.
trait Primitives: Backend {
    fn lift(primitive: FloatTensor<Self>) -> Tensor<1>;
    fn lower(tensor: Tensor<2>) -> FloatTensor<Self>;
}

impl Primitives for Flex {
    fn lift(primitive: FloatTensor<Self>) -> Tensor<1> {
        Tensor::from_primitive::<Self>(primitive)
    }

    fn lower(tensor: Tensor<2>) -> FloatTensor<Self> {
        tensor
            .try_into_primitive::<Self>()
            .expect("a gradient is on the device of its input")
    }
}

#[derive(Debug)]
struct Derive;

impl<B: Primitives> Backward<B, 2> for Derive {
    type State = BackwardFn;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = B::lift(gradients.consume::<B>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let BackwardFn(derivative) = ops.state;
        let found = derivative.gradients(upstream, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<B>(parent.id, B::lower(gradient));
            }
        }
    }
}

impl<B: Primitives + CustomBackward, C: CheckpointStrategy> CustomBackward for Autodiff<B, C> {
    fn custom_backward(
        one: FloatTensor<Self>,
        other: FloatTensor<Self>,
        values: FloatTensor<Self>,
        derivative: BackwardFn,
    ) -> FloatTensor<Self> {
        let values = values.into_primitive();
        let nodes = [one.node(), other.node()];
        match Derive.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(graph) => graph.finish(derivative, values),
            OpsKind::UnTracked(graph) => graph.finish(values),
        }
    }
}
