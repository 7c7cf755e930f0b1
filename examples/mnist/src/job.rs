//! A training run as it is recorded: what is to be trained, on what data, from where on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Source, ensure_size};
use crate::network::Model;
use crate::pictures;
use crate::recipe::Recipe;
use crate::results::Select;
use crate::run::{Provenance, RunDirectory};
use crate::train::{Trained, Training, checkpoint};

/// The command that goes on with a single run.
pub const TRAIN: &str = "mnist train";

/// The content of a training run's `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingJob {
    pub provenance: Provenance,
    pub recipe: Recipe,
    /// Height and width of the images, once they are made smaller.
    pub image_size: [usize; 2],
    /// The run whose last checkpoint this one starts from, an absolute path.
    pub start: Option<PathBuf>,
}

impl TrainingJob {
    /// The samples of this run, read from `source`.
    pub fn dataset(&self, source: &Source) -> Result<Dataset> {
        let dataset = Dataset::load(source, &self.recipe)?;
        let size = dataset.train.image_size();
        ensure_size(size, self.image_size).context("--data-dir")?;
        Ok(dataset)
    }

    /// The model of this run before training. `device` decides whether it can be trained.
    pub fn model(&self, dataset: &Dataset, device: &Device) -> Result<Model> {
        let steps = dataset.train.len().div_ceil(self.recipe.batch_size);
        let num_classes = dataset.classes.len();
        self.recipe
            .model(self.image_size, num_classes, steps, device)
    }

    /// The trained model that this run starts from, if it starts from one.
    pub fn start_record(&self, dataset: &Dataset) -> Result<Option<ModuleRecord>> {
        let record = |run: &PathBuf| {
            let last = last_checkpoint(run)?;
            checkpoint::state(&last)?.ensure_classes(&dataset.classes)?;
            checkpoint::model_record(&last)
        };
        self.start.as_ref().map(record).transpose()
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
        let state = checkpoint::state(&last_checkpoint(run)?)?;
        state.ensure_classes(&dataset.classes)?;
        let epoch = select.epoch(&state);
        let record = checkpoint::model_record(&checkpoint::of_epoch(run, epoch))?;
        Ok((epoch, self.model(dataset, device)?.load(record)?.valid()))
    }

    /// What this run, in `directory`, came to so far.
    pub fn trained(&self, dataset: &Dataset, directory: &RunDirectory) -> Result<Trained> {
        let last = last_checkpoint(directory.path())?;
        Trained::of(checkpoint::state(&last)?, dataset, directory)
    }

    /// Trains in `directory`, from where it stands, and draws the pictures.
    pub fn run(
        &self,
        dataset: &Dataset,
        device: &Device,
        directory: &RunDirectory,
    ) -> Result<Trained> {
        // A run that has begun needs no other to start from.
        let start = match checkpoint::last(directory.path())? {
            Some(_) => None,
            None => self.start_record(dataset)?,
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

fn last_checkpoint(run: &Path) -> Result<PathBuf> {
    checkpoint::last(run)?.with_context(|| format!("{}: has no checkpoint", run.display()))
}
