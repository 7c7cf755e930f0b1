//! An embedding that is trained on some classes and finds samples of others: `cargo run --example retrieval`.
//!
//! Each sample is a sign of its class under much noise. The network must learn where the sign is, which serves classes
//! that it has never seen.

use std::error::Error;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, RocCurve, all_pair_scores};
use burn_center_loss::{KnnMetric, ProxyAnchor, ProxyAnchorConfig};

const CLASSES: usize = 20;
const PER_CLASS: usize = 20;
const SIGN: usize = 6;
const NOISE: usize = 26;

#[derive(Module, Debug)]
struct Model {
    embedding: Linear,
    loss: ProxyAnchor,
}

/// Samples, `[CLASSES * PER_CLASS, SIGN + NOISE]`, of classes made anew at each call, and their labels.
fn samples(device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let rows = CLASSES * PER_CLASS;
    let normal =
        |shape: [usize; 2], std| Tensor::<2>::random(shape, Distribution::Normal(0.0, std), device);
    let labels = Tensor::<1, Int>::arange(0..rows as i64, device).div_scalar(PER_CLASS as i64);
    let signs = normal([CLASSES, SIGN], 1.0).select(0, labels.clone()) + normal([rows, SIGN], 0.3);
    (
        Tensor::cat(vec![signs, normal([rows, NOISE], 1.0)], 1),
        labels,
    )
}

/// How well samples find others of their class, and how well pairs of a class are told from other pairs.
fn report(
    name: &str,
    model: &Model,
    unseen: &(Tensor<2>, Tensor<1, Int>),
) -> Result<(), Box<dyn Error>> {
    let (inputs, labels) = unseen.clone();
    let features = model.valid().embedding.forward(inputs.without_autodiff());
    let set = RetrievalSet::new(features.clone(), labels.clone());
    let config = RetrievalConfig::new().with_metric(KnnMetric::Cosine);
    let report = config.evaluate(&set)?;
    let means = report.means().ok_or("no class has two samples")?;
    let pairs = all_pair_scores(features, labels, KnnMetric::Cosine)?;
    let curve = RocCurve::new(&pairs.scores, &pairs.same)?;
    println!(
        "{name}: precision@1 {:.3}, R-precision {:.3}, MAP@R {:.3}; pairs: equal error rate {:.3}",
        means.precision_at[0],
        means.r_precision,
        means.map_at_r,
        curve.equal_error_rate()
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let (inputs, labels) = samples(&device);
    let unseen = samples(&device);
    let mut model = Model {
        embedding: LinearConfig::new(SIGN + NOISE, 16).init(&device),
        loss: ProxyAnchorConfig::new(CLASSES, 16).init(&device),
    };
    let mut optimizer = AdamConfig::new().init();

    report("untrained", &model, &unseen)?;
    for _ in 0..200 {
        let features = model.embedding.forward(inputs.clone());
        let loss = model.loss.forward(features, labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    report("trained, on classes it has not seen", &model, &unseen)
}
