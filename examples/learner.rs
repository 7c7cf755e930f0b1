//! Cross-entropy and center loss with Burn's `Learner`, its metrics and its checkpoints, on three spiral arms:
//! `cargo run --example learner --features train`.
//!
//! It trains for three epochs, as if it had been stopped then, and goes on from the checkpoint to the sixth. Progress is shown
//! plainly; with the feature `tui` of `burn` it is drawn.

use std::error::Error;
use std::f64::consts::TAU;
use std::path::Path;

use burn::data::dataloader::{DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::constant::ConstantLr;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, ExecutionError, Int, Tensor};
use burn::train::metric::{
    AccuracyInput, AccuracyMetric, Adaptor, ItemLazy, LossInput, LossMetric,
};
use burn::train::{InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, EvaluationInput, EvaluationMetric, KnnMetric,
};

const ARMS: usize = 3;

#[derive(Module, Debug)]
struct Model {
    hidden: Linear,
    features: Linear,
    classes: Linear,
    center_loss: CenterLoss,
}

/// What a step gives the metrics.
struct Output {
    loss: Tensor<1>,
    logits: Tensor<2>,
    features: Tensor<2>,
    labels: Tensor<1, Int>,
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

    fn output(&self, (points, labels): (Tensor<2>, Tensor<1, Int>)) -> Output {
        let features = self.features.forward(relu(self.hidden.forward(points)));
        let logits = self.classes.forward(features.clone());
        let cross_entropy = CrossEntropyLossConfig::new().init(&logits.device());
        let softmax = cross_entropy.forward(logits.clone(), labels.clone());
        // In training the centers move here; the learner validates on a copy whose centers rest.
        let center = self.center_loss.forward(features.clone(), labels.clone());
        Output {
            loss: softmax + center,
            logits,
            features,
            labels,
        }
    }
}

impl TrainStep for Model {
    type Input = (Tensor<2>, Tensor<1, Int>);
    type Output = Output;

    fn step(&self, batch: Self::Input) -> TrainOutput<Output> {
        let output = self.output(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Model {
    type Input = (Tensor<2>, Tensor<1, Int>);
    type Output = Output;

    fn step(&self, batch: Self::Input) -> Output {
        self.output(batch)
    }
}

impl ItemLazy for Output {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(Self {
            loss: self.loss.without_autodiff(),
            logits: self.logits.without_autodiff(),
            features: self.features.without_autodiff(),
            labels: self.labels.without_autodiff(),
        })
    }
}

impl Adaptor<LossInput> for Output {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.loss.clone())
    }
}

impl Adaptor<AccuracyInput> for Output {
    fn adapt(&self) -> AccuracyInput {
        AccuracyInput::new(self.logits.clone(), self.labels.clone())
    }
}

impl Adaptor<EvaluationInput> for Output {
    fn adapt(&self) -> EvaluationInput {
        EvaluationInput::new(self.features.clone(), self.labels.clone())
    }
}

/// A point and its arm.
type Item = ([f32; 2], i32);

/// Points on arms that wind around each other.
fn spiral(points: usize) -> Vec<Item> {
    let place = |i: usize| {
        let (arm, radius) = (i % ARMS, (i + 1) as f64 / points as f64);
        let angle = TAU * (radius + arm as f64 / ARMS as f64);
        (
            [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32],
            arm as i32,
        )
    };
    (0..points).map(place).collect()
}

struct ToTensors;

impl Batcher<Item, (Tensor<2>, Tensor<1, Int>)> for ToTensors {
    fn batch(&self, items: Vec<Item>, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let (points, arms): (Vec<[f32; 2]>, Vec<i32>) = items.into_iter().unzip();
        let points_shape = [points.len(), 2];
        let points =
            Tensor::<1>::from_data(points.concat().as_slice(), device).reshape(points_shape);
        (points, Tensor::from_data(arms.as_slice(), device))
    }
}

/// Trains up to an epoch: from the beginning, or from the checkpoint that an earlier call left after an epoch.
fn train(directory: &Path, from: Option<usize>, to: usize) -> Result<Model, Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let loader = |points| {
        let dataset = InMemDataset::new(spiral(points));
        DataLoaderBuilder::new(ToTensors)
            .batch_size(150)
            .shuffle(1)
            .build(dataset)
    };
    let mut training = SupervisedTraining::new(directory, loader(3000), loader(300))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_valid_numeric(EvaluationMetric::map_at_r(KnnMetric::Euclidean))
        .with_default_checkpointers()
        .num_epochs(to)
        .summary();
    if let Some(epoch) = from {
        training = training.checkpoint(epoch);
    }
    let learner = Learner::new(
        Model::new(&device),
        AdamConfig::new().init(),
        ConstantLr::new(1e-2),
    );
    let result = training.launch(learner);
    match result.error {
        Some(error) => Err(error.to_string().into()),
        None => Ok(result.model),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // In place of this, a directory that stays.
    let directory = tempfile::tempdir()?;
    train(directory.path(), None, 3)?;
    let model = train(directory.path(), Some(3), 6)?;
    println!(
        "{} steps of the center loss in all",
        model.center_loss.step()
    );
    Ok(())
}
