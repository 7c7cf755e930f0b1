//! ArcFace: the library's, the same by plain tensor operations, and the matrix products that both need.

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Distribution, IndexingUpdateOp, Int, Tensor, Tolerance};
use burn_center_loss::margin::{ArcFace, BeyondPi};
use burn_center_loss::{Checking, Margin, MarginSoftmax, MarginSoftmaxConfig};

use super::center_loss::Shape;
use super::devices::sync;

const MARGIN: f64 = 0.5;
const SCALE: f64 = 64.0;

/// Features and class vectors on an autodiff device, and labels.
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
        Self {
            features: random(shape.batch_size).require_grad(),
            centers: random(shape.num_classes),
            labels: Tensor::random([shape.batch_size], classes, &device),
        }
    }
}

/// The library's ArcFace on one batch. Every method waits for the device.
pub struct MarginCase {
    loss: MarginSoftmax,
    inputs: Inputs,
    device: Device,
}

impl MarginCase {
    /// The ArcFace that [`PlainArcFace`] computes, on a plain device.
    pub fn new(shape: Shape, device: &Device) -> Self {
        let margin = ArcFace::new()
            .with_margin(MARGIN)
            .with_beyond_pi(BeyondPi::Reflect);
        Self::with_margin(shape, device, Margin::ArcFace(margin), Checking::Strict)
    }

    /// The default ArcFace, on a plain device.
    pub fn arcface(shape: Shape, device: &Device, checking: Checking) -> Self {
        Self::with_margin(shape, device, Margin::arcface(MARGIN), checking)
    }

    fn with_margin(shape: Shape, device: &Device, margin: Margin, checking: Checking) -> Self {
        let inputs = Inputs::new(shape, device);
        let loss = MarginSoftmaxConfig::new(shape.num_classes, shape.feature_dim)
            .with_margin(margin)
            .with_scale(SCALE)
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

/// ArcFace as one would write it in Burn: normalize, matrix product, the margin by gather and scatter, softmax.
/// Its gradient is infinite where a feature lies on the vector of its class.
pub struct PlainArcFace {
    inputs: Inputs,
    device: Device,
}

impl PlainArcFace {
    /// On a plain device, with the data of [`MarginCase`].
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
        let unit = |rows: Tensor<2>| rows.clone() / rows.square().sum_dim(1).sqrt();
        let cosines = unit(features.clone()).matmul(unit(centers.clone()).transpose());
        let labels = labels.unsqueeze_dim::<2>(1);
        let target = cosines.clone().gather(1, labels.clone());
        let moved = target.clone().acos().add_scalar(MARGIN).cos();
        let scores = cosines.scatter(1, labels.clone(), moved - target, IndexingUpdateOp::Add);
        let scores = log_softmax(scores.mul_scalar(SCALE), 1);
        let value = scores.gather(1, labels).mean().neg();
        let mut gradients = value.backward();
        let mut gradient = |input: &Tensor<2>| {
            input
                .grad_remove(&mut gradients)
                .expect("features and class vectors receive gradients")
        };
        let gradients = (gradient(&features), gradient(&centers));
        sync(&self.device);
        gradients
    }
}

/// The three products alone: the scores, and the gradients of features and class vectors from them.
pub struct Products {
    features: Tensor<2>,
    centers: Tensor<2>,
    device: Device,
}

impl Products {
    /// On a plain device, with the data of [`MarginCase`].
    pub fn new(shape: Shape, device: &Device) -> Self {
        let inputs = Inputs::new(shape, device);
        Self {
            features: inputs.features.inner(),
            centers: inputs.centers.inner(),
            device: device.clone(),
        }
    }

    pub fn run(&self) -> (Tensor<2>, Tensor<2>) {
        let (features, centers) = (self.features.clone(), self.centers.clone());
        let scores = features.clone().matmul(centers.clone().transpose());
        let products = (
            scores.clone().matmul(centers),
            scores.transpose().matmul(features),
        );
        sync(&self.device);
        products
    }
}

/// A baseline that computes something else would say nothing.
pub fn assert_plain_arcface_is_the_same(shape: Shape, device: &Device) {
    let (ours, _) = MarginCase::new(shape, device).forward_backward();
    let (plain, _) = PlainArcFace::new(shape, device).forward_backward();
    let tolerance = Tolerance::<f32>::rel_abs(1e-3, 1e-5);
    ours.into_data()
        .assert_approx_eq(&plain.into_data(), tolerance);
}
