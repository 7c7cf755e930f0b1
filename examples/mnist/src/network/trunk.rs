//! The convolutions of [`super::convolutions`] as a part of Burn's graph, on the flex backend.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData, read_sync};

use super::convolutions::{Layer, Pass};
use super::kernel::REACH;

/// The outputs of `layers`, `[images * height * width * channels]`, for images `[images, 1, height, width]` and the
/// parameters of the layers one behind the other. All are on flex. Images get no gradient.
pub fn convolve(layers: Vec<Layer>, parameters: Tensor<1>, images: Tensor<4>) -> Tensor<1> {
    let (device, [_, _, height, width]) = (images.device().without_autodiff(), images.dims());
    let images = images.without_autodiff().pad([(REACH, REACH); 2], 0.0);
    let values = parameters.clone().without_autodiff().into_data();
    let pixels = read(images.into_data());
    let pass = Pass::forward(layers, &read(values), &pixels, [height, width]);
    let outputs = Tensor::<1>::from_data(data(pass.outputs()), &device);
    Tensor::from_dispatch(Dispatch::passed(
        parameters.into_dispatch(),
        outputs.into_dispatch(),
        Arc::new(pass),
    ))
}

fn read(data: TensorData) -> Vec<f32> {
    data.try_into_vec().expect("flex computes in f32")
}

fn data(values: Vec<f32>) -> TensorData {
    let length = values.len();
    TensorData::new(values, [length])
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

#[derive(Debug)]
struct Back;

impl<B: Backend> Backward<B, 1> for Back {
    type State = Arc<Pass>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let outputs = gradients.consume::<B>(&ops.node);
        let [Some(parameters)] = ops.parents else {
            return;
        };
        let device = outputs.device();
        let outputs = read_sync(B::float_into_data(outputs)).expect("flex returns what it has");
        let found = data(ops.state.gradients(&read(outputs)));
        gradients.register::<B>(parameters.id, B::float_from_data(found, &device));
    }
}

impl<B: Trunk, C: CheckpointStrategy> Trunk for Autodiff<B, C> {
    fn passed(
        parameters: FloatTensor<Self>,
        outputs: FloatTensor<Self>,
        pass: Arc<Pass>,
    ) -> FloatTensor<Self> {
        let outputs = outputs.into_primitive();
        let prepared = Back.prepare::<C>([parameters.node()]);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(graph) => graph.finish(pass, outputs),
            OpsKind::UnTracked(graph) => graph.finish(outputs),
        }
    }
}
