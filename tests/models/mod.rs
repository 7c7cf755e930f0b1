//! A small model with any of the losses, for trainings whose result is compared.

use std::fmt::Debug;
use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Initializer, Module, ModuleDisplay};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::LossMetric;
use burn::train::renderer::CliMetricsRenderer;
use burn::train::{
    ClassificationOutput, InferenceStep, Learner, LearningResult, SupervisedTraining, TrainOutput,
    TrainStep,
};
use burn_center_loss::{
    CenterLoss, ContrastiveCenterLoss, DistanceSoftmax, IslandLoss, MarginSoftmax, ProxyAnchor,
    ProxyNca, SoftTriple, TripletCenterLoss,
};

pub const CLASSES: usize = 3;
pub const WIDTH: usize = 2;

/// What the trainings need of a loss.
pub trait Loss: Module + ModuleDisplay + Clone + Send + Sync + Debug + 'static {
    fn of(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1>;

    /// Centers, class vectors or proxies.
    fn rows(&self) -> Tensor<2>;

    /// What has to be done where the optimizer steps.
    fn on_step(&self) {}
}

impl Loss for CenterLoss {
    fn of(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.forward(features, labels)
    }

    fn rows(&self) -> Tensor<2> {
        self.centers()
    }

    fn on_step(&self) {
        if self.alpha().is_some() {
            self.apply_pending().unwrap();
        }
    }
}

macro_rules! loss {
    ($loss:ty) => {
        impl Loss for $loss {
            fn of(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
                self.forward(features, labels)
            }

            fn rows(&self) -> Tensor<2> {
                self.centers()
            }
        }
    };
}

loss!(MarginSoftmax);
loss!(ProxyAnchor);
loss!(ProxyNca);
loss!(SoftTriple);
loss!(DistanceSoftmax);
loss!(ContrastiveCenterLoss);
loss!(TripletCenterLoss);
loss!(IslandLoss);

#[derive(Module, Debug)]
pub struct Model<L: Module> {
    pub features: Linear,
    pub loss: L,
}

impl<L: Loss> Model<L> {
    /// Every model starts alike.
    pub fn new(loss: L, device: &Device) -> Self {
        let mut features = LinearConfig::new(3, WIDTH)
            .with_initializer(Initializer::Zeros)
            .init(device);
        let weight = Tensor::from_data([[0.5, -0.2], [0.1, 0.4], [-0.3, 0.7]], device);
        features.weight = features.weight.map(|_| weight.require_grad());
        Self { features, loss }
    }

    pub fn value(&self, batch: Batch) -> (Tensor<1>, Tensor<2>) {
        let features = self.features.forward(batch.images);
        (self.loss.of(features.clone(), batch.labels), features)
    }

    /// All numbers that a training changes.
    pub fn numbers(&self) -> Vec<f64> {
        let weight = self.features.weight.val().into_data();
        let rows = self.loss.rows().into_data();
        weight.iter::<f64>().chain(rows.iter::<f64>()).collect()
    }
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub images: Tensor<2>,
    pub labels: Tensor<1, Int>,
}

impl Batch {
    pub fn new(items: &[i64], device: &Device) -> Self {
        let images: Vec<f32> = items
            .iter()
            .flat_map(|item| [*item as f32 / 4.0, (*item % 5) as f32 - 2.0, 1.0])
            .collect();
        let labels: Vec<i64> = items.iter().map(|item| item % CLASSES as i64).collect();
        Self {
            images: Tensor::from_data(TensorData::new(images, [items.len(), 3]), device),
            labels: Tensor::from_data(labels.as_slice(), device),
        }
    }
}

#[derive(Clone)]
struct ToBatch;

impl Batcher<i64, Batch> for ToBatch {
    fn batch(&self, items: Vec<i64>, device: &Device) -> Batch {
        Batch::new(&items, device)
    }
}

impl<L: Loss> TrainStep for Model<L> {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let labels = batch.labels.clone();
        let (loss, features) = self.value(batch);
        let output = ClassificationOutput::new(loss.clone(), features, labels);
        TrainOutput::new(self, loss.backward(), output)
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        self.loss.on_step();
        optimizer.step(rate, self, gradients)
    }

    fn optimize_multi(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: MultiGradientsParams,
    ) -> Self {
        self.loss.on_step();
        optimizer.step_multi(rate, self, gradients)
    }
}

impl<L: Loss> InferenceStep for Model<L> {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        let labels = batch.labels.clone();
        let (loss, features) = self.value(batch);
        ClassificationOutput::new(loss, features, labels)
    }
}

fn loader(items: Vec<i64>, batch_size: usize) -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(ToBatch)
        .batch_size(batch_size)
        .build(InMemDataset::new(items))
}

pub const RATE: f64 = 0.05;

/// Two epochs of Burn's learner with plain gradient descent.
pub fn learn<L: Loss>(
    model: Model<L>,
    items: Vec<i64>,
    batch_size: usize,
    change: impl FnOnce(SupervisedTraining<Model<L>>) -> SupervisedTraining<Model<L>>,
) -> LearningResult<Model<L>> {
    let directory = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(
        directory.path(),
        loader(items, batch_size),
        loader(vec![5, 6, 7], 3),
    )
    .num_epochs(2)
    .metrics((LossMetric::new(),))
    .with_metric_logger(InMemoryMetricLogger::new())
    .with_application_logger(None)
    .renderer(Box::new(CliMetricsRenderer::new()));
    let optimizer = SgdConfig::new().init();
    change(training).launch(Learner::new(model, optimizer, ConstantLr::new(RATE)))
}
