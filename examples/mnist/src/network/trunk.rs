//! The convolutions of [`super::convolutions`] as a part of Burn's graph, on the flex backend.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};

use super::convolutions::{Layer, Pass, forward};

/// The outputs of `layers`, `[images * channels * height * width]`, for images `[images, 1, height, width]` and the
/// parameters of the layers one behind the other. All are on flex. Images get no gradient.
pub fn convolve(layers: &[Layer], parameters: Tensor<1>, images: Tensor<4>) -> Tensor<1> {
    let read = |data: TensorData| data.try_into_vec::<f32>().expect("flex computes in f32");
    let device = images.device().without_autodiff();
    let images = read(images.without_autodiff().into_data());
    let values = read(parameters.clone().without_autodiff().into_data());
    let (outputs, pass) = forward(layers, &values, &images);
    let length = outputs.len();
    let outputs = Tensor::<1>::from_data(TensorData::new(outputs, [length]), &device);
    Tensor::from_dispatch(Dispatch::passed(
        parameters.into_dispatch(),
        outputs.into_dispatch(),
        Arc::new(pass),
    ))
}

/// The operation behind [`convolve`].
#[backend_extension(Flex, Autodiff)]
pub trait Trunk: Backend {
    /// `outputs` as what `pass` made of images and `parameters`.
    fn passed(
        _parameters: FloatTensor<Self>,
        outputs: FloatTensor<Self>,
        _pass: Arc<Pass>,
    ) -> FloatTensor<Self> {
        outputs
    }
}

impl Trunk for Flex {}

/// A backend whose primitives can be taken out of Burn's tensors and put back.
trait Primitives: Backend {
    fn lift(primitive: FloatTensor<Self>) -> Tensor<1>;
    fn lower(tensor: Tensor<1>) -> FloatTensor<Self>;
}

impl Primitives for Flex {
    fn lift(primitive: FloatTensor<Self>) -> Tensor<1> {
        Tensor::from_primitive::<Self>(primitive)
    }

    fn lower(tensor: Tensor<1>) -> FloatTensor<Self> {
        (tensor.try_into_primitive::<Self>()).expect("the gradient is on flex")
    }
}

#[derive(Debug)]
struct Back;

impl<B: Primitives> Backward<B, 1> for Back {
    type State = Arc<Pass>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let outputs = B::lift(gradients.consume::<B>(&ops.node));
        let [Some(parameters)] = ops.parents else {
            return;
        };
        let device = outputs.device();
        let outputs = outputs
            .into_data()
            .try_into_vec::<f32>()
            .expect("flex computes in f32");
        let found = ops.state.gradients(&outputs);
        let length = found.len();
        let found = Tensor::from_data(TensorData::new(found, [length]), &device);
        gradients.register::<B>(parameters.id, B::lower(found));
    }
}

impl<B: Primitives + Trunk, C: CheckpointStrategy> Trunk for Autodiff<B, C> {
    fn passed(
        parameters: FloatTensor<Self>,
        outputs: FloatTensor<Self>,
        pass: Arc<Pass>,
    ) -> FloatTensor<Self> {
        let outputs = outputs.into_primitive();
        match Back
            .prepare::<C>([parameters.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(graph) => graph.finish(pass, outputs),
            OpsKind::UnTracked(graph) => graph.finish(outputs),
        }
    }
}
