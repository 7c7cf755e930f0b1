//! The training loop.

use std::fmt;
use std::time::Instant;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::evaluate::Embedding;
use crate::model::LeNetPlusPlusConfig;
use crate::progress::EpochProgress;
use crate::recipe::Recipe;
use crate::run::RunDirectory;

/// Each reading of loss and accuracy waits for the device, so it is done once in this many steps.
const STEPS_PER_READING: usize = 16;

/// How many training samples the feature maps show.
const SHOWN_TRAIN_SAMPLES: usize = 2000;

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    pub epoch: usize,
    pub step: usize,
    /// Over the epoch's batches, while the network changes.
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub validation_accuracy: f64,
    pub test_accuracy: f64,
    pub seconds: f64,
    /// Of training alone.
    pub images_per_second: f64,
}

impl fmt::Display for EpochMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "loss {:.4}, accuracy {:.4}; validation {:.4}, test {:.4}; {:.1} s, {:.0} images/s",
            self.train_loss,
            self.train_accuracy,
            self.validation_accuracy,
            self.test_accuracy,
            self.seconds,
            self.images_per_second
        )
    }
}

/// A training run to be done.
pub struct Training<'a> {
    /// What the run is called on the screen and in pictures.
    pub title: &'a str,
    pub recipe: &'a Recipe,
    pub dataset: &'a Dataset,
    /// Not in autodiff mode.
    pub device: &'a Device,
    pub directory: &'a RunDirectory,
}

/// The outcome of a training run.
pub struct Trained {
    pub history: Vec<EpochMetrics>,
    pub snapshots: Vec<Snapshot>,
}

/// The features of some training samples and of the test samples after an epoch.
pub struct Snapshot {
    pub epoch: usize,
    pub train: Embedding,
    pub test: Embedding,
}

impl Training<'_> {
    pub fn run(&self) -> Result<Trained> {
        let recipe = self.recipe;
        let device = self.device.clone().autodiff();
        device.seed(recipe.seed);
        let mut network = LeNetPlusPlusConfig {
            image_size: self.dataset.train.image_size(),
            num_classes: self.dataset.num_classes,
            feature_dim: recipe.feature_dim,
            bias: recipe.bias,
            initializer: recipe.initialization.initializer(),
        }
        .init(&device)
        // Parameters are drawn at their first use; drawing them here keeps that in one order.
        .materialize();
        let cross_entropy = CrossEntropyLossConfig::new().init(&device);
        let steps_per_epoch = self.dataset.train.len().div_ceil(recipe.batch_size);
        let mut scheduler = recipe.scheduler(steps_per_epoch)?;
        let mut optimizer = recipe.optimizer();
        let mut history = Vec::new();
        let mut snapshots = Vec::new();

        for epoch in 1..=recipe.epochs {
            let started = Instant::now();
            let title = format!("{}, epoch {epoch} of {}", self.title, recipe.epochs);
            let progress = EpochProgress::start(&title, steps_per_epoch);
            let mut tally = Tally::default();
            let order = self.dataset.train.epoch_order(recipe.seed, epoch);
            for (step, batch) in order.chunks(recipe.batch_size).enumerate() {
                let images = self.dataset.train.images_at(batch, &device);
                let labels = self.dataset.train.labels_at(batch, &device);
                let output = network.forward(images);
                let loss = cross_entropy.forward(output.logits.clone(), labels.clone());
                tally.add(loss.clone().inner(), output.logits.inner(), labels.inner());
                let gradients = GradientsParams::from_grads(loss.backward(), &network);
                network = optimizer.step(scheduler.step(), network, gradients);
                if (step + 1) % STEPS_PER_READING == 0 || step + 1 == steps_per_epoch {
                    tally.read()?;
                    ensure!(
                        tally.loss_sum.is_finite(),
                        "{title}: the loss is not finite after {} steps; try a smaller --lr",
                        step + 1
                    );
                    progress.update(step + 1, tally.loss(), tally.accuracy());
                }
            }
            let training_seconds = started.elapsed().as_secs_f64();

            let network = network.valid();
            let validation = Embedding::of(&self.dataset.validation, &network, self.device)?;
            let test = Embedding::of(&self.dataset.test, &network, self.device)?;
            let shown = self.dataset.train.first(SHOWN_TRAIN_SAMPLES);
            let train = Embedding::of(&shown, &network, self.device)?;
            let metrics = EpochMetrics {
                epoch,
                step: epoch * steps_per_epoch,
                train_loss: tally.loss(),
                train_accuracy: tally.accuracy(),
                validation_accuracy: validation.class_accuracy(),
                test_accuracy: test.class_accuracy(),
                seconds: started.elapsed().as_secs_f64(),
                images_per_second: self.dataset.train.len() as f64 / training_seconds,
            };
            self.directory.append_json("metrics.jsonl", &metrics)?;
            progress.finish(&format!("{title}: {metrics}"));
            history.push(metrics);
            snapshots.push(Snapshot { epoch, train, test });
        }
        Ok(Trained { history, snapshots })
    }
}

/// Loss and accuracy over the batches so far.
#[derive(Default)]
struct Tally {
    samples: usize,
    loss_sum: f64,
    correct: usize,
    unread_losses: Vec<Tensor<1>>,
    unread_hits: Vec<Tensor<1, Int>>,
}

impl Tally {
    /// `loss` is the mean over the batch.
    fn add(&mut self, loss: Tensor<1>, logits: Tensor<2>, labels: Tensor<1, Int>) {
        let [batch_size] = labels.dims();
        self.unread_losses.push(loss.mul_scalar(batch_size as f64));
        let hits = logits.argmax(1).flatten::<1>(0, 1).equal(labels).int();
        self.unread_hits.push(hits);
    }

    fn read(&mut self) -> Result<()> {
        let losses = Tensor::cat(std::mem::take(&mut self.unread_losses), 0);
        let hits = Tensor::cat(std::mem::take(&mut self.unread_hits), 0);
        self.loss_sum += losses.try_into_vec_as::<f64>()?.iter().sum::<f64>();
        let hits = hits.try_into_vec_as::<i64>()?;
        self.samples += hits.len();
        self.correct += hits.iter().sum::<i64>() as usize;
        Ok(())
    }

    fn loss(&self) -> f64 {
        self.loss_sum / self.samples as f64
    }

    fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }
}
