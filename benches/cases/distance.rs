//! Softmax over distances: the library's, and the same by plain tensor operations.

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Distribution, Int, Tensor, Tolerance};
use burn_center_loss::{Checking, DistanceSoftmax, DistanceSoftmaxConfig, SoftmaxDistance};

use super::center_loss::Shape;
use super::devices::sync;

/// Features near the centers of their classes, as in a training that has gone on for a while, and labels.
#[derive(Clone)]
struct Inputs {
    features: Tensor<2>,
    centers: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Inputs {
    fn new(shape: Shape, device: &Device) -> Self {
        device.seed(1);
        let device = device.clone().autodiff();
        let normal = Distribution::Normal(0.0, 1.0);
        let random = |rows| Tensor::random([rows, shape.feature_dim], normal, &device);
        let classes = Distribution::Uniform(0.0, shape.num_classes as f64);
        let centers = random(shape.num_classes);
        let labels = Tensor::<1, Int>::random([shape.batch_size], classes, &device);
        let features = centers.clone().select(0, labels.clone()) + random(shape.batch_size);
        Self {
            features: features.detach().require_grad(),
            centers,
            labels,
        }
    }
}

/// The library's loss on one batch. Every method waits for the device.
pub struct DistanceCase {
    loss: DistanceSoftmax,
    inputs: Inputs,
    device: Device,
}

impl DistanceCase {
    /// Under strict checking, on a plain device.
    pub fn new(shape: Shape, distance: SoftmaxDistance, device: &Device) -> Self {
        Self::checked(shape, distance, device, Checking::Strict)
    }

    /// On a plain device.
    pub fn checked(
        shape: Shape,
        distance: SoftmaxDistance,
        device: &Device,
        checking: Checking,
    ) -> Self {
        let inputs = Inputs::new(shape, device);
        let loss = DistanceSoftmaxConfig::new(shape.num_classes, shape.feature_dim)
            .with_distance(distance)
            .with_scale(scale(distance))
            .with_checking(checking)
            .init_with_centers(inputs.centers.clone())
            .expect("the shape is valid");
        Self {
            loss,
            inputs,
            device: device.clone(),
        }
    }

    /// Loss and both gradients.
    pub fn forward_backward(&self) -> (Tensor<2>, GradientsParams) {
        let features = &self.inputs.features;
        let value = self
            .loss
            .forward(features.clone(), self.inputs.labels.clone());
        let mut gradients = value.backward();
        let gradient = features
            .grad_remove(&mut gradients)
            .expect("the features receive gradients");
        let gradients = GradientsParams::from_grads(gradients, &self.loss);
        sync(&self.device);
        (gradient, gradients)
    }
}

fn scale(distance: SoftmaxDistance) -> f64 {
    match distance {
        SoftmaxDistance::SquaredEuclidean => 0.5,
        SoftmaxDistance::Euclidean => 1.0,
    }
}

/// Cross-entropy over squared distances as one would write it in Burn: the expansion, and softmax.
pub struct PlainDistanceSoftmax {
    inputs: Inputs,
    device: Device,
}

impl PlainDistanceSoftmax {
    /// On a plain device, with the data of [`DistanceCase`].
    pub fn new(shape: Shape, device: &Device) -> Self {
        let mut inputs = Inputs::new(shape, device);
        inputs.centers = Param::from_tensor(inputs.centers).val();
        Self {
            inputs,
            device: device.clone(),
        }
    }

    /// Loss and both gradients.
    pub fn forward_backward(&self) -> (Tensor<2>, Tensor<2>) {
        let Inputs {
            features,
            centers,
            labels,
        } = self.inputs.clone();
        let squares = |rows: &Tensor<2>| rows.clone().square().sum_dim(1);
        let products = features.clone().matmul(centers.clone().transpose());
        let squared = squares(&features) + squares(&centers).transpose() - products.mul_scalar(2.0);
        let scores = log_softmax(
            squared.mul_scalar(-scale(SoftmaxDistance::SquaredEuclidean)),
            1,
        );
        let value = scores.gather(1, labels.unsqueeze_dim::<2>(1)).mean().neg();
        let mut gradients = value.backward();
        let mut gradient = |input: &Tensor<2>| {
            input
                .grad_remove(&mut gradients)
                .expect("features and centers receive gradients")
        };
        let gradients = (gradient(&features), gradient(&centers));
        sync(&self.device);
        gradients
    }
}

/// A baseline that computes something else would say nothing.
pub fn assert_plain_distance_softmax_is_the_same(shape: Shape, device: &Device) {
    let distance = SoftmaxDistance::SquaredEuclidean;
    let (ours, _) = DistanceCase::new(shape, distance, device).forward_backward();
    let (plain, _) = PlainDistanceSoftmax::new(shape, device).forward_backward();
    let tolerance = Tolerance::<f32>::rel_abs(1e-3, 1e-5);
    ours.into_data()
        .assert_approx_eq(&plain.into_data(), tolerance);
}
