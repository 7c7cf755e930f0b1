//! The training loop.

pub mod checkpoint;
pub mod job;

use std::fmt;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Int, Tensor};
use burn_center_loss::CenterLoss;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Samples, Shifts};
use crate::evaluate::{Embedding, Scores};
use crate::interrupt;
use crate::model::{LeNetPlusPlusConfig, Model, Output};
use crate::progress::Progress;
use crate::recipe::{Loss, Recipe};
use crate::run::{RunDirectory, read_json};
use checkpoint::State;

/// Each reading of loss and accuracy waits for the device, so it is done once in this many steps.
const STEPS_PER_READING: usize = 16;

/// At most how many training samples the feature maps show. They are the references of k-NN as well.
const SHOWN_TRAIN_SAMPLES: usize = 1000;
/// At most how many test samples the feature maps show.
const SHOWN_TEST_SAMPLES: usize = 2000;
const METRICS: &str = "metrics.jsonl";
const SNAPSHOTS: &str = "snapshots";

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    pub epoch: usize,
    pub step: usize,
    /// Over the epoch's batches, while the network changes.
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub validation: Scores,
    pub test: Scores,
    pub seconds: f64,
    /// Of training alone.
    pub images_per_second: f64,
}

impl fmt::Display for EpochMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "loss {:.4}, accuracy {:.4}; validation {}, test {}; {:.1} s, {:.0} images/s",
            self.train_loss,
            self.train_accuracy,
            self.validation,
            self.test,
            self.seconds,
            self.images_per_second
        )
    }
}

/// A training run to be done.
pub struct Training<'a> {
    pub recipe: &'a Recipe,
    pub dataset: &'a Dataset,
    /// Not in autodiff mode.
    pub device: &'a Device,
    pub directory: &'a RunDirectory,
    /// The trained model to start from, in place of random weights and centers.
    pub start: Option<ModuleRecord>,
}

/// The outcome of a training run.
pub struct Trained {
    pub state: State,
    /// One for each epoch.
    pub snapshots: Vec<Snapshot>,
    pub train_samples: usize,
    pub test_samples: usize,
}

/// The features of some training and test samples after an epoch, and the centers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub epoch: usize,
    pub train: Embedding,
    pub test: Embedding,
    /// Row by row; `None` without center loss.
    pub centers: Option<Vec<f32>>,
}

impl Training<'_> {
    /// Trains from the last checkpoint in the directory on, or from the beginning if it has none.
    pub fn run(self) -> Result<Trained> {
        let recipe = self.recipe;
        let device = self.device.clone().autodiff();
        let steps_per_epoch = self.dataset.train.len().div_ceil(recipe.batch_size);
        let mut model = self.untrained(&device, steps_per_epoch)?;
        let mut scheduler = recipe.scheduler(steps_per_epoch)?;
        let mut optimizer = recipe.optimizer();
        let mut state = State::default();
        match checkpoint::last(self.directory.path())? {
            Some(path) => {
                state = checkpoint::state(&path)?;
                state.ensure_classes(&self.dataset.classes)?;
                model = load(model, checkpoint::model_record(&path)?)?;
                (optimizer, scheduler) = checkpoint::restore(&path, optimizer, scheduler)?;
            }
            None => {
                state.classes = self.dataset.classes.clone();
                if let Some(start) = &self.start {
                    model = load(model, start.clone())?;
                    if let Some(center_loss) = &model.center_loss {
                        // The record holds the weight that its own run had.
                        center_loss.set_lambda(recipe.lambda)?;
                    }
                }
                checkpoint::save(self.directory, &state, &model, &optimizer, &scheduler)?;
            }
        }

        let steps = recipe.epochs * steps_per_epoch;
        let progress = Progress::start(recipe.loss.name(), steps, state.step);

        for epoch in state.epoch + 1..=recipe.epochs {
            let started = Instant::now();
            let tally;
            (model, tally) = self.epoch(epoch, model, &mut optimizer, &mut scheduler, &progress)?;
            let training_seconds = started.elapsed().as_secs_f64();

            let (snapshot, validation, test) = self.look(&model.valid(), epoch)?;
            let metrics = EpochMetrics {
                epoch,
                step: epoch * steps_per_epoch,
                train_loss: tally.loss(),
                train_accuracy: tally.accuracy(),
                validation,
                test,
                seconds: started.elapsed().as_secs_f64(),
                images_per_second: tally.samples as f64 / training_seconds,
            };
            progress.line(&format!("{}: {metrics}", self.title(epoch)));
            state.epoch = epoch;
            state.step = metrics.step;
            state.history.push(metrics);
            // All before the checkpoint, so that what a checkpoint speaks of is there.
            self.directory.write_json_lines(METRICS, &state.history)?;
            let snapshots = self.directory.part(SNAPSHOTS)?;
            snapshots.write_json(&snapshot_name(epoch), &snapshot)?;
            checkpoint::save(self.directory, &state, &model, &optimizer, &scheduler)?;
        }
        let snapshots = self.directory.path().join(SNAPSHOTS);
        Ok(Trained {
            snapshots: (1..=state.epoch)
                .map(|epoch| read_json(&snapshots.join(snapshot_name(epoch))))
                .collect::<Result<_>>()?,
            state,
            train_samples: self.dataset.train.len(),
            test_samples: self.dataset.test.len(),
        })
    }

    fn title(&self, epoch: usize) -> String {
        let Recipe { loss, epochs, .. } = self.recipe;
        format!("{}, epoch {epoch} of {epochs}", loss.name())
    }

    /// Goes through the training samples once.
    fn epoch(
        &self,
        epoch: usize,
        mut model: Model,
        optimizer: &mut ModuleOptimizer,
        scheduler: &mut ModuleLrScheduler,
        progress: &Progress,
    ) -> Result<(Model, Tally)> {
        let (recipe, samples) = (self.recipe, &self.dataset.train);
        let device = self.device.clone().autodiff();
        let cross_entropy = CrossEntropyLossConfig::new().init(&device);
        let order = samples.epoch_order(recipe.seed, epoch);
        let mut shifts = Shifts::new(recipe.shift, recipe.seed, epoch);
        let batches = order.chunks(recipe.batch_size);
        let steps = batches.len();
        let steps_before = (epoch - 1) * steps;
        let mut tally = Tally::default();
        for (batch, step) in batches.zip(1..) {
            interrupt::check()?;
            let images = samples.shifted_images_at(batch, &mut shifts, &device);
            let labels = samples.labels_at(batch, &device);
            let output = model.network.forward(images);
            // Labels are checked when the data is read, so the center loss refuses only what is not finite.
            let loss =
                loss(recipe.loss, &model, &cross_entropy, &output, &labels).with_context(|| {
                    format!(
                        "{}: step {step} is not finite; try a smaller --lr",
                        self.title(epoch)
                    )
                })?;
            tally.add(loss.clone().inner(), output.logits.inner(), labels.inner());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(scheduler.step(), model, gradients);
            if step % STEPS_PER_READING == 0 || step == steps {
                tally.read()?;
                ensure!(
                    tally.loss_sum.is_finite(),
                    "{}: the loss is not finite after {step} steps; try a smaller --lr",
                    self.title(epoch)
                );
                progress.update(steps_before + step, tally.loss(), tally.accuracy());
            }
        }
        Ok((model, tally))
    }

    /// The model with random weights and centers.
    fn untrained(&self, device: &Device, steps_per_epoch: usize) -> Result<Model> {
        let image_size = self.dataset.train.image_size();
        untrained(
            self.recipe,
            image_size,
            self.dataset.classes.len(),
            steps_per_epoch,
            device,
        )
    }

    /// What `model`, not in autodiff mode, makes of the samples; the scores are those of validation and test.
    fn look(&self, model: &Model, epoch: usize) -> Result<(Snapshot, Scores, Scores)> {
        let embedding = |samples: &Samples| Embedding::of(samples, &model.network, self.device);
        let train = embedding(&self.dataset.train.first(SHOWN_TRAIN_SAMPLES))?;
        let validation = embedding(&self.dataset.validation)?;
        let test = embedding(&self.dataset.test)?;
        let center_loss = model.center_loss.as_ref();
        let by_centers = center_loss.map(CenterLoss::nearest_center).transpose()?;
        let scores =
            |embedding: &Embedding| embedding.scores(by_centers.as_ref(), &train, self.device);
        let (validation, test_scores) = (scores(&validation)?, scores(&test)?);
        let centers = center_loss
            .map(|center_loss| center_loss.centers().try_into_vec_as())
            .transpose()?;
        let snapshot = Snapshot {
            epoch,
            train,
            test: test.first(SHOWN_TEST_SAMPLES),
            centers,
        };
        Ok((snapshot, validation, test_scores))
    }
}

/// The model of `recipe` with random weights and centers.
pub fn untrained(
    recipe: &Recipe,
    image_size: [usize; 2],
    num_classes: usize,
    steps_per_epoch: usize,
    device: &Device,
) -> Result<Model> {
    device.seed(recipe.seed);
    let network = LeNetPlusPlusConfig {
        image_size,
        num_classes,
        feature_dim: recipe.feature_dim,
        bias: recipe.bias,
        initializer: recipe.initialization.initializer(),
    }
    .init(device);
    let center_loss = recipe
        .center_loss(num_classes, steps_per_epoch)
        .map(|config| config.try_init(device))
        .transpose()?;
    Ok(Model {
        network,
        center_loss,
    })
}

/// `model` with the values of `record`.
pub fn load(model: Model, record: ModuleRecord) -> Result<Model> {
    model
        .try_load_record(record)
        .context("the recorded model does not fit this run's options and data")
}

fn snapshot_name(epoch: usize) -> String {
    format!("epoch-{epoch:04}.json")
}

/// The loss of a batch; moves the centers, where there are any that move.
fn loss(
    kind: Loss,
    model: &Model,
    cross_entropy: &CrossEntropyLoss,
    output: &Output,
    labels: &Tensor<1, Int>,
) -> Result<Tensor<1>> {
    let center = match &model.center_loss {
        Some(center_loss) => {
            Some(center_loss.try_forward((output.features.clone(), labels.clone()))?)
        }
        None => None,
    };
    let softmax = || cross_entropy.forward(output.logits.clone(), labels.clone());
    Ok(match (kind, center) {
        (Loss::Center, Some(center)) => center,
        (_, Some(center)) => softmax() + center,
        (_, None) => softmax(),
    })
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
