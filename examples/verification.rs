//! Verification of classes that a network never saw, from start to end: `cargo run --example verification`.
//!
//! Some classes train an embedding. Trials of other classes calibrate the scores, and trials of further ones show what a
//! threshold costs that was fixed before. At last one of them is enrolled as a class.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::evaluation::{
    DetectionCost, LogisticCalibration, RocCurve, all_pair_scores, cllr, min_cllr,
};
use burn_center_loss::{KnnMetric, Margin, MarginSoftmax, MarginSoftmaxConfig};

const CLASSES: usize = 20;
const PER_CLASS: usize = 20;
const SIGN: usize = 6;
const NOISE: usize = 20;

#[derive(Module, Debug)]
struct Model {
    embedding: Linear,
    loss: MarginSoftmax,
}

/// Samples, `[CLASSES * PER_CLASS, SIGN + NOISE]`, of classes made anew at each call, and their labels.
fn samples(device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let rows = CLASSES * PER_CLASS;
    let normal =
        |shape: [usize; 2], std| Tensor::<2>::random(shape, Distribution::Normal(0.0, std), device);
    let labels = Tensor::<1, Int>::arange(0..rows as i64, device).div_scalar(PER_CLASS as i64);
    let signs = normal([CLASSES, SIGN], 1.0).select(0, labels.clone()) + normal([rows, SIGN], 0.4);
    let noise = normal([rows, NOISE], 0.7);
    (Tensor::cat(vec![signs, noise], 1), labels)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let (inputs, labels) = samples(&device);
    let config = MarginSoftmaxConfig::new(CLASSES, 16).with_margin(Margin::cosface(0.2));
    let mut model = Model {
        embedding: LinearConfig::new(SIGN + NOISE, 16).init(&device),
        loss: config.init(&device),
    };
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..100 {
        let features = model.embedding.forward(inputs.clone());
        let loss = model.loss.forward(features, labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    let model = model.valid();

    // Every pair of samples is a trial, for some classes to calibrate and for others to evaluate.
    let [inputs, others] = [0, 1].map(|_| samples(&device).0.without_autodiff());
    let trials = |inputs: &Tensor<2>| {
        let features = model.embedding.forward(inputs.clone());
        all_pair_scores(
            features,
            labels.clone().without_autodiff(),
            KnnMetric::Cosine,
        )
    };
    let (before, after) = (trials(&inputs)?, trials(&others)?);

    let calibration = LogisticCalibration::fit(&before.scores, &before.same, 0.5)?;
    let cost = DetectionCost::new().with_target_prior(0.05);
    let threshold = (cost.bayes_threshold()? - calibration.offset) / calibration.slope;

    let llrs = calibration.llrs(&after.scores)?;
    let curve = RocCurve::new(&llrs, &after.same)?;
    println!(
        "trials of classes that trained nothing: equal error rate {:.3}",
        curve.equal_error_rate()
    );
    println!(
        "Cllr {:.3} of cosines, {:.3} after calibration, {:.3} at best",
        cllr(&after.scores, &after.same)?,
        cllr(&llrs, &after.same)?,
        min_cllr(&llrs, &after.same)?
    );
    println!(
        "where 5 % are genuine, accept from cosine {threshold:.2}: normalized cost {:.3}, {:.3} at best",
        curve.actual_detection_cost(&cost)?.normalized,
        curve.min_detection_cost(&cost)?.normalized
    );

    // The mean of a few samples of a class that trained nothing becomes the vector of a new class.
    let features = model.embedding.forward(others.narrow(0, 0, PER_CLASS));
    let enrolled = features.clone().narrow(0, 0, 5).mean_dim(0);
    let classifier = model.loss.extend_classes(enrolled)?.nearest_center()?;
    let rest = features.narrow(0, 5, PER_CLASS - 5);
    let names = Tensor::<1, Int>::full([PER_CLASS - 5], CLASSES as i64, &rest.device());
    let found = classifier.score(rest, names)?;
    println!("enrolled by 5 samples beside {CLASSES} classes: {found:.2} of the others are found");
    Ok(())
}
