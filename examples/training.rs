//! Cross-entropy and center loss beside it, on three spiral arms: `cargo run --example training`.

use std::error::Error;
use std::f64::consts::TAU;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{CenterLoss, CenterLossConfig, KnnError};

const ARMS: usize = 3;
const POINTS: usize = 600;
const STEPS: usize = 400;

#[derive(Module, Debug)]
struct Model {
    hidden: Linear,
    features: Linear,
    classes: Linear,
    center_loss: CenterLoss,
}

impl Model {
    fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(2, 64).init(device),
            features: LinearConfig::new(64, 8).init(device),
            classes: LinearConfig::new(8, ARMS).init(device),
            center_loss: CenterLossConfig::new(ARMS, 8).with_lambda(0.1).init(device),
        }
    }

    fn features(&self, points: Tensor<2>) -> Tensor<2> {
        self.features.forward(relu(self.hidden.forward(points)))
    }

    /// The share of the points whose nearest center is that of their arm.
    fn accuracy(&self, points: Tensor<2>, labels: Tensor<1, Int>) -> Result<f64, KnnError> {
        let model = self.valid();
        let features = model.features(points.without_autodiff());
        model.center_loss.nearest_center()?.score(features, labels)
    }
}

/// Points, `[POINTS, 2]`, on arms that wind around each other, and their arms, `[POINTS]`.
fn spiral(device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let arms: Vec<i32> = (0..ARMS as i32).cycle().take(POINTS).collect();
    let place = |(i, arm): (usize, &i32)| {
        let radius = (i + 1) as f64 / POINTS as f64;
        let angle = TAU * (radius + f64::from(*arm) / ARMS as f64);
        [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]
    };
    let points: Vec<f32> = arms.iter().enumerate().flat_map(place).collect();
    let points = Tensor::<1>::from_data(points.as_slice(), device).reshape([POINTS, 2]);
    let noise = Tensor::random([POINTS, 2], Distribution::Normal(0.0, 0.02), device);
    (points + noise, Tensor::from_data(arms.as_slice(), device))
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let (points, labels) = spiral(&device);
    let mut model = Model::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);

    let before = model.accuracy(points.clone(), labels.clone())?;
    for step in 1..=STEPS {
        let features = model.features(points.clone());
        let logits = model.classes.forward(features.clone());
        let softmax = cross_entropy.forward(logits, labels.clone());
        let center = model.center_loss.forward(features, labels.clone()); // the centers move here
        let loss = softmax + center;
        if step % 100 == 0 {
            println!("step {step}: loss {:.4}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    let after = model.accuracy(points, labels)?;
    println!("nearest center: {before:.3} of the points before, {after:.3} after");
    Ok(())
}
