//! A training run as it is recorded: what is to be trained, on what data, from where on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Source};
use crate::network::Model;
use crate::pictures;
use crate::recipe::Recipe;
use crate::results::Select;
use crate::run::{Provenance, RUN, RunDirectory, read_json};
use crate::train::{Trained, Training, checkpoint};

/// The content of a training run's `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingJob {
    pub provenance: Provenance,
    pub recipe: Recipe,
    /// The run whose last checkpoint this one starts from.
    pub start: Option<PathBuf>,
}

impl TrainingJob {
    /// Begins this run in `directory`.
    pub fn record(&self, directory: &RunDirectory) -> Result<()> {
        directory.write_json(RUN, self)
    }

    /// The job of the run in `directory`.
    pub fn of(directory: &RunDirectory) -> Result<Self> {
        let path = directory.path().join(RUN);
        read_json(&path).context("not a run of train; name one, such as a part of a comparison")
    }

    pub fn dataset(&self, source: &Source) -> Result<Dataset> {
        Dataset::load(
            source,
            self.recipe.num_classes,
            &self.recipe.unknown_classes,
            self.recipe.shrink,
            self.recipe.sizes(),
        )
    }

    /// The model of this run before training. `device` decides whether it can be trained.
    pub fn model(&self, dataset: &Dataset, device: &Device) -> Result<Model> {
        let image_size = dataset.train.image_size();
        let steps = dataset.train.len().div_ceil(self.recipe.batch_size);
        self.recipe
            .model(image_size, dataset.classes.len(), steps, device)
    }

    /// The model after the epoch of this run, in the directory `run`, that `select` says, and that epoch. `device` is not
    /// in autodiff mode.
    pub fn trained_model(
        &self,
        dataset: &Dataset,
        run: &Path,
        select: Select,
        device: &Device,
    ) -> Result<(usize, Model)> {
        let last = checkpoint::last(run)?
            .with_context(|| format!("{}: has no checkpoint", run.display()))?;
        let state = checkpoint::state(&last)?;
        state.ensure_classes(&dataset.classes)?;
        let (epoch, path) = match select {
            Select::Last => (state.epoch, last),
            Select::Validation => {
                let epoch = state.best_epoch();
                (epoch, checkpoint::of_epoch(run, epoch))
            }
        };
        let model = self.model(dataset, device)?;
        let model = model.load(checkpoint::model_record(&path)?)?.valid();
        Ok((epoch, model))
    }

    /// What this run, in `directory`, came to so far.
    pub fn trained(&self, dataset: &Dataset, directory: &RunDirectory) -> Result<Trained> {
        let path = directory.path();
        let last = checkpoint::last(path)?
            .with_context(|| format!("{}: has no checkpoint", path.display()))?;
        Trained::of(checkpoint::state(&last)?, dataset, directory)
    }

    /// Trains in `directory`, from where it stands, and draws the pictures.
    pub fn run(
        &self,
        dataset: &Dataset,
        device: &Device,
        directory: &RunDirectory,
    ) -> Result<Trained> {
        let start = match &self.start {
            Some(run) => {
                let checkpoint = checkpoint::last(run)?
                    .with_context(|| format!("{}: has no checkpoint", run.display()))?;
                checkpoint::state(&checkpoint)?.ensure_classes(&dataset.classes)?;
                Some(checkpoint::model_record(&checkpoint)?)
            }
            None => None,
        };
        let trained = Training {
            recipe: &self.recipe,
            dataset,
            device,
            directory,
            start,
        }
        .run()?;
        pictures::draw(self.recipe.loss.name(), &trained, directory)?;
        Ok(trained)
    }
}
