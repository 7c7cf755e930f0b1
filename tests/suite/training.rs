//! The three ways people train in Burn, and several devices.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Initializer, Module};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, MultiGradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::LossMetric;
use burn::train::{
    ClassificationOutput, ExecutionStrategy, InferenceStep, Learner, MultiDeviceOptim,
    SupervisedTraining, TrainOutput, TrainStep, TrainingStrategy,
};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, CenterLossError, DirectRule, UpdateRule, UpdateTiming,
};

use crate::devices::{devices, values};
use crate::fixtures::assert_close;

#[derive(Module, Debug)]
struct Model {
    features: Linear,
    classes: Linear,
    center_loss: CenterLoss,
}

impl Model {
    fn new(config: CenterLossConfig, device: &Device) -> Self {
        let linear = |inputs, outputs, value| {
            LinearConfig::new(inputs, outputs)
                .with_initializer(Initializer::Constant { value })
                .init(device)
        };
        Self {
            features: linear(3, 2, 0.5),
            classes: linear(2, 2, 0.1),
            center_loss: config.with_initializer(Initializer::Zeros).init(device),
        }
    }

    fn loss(&self, images: Tensor<2>, labels: Tensor<1, Int>) -> (Tensor<1>, Tensor<2>) {
        let features = self.features.forward(images);
        let logits = self.classes.forward(features.clone());
        let cross_entropy = CrossEntropyLossConfig::new().init(&logits.device());
        let loss = cross_entropy.forward(logits.clone(), labels.clone())
            + self.center_loss.forward(features, labels);
        (loss, logits)
    }
}

#[derive(Clone, Debug)]
struct Batch {
    images: Tensor<2>,
    labels: Tensor<1, Int>,
}

#[derive(Clone)]
struct ToBatch;

impl Batcher<i64, Batch> for ToBatch {
    fn batch(&self, items: Vec<i64>, device: &Device) -> Batch {
        let images = items
            .iter()
            .flat_map(|item| [*item as f32, (*item % 3) as f32, 1.0])
            .collect::<Vec<_>>();
        let labels: Vec<i64> = items.iter().map(|item| item % 2).collect();
        Batch {
            images: Tensor::from_data(TensorData::new(images, [items.len(), 3]), device),
            labels: Tensor::from_data(labels.as_slice(), device),
        }
    }
}

impl TrainStep for Model {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let (loss, logits) = self.loss(batch.images, batch.labels.clone());
        let output = ClassificationOutput::new(loss.clone(), logits, batch.labels);
        TrainOutput::new(self, loss.backward(), output)
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        self.center_loss.apply_pending().unwrap();
        optimizer.step(rate, self, gradients)
    }

    fn optimize_multi(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: MultiGradientsParams,
    ) -> Self {
        self.center_loss.apply_pending().unwrap();
        optimizer.step_multi(rate, self, gradients)
    }
}

impl InferenceStep for Model {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        let (loss, logits) = self.loss(batch.images, batch.labels.clone());
        ClassificationOutput::new(loss, logits, batch.labels)
    }
}

fn loader(items: Vec<i64>, batch_size: usize) -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(ToBatch)
        .batch_size(batch_size)
        .build(InMemDataset::new(items))
}

fn train(
    model: Model,
    items: Vec<i64>,
    batch_size: usize,
    change: impl FnOnce(SupervisedTraining<Model>) -> SupervisedTraining<Model>,
) -> Model {
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
    .renderer(Box::new(burn::train::renderer::CliMetricsRenderer::new()));
    // No rate for the network: what changes is the centers alone, which makes them easy to recompute.
    let learner = Learner::new(model, SgdConfig::new().init(), ConstantLr::new(0.0));
    change(training).launch(learner).model
}

/// The paper's rule with another timing.
fn timed(timing: UpdateTiming) -> UpdateRule {
    DirectRule::paper().with_timing(timing).into()
}

/// The centers after the given batches, two epochs of them, by hand.
fn expected_centers(config: &CenterLossConfig, batches: &[&[i64]], device: &Device) -> Vec<f64> {
    let model = Model::new(
        config
            .clone()
            .with_update_rule(timed(UpdateTiming::Immediate)),
        device,
    );
    for _ in 0..2 {
        for items in batches {
            let batch = ToBatch.batch(items.to_vec(), device);
            model.loss(batch.images, batch.labels);
        }
    }
    values(model.center_loss.centers())
}

#[test]
fn a_hand_written_loop() {
    for device in devices().into_iter().map(Device::autodiff) {
        let mut model = Model::new(CenterLossConfig::new(2, 2), &device);
        let mut optimizer = AdamConfig::new().init();
        let batch = ToBatch.batch(vec![0, 1, 2, 3], &device);
        let mut losses = vec![];
        for _ in 0..20 {
            let (loss, _) = model.loss(batch.images.clone(), batch.labels.clone());
            losses.push(values(loss.clone())[0]);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(0.05, model, gradients);
        }
        assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
        assert_eq!(model.center_loss.step(), 20);
    }
}

#[test]
fn the_learner_moves_the_centers_once_per_training_step_and_not_in_validation() {
    let device = Device::flex().autodiff();
    let config = CenterLossConfig::new(2, 2);
    let model = Model::new(config.clone(), &device);
    let trained = train(model, vec![0, 1, 2, 3, 4, 9], 2, |training| training);
    assert_eq!(trained.center_loss.step(), 6);
    let expected = expected_centers(&config, &[&[0, 1], &[2, 3], &[4, 9]], &device);
    assert_close(
        "centers",
        &values(trained.center_loss.centers()),
        &expected,
        1e-6,
    );
}

#[test]
fn accumulated_batches_move_the_centers_as_one() {
    let device = Device::flex().autodiff();
    let config = CenterLossConfig::new(2, 2).with_update_rule(timed(UpdateTiming::OnStep));
    let model = Model::new(config.clone(), &device);
    let trained = train(model, vec![0, 1, 2, 3, 4, 9], 1, |training| {
        training.grads_accumulation(3)
    });
    assert_eq!(trained.center_loss.step(), 4);
    let expected = expected_centers(&config, &[&[0, 1, 2], &[3, 4, 9]], &device);
    assert_close(
        "centers",
        &values(trained.center_loss.centers()),
        &expected,
        1e-6,
    );
}

#[test]
fn two_devices_move_the_centers_as_one() {
    for strategy in [
        MultiDeviceOptim::OptimMainDevice,
        MultiDeviceOptim::OptimSharded,
    ] {
        let device = Device::flex().autodiff();
        let config =
            CenterLossConfig::new(2, 2).with_update_rule(timed(UpdateTiming::OnStepShared));
        let run = || {
            let model = Model::new(config.clone(), &device);
            train(model, vec![0, 1, 2, 3, 4, 9, 8, 7], 2, |training| {
                training.with_training_strategy(TrainingStrategy::Default(
                    ExecutionStrategy::multi(vec![device.clone(), device.clone()], strategy),
                ))
            })
        };
        let trained = run();
        // The loader gives each device one half of the items.
        let expected = expected_centers(&config, &[&[0, 1, 4, 9], &[2, 3, 8, 7]], &device);
        assert_eq!(trained.center_loss.step(), 4);
        assert_close(
            "centers",
            &values(trained.center_loss.centers()),
            &expected,
            1e-6,
        );
        let again = run();
        assert_eq!(
            values(again.center_loss.centers()),
            values(trained.center_loss.centers()),
            "the order of the shards does not depend on which worker is first"
        );
    }
}

#[test]
fn the_gradient_rule_with_a_rate_of_its_own() {
    for device in devices().into_iter().map(Device::autodiff) {
        let config = CenterLossConfig::new(2, 2).with_update_rule(UpdateRule::Gradient);
        let model = Model::new(config, &device);
        let group = CenterLoss::centers_group("center_loss");
        let mut optimizer =
            AdamConfig::new()
                .init()
                .with_group(group.clone(), SgdConfig::new().build(), None);
        let mut rates =
            ModuleLrScheduler::new(ConstantLr::new(0.0)).with_group(group, ConstantLr::new(0.5));
        let weight = values(model.features.weight.val());

        let batch = ToBatch.batch(vec![0, 1], &device);
        let features = values(model.features.forward(batch.images.clone()));
        let (loss, _) = model.loss(batch.images, batch.labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let model = optimizer.step(rates.step(), model, gradients);
        // From zero, by rate 0.5 times the gradient (c - x) / 2 of the mean over two samples.
        let expected: Vec<f64> = features.iter().map(|x| 0.25 * x).collect();
        assert_close(
            "centers",
            &values(model.center_loss.centers()),
            &expected,
            1e-6,
        );
        assert_eq!(values(model.features.weight.val()), weight);
    }
}

/// One update by each of the losses.
fn forward_each(losses: &[&CenterLoss], device: &Device) {
    for loss in losses {
        let labels = Tensor::<1, Int>::from_data([0, 1], device);
        loss.forward(Tensor::ones([2, 2], device), labels);
    }
}

#[test]
fn clones_go_their_own_way_with_a_copy_of_the_waiting_updates() {
    let device = Device::flex().autodiff();
    let config = CenterLossConfig::new(2, 2).with_update_rule(timed(UpdateTiming::OnStep));
    let first = config.init(&device);
    forward_each(&[&first], &device);
    let clone = first.clone();
    forward_each(&[&first, &first, &clone], &device);
    assert_eq!(clone.apply_pending(), Ok(2));
    assert_eq!(clone.apply_pending(), Ok(0));
    assert_eq!(first.apply_pending(), Ok(3));
    assert_eq!((first.step(), clone.step()), (1, 1));
}

#[test]
fn clones_share_the_waiting_updates_if_asked_to() {
    let device = Device::flex().autodiff();
    let config = CenterLossConfig::new(2, 2).with_update_rule(timed(UpdateTiming::OnStepShared));
    let first = config.init(&device);
    let clone = first.clone();
    forward_each(&[&first, &clone, &clone.clone().fork(&device)], &device);
    assert_eq!(first.apply_pending(), Ok(3));
    assert_eq!(clone.apply_pending(), Ok(0));
    assert_eq!(first.step(), 1);
}

#[test]
fn frozen_and_validating_losses_leave_the_waiting_updates_alone() {
    let device = Device::flex().autodiff();
    for timing in [UpdateTiming::OnStep, UpdateTiming::OnStepShared] {
        let config = CenterLossConfig::new(2, 2).with_update_rule(timed(timing));
        let loss = config.init(&device);
        forward_each(&[&loss], &device);
        let before = values(loss.centers());

        let valid = loss.valid();
        assert_eq!(valid.apply_pending(), Err(CenterLossError::Frozen));
        assert_eq!(valid.train().apply_pending(), Ok(0), "valid() detaches");
        let frozen = loss.clone().freeze();
        assert_eq!(frozen.apply_pending(), Err(CenterLossError::Frozen));
        assert_eq!(values(frozen.centers()), before);
        // Frozen, it notes nothing.
        forward_each(&[&frozen], &device);
        assert_eq!(
            frozen.unfreeze().apply_pending(),
            Ok(1),
            "the list was kept"
        );
        let left = if timing == UpdateTiming::OnStep { 1 } else { 0 };
        assert_eq!(loss.apply_pending(), Ok(left));
    }
}

/// Waiting updates are a matter of the direct rules: nothing collects under the others.
#[test]
fn other_rules_collect_no_updates() {
    let device = Device::flex().autodiff();
    for rule in [UpdateRule::Gradient, UpdateRule::Frozen] {
        let loss = CenterLossConfig::new(2, 2)
            .with_update_rule(rule.clone())
            .init(&device);
        for _ in 0..5000 {
            forward_each(&[&loss], &device);
        }
        assert_eq!(
            loss.apply_pending(),
            Err(CenterLossError::RuleTakesNoUpdate { rule })
        );
    }
}
