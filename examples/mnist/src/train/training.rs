//! The training loop.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::Device;

use super::checkpoint;
use super::history::{EpochMetrics, State};
use super::snapshot::{Look, Snapshot};
use super::tally::Tally;
use crate::data::{Dataset, Shifts};
use crate::interrupt;
use crate::network::Model;
use crate::recipe::Recipe;
use crate::run::RunDirectory;
use crate::terminal::Progress;

/// Each reading of loss and accuracy waits for the device, so it is done once in this many steps.
const STEPS_PER_READING: usize = 16;
const METRICS: &str = "metrics.jsonl";

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

impl Trained {
    /// What the run in `directory` came to, whose state is `state`.
    pub fn of(state: State, dataset: &Dataset, directory: &RunDirectory) -> Result<Self> {
        Ok(Self {
            snapshots: Snapshot::all(directory, state.epoch)?,
            state,
            train_samples: dataset.train.len(),
            test_samples: dataset.test.len(),
        })
    }
}

impl Training<'_> {
    /// Trains from the last checkpoint in the directory on, or from the beginning if it has none.
    pub fn run(self) -> Result<Trained> {
        let Dataset { train, classes, .. } = self.dataset;
        let device = self.device.clone().autodiff();
        let steps_per_epoch = train.len().div_ceil(self.recipe.batch_size);
        let mut model =
            self.recipe
                .model(train.image_size(), classes.len(), steps_per_epoch, &device)?;
        let mut optimizer = self.recipe.optimizer();
        let mut scheduler = self.recipe.scheduler(steps_per_epoch)?;
        let mut state = State::default();
        match checkpoint::last(self.directory.path())? {
            Some(path) => {
                state = checkpoint::state(&path)?;
                state.ensure_classes(classes)?;
                model = model.load(checkpoint::model_record(&path)?)?;
                optimizer = checkpoint::restore(&path, optimizer)?;
                // The rates follow from the step alone, also where the recipe has more epochs by now.
                (0..state.step).for_each(|_| drop(scheduler.step()));
                // What a kill behind the last checkpoint has left of older ones.
                checkpoint::remove_old(self.directory, &state)?;
            }
            None => {
                state.classes = classes.clone();
                model = self.started(model)?;
                checkpoint::save(self.directory, &state, &model, &optimizer)?;
            }
        }

        let steps = self.recipe.epochs * steps_per_epoch;
        let progress = Progress::start(self.recipe.loss.name(), steps, state.step);
        for epoch in state.epoch + 1..=self.recipe.epochs {
            let started = Instant::now();
            let tally;
            (model, tally) = self
                .epoch(epoch, model, &mut optimizer, &mut scheduler, &progress)
                .with_context(|| self.title(epoch))?;
            let training_seconds = started.elapsed().as_secs_f64();

            let look = Look::at(&model.valid(), self.dataset, epoch, self.device)?;
            let metrics = EpochMetrics {
                epoch,
                step: epoch * steps_per_epoch,
                train_loss: tally.loss(),
                train_accuracy: tally.accuracy(),
                validation: look.validation,
                test: look.test,
                seconds: started.elapsed().as_secs_f64(),
                images_per_second: tally.samples() as f64 / training_seconds,
            };
            progress.line(&format!("{}: {metrics}", self.title(epoch)));
            state.epoch = epoch;
            state.step = metrics.step;
            state.history.push(metrics);
            // All before the checkpoint, so that what a checkpoint speaks of is there.
            self.directory.write_json_lines(METRICS, &state.history)?;
            look.snapshot.save(self.directory)?;
            checkpoint::save(self.directory, &state, &model, &optimizer)?;
        }
        Trained::of(state, self.dataset, self.directory)
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
        let order = samples.epoch_order(recipe.seed, epoch);
        let mut shifts = Shifts::new(recipe.shift, recipe.seed, epoch);
        let batches = order.chunks(recipe.batch_size);
        let steps = batches.len();
        let mut tally = Tally::default();
        for (batch, step) in batches.zip(1..) {
            interrupt::check()?;
            let images = samples.shifted_images_at(batch, &mut shifts, &device);
            let labels = samples.labels_at(batch, &device);
            let features = model.network.forward(images);
            let done = (epoch - 1) * steps + step;
            let plain_softmax = done <= recipe.softmax_steps(steps);
            // Labels are checked when the data is read, so a loss refuses only what is not finite.
            let (loss, logits) = model
                .objective
                .forward(features, labels.clone(), plain_softmax)
                .with_context(|| format!("step {step} is not finite; try a smaller --lr"))?;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(scheduler.step(), model, gradients);

            tally.add(loss.inner(), logits.without_autodiff(), labels.inner());
            if step % STEPS_PER_READING == 0 || step == steps {
                tally.read().with_context(|| format!("step {step}"))?;
                progress.update(done, tally.loss(), tally.accuracy());
            }
        }
        Ok((model, tally))
    }

    /// The model that training begins with.
    fn started(&self, model: Model) -> Result<Model> {
        let Some(start) = &self.start else {
            return Ok(model);
        };
        let model = model.load(start.clone())?;
        if let Some(center_loss) = model.objective.center_loss() {
            // The record holds the weight that its own run had.
            center_loss.set_lambda(self.recipe.lambda)?;
        }
        Ok(model)
    }

    fn title(&self, epoch: usize) -> String {
        let Recipe { loss, epochs, .. } = self.recipe;
        format!("{}, epoch {epoch} of {epochs}", loss.name())
    }
}
