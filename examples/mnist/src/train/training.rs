//! The training loop.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Device;

use super::checkpoint::Checkpoint;
use super::history::{EpochMetrics, State};
use super::job::{Trained, TrainingJob};
use super::snapshot::Snapshot;
use super::tally::Tally;
use crate::data::{Dataset, Shifts};
use crate::interrupt;
use crate::network::Model;
use crate::run::RunDirectory;
use crate::terminal::Progress;

/// Each reading of loss and accuracy waits for the device, so it is done once in this many steps.
const STEPS_PER_READING: usize = 16;
const METRICS: &str = "metrics.jsonl";

impl TrainingJob {
    /// Trains from the last checkpoint in `directory` on, or from the beginning if it has none. `device` is not in autodiff
    /// mode.
    pub fn train(
        &self,
        dataset: &Dataset,
        device: &Device,
        directory: &RunDirectory,
    ) -> Result<Trained> {
        let recipe = &self.recipe;
        let training_device = device.clone().autodiff();
        let steps_per_epoch = dataset.train.len().div_ceil(recipe.batch_size);
        let mut model = self.model(dataset, &training_device)?;
        let mut optimizer = recipe.optimizer();
        let mut scheduler = recipe.scheduler(steps_per_epoch)?;
        let mut state = State::default();
        match Checkpoint::last(directory.path())? {
            Some(last) => {
                state = last.state(&dataset.classes)?;
                model = model.load(last.model()?)?;
                optimizer = last.optimizer(optimizer)?;
                // The rates follow from the step alone, also where the recipe has more epochs by now.
                (0..state.step).for_each(|_| drop(scheduler.step()));
                // What a kill behind the last checkpoint has left of older ones.
                Checkpoint::remove_old(directory)?;
            }
            None => {
                state.classes = dataset.classes.clone();
                if let Some(start) = self.start_record(dataset)? {
                    model = model.load(start)?;
                    if let Some(center_loss) = model.objective.center_loss() {
                        // The record holds the weight that its own run had.
                        center_loss.set_lambda(recipe.lambda)?;
                    }
                }
                Checkpoint::save(directory, &state, &model, &optimizer)?;
            }
        }

        let name = recipe.loss.name();
        let progress = Progress::start(&name, recipe.epochs * steps_per_epoch, state.step);
        for epoch in state.epoch + 1..=recipe.epochs {
            let title = format!("{name}, epoch {epoch} of {}", recipe.epochs);
            let started = Instant::now();
            let tally;
            (model, tally) = self
                .epoch(
                    epoch,
                    dataset,
                    model,
                    &mut optimizer,
                    &mut scheduler,
                    &progress,
                )
                .with_context(|| title.clone())?;
            let training_seconds = started.elapsed().as_secs_f64();

            let (snapshot, [validation, test]) =
                Snapshot::take(&model.valid(), dataset, epoch, device)?;
            let metrics = EpochMetrics {
                epoch,
                step: epoch * steps_per_epoch,
                train_loss: tally.loss(),
                train_accuracy: tally.accuracy(),
                validation,
                test,
                seconds: started.elapsed().as_secs_f64(),
                images_per_second: tally.samples() as f64 / training_seconds,
            };
            progress.line(&format!("{title}: {metrics}"));
            state.epoch = epoch;
            state.step = metrics.step;
            state.history.push(metrics);
            // All before the checkpoint, so that what a checkpoint speaks of is there.
            directory.write_json_lines(METRICS, &state.history)?;
            snapshot.save(directory)?;
            Checkpoint::save(directory, &state, &model, &optimizer)?;
        }
        Trained::of(state, dataset, directory)
    }

    /// Goes through the training samples once.
    fn epoch(
        &self,
        epoch: usize,
        dataset: &Dataset,
        mut model: Model,
        optimizer: &mut ModuleOptimizer,
        scheduler: &mut ModuleLrScheduler,
        progress: &Progress,
    ) -> Result<(Model, Tally)> {
        let (recipe, samples) = (&self.recipe, &dataset.train);
        let device = model.devices().remove(0);
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
}
