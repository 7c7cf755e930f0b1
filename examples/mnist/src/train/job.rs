//! A training run as it is recorded: what is to be trained, on what data, from where on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::history::State;
use super::snapshot::Snapshot;
use crate::data::{Dataset, Source, ensure_size};
use crate::network::Model;
use crate::recipe::Recipe;
use crate::run::{Provenance, RunDirectory};

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

/// What a training run came to.
pub struct Trained {
    pub state: State,
    /// One for each epoch.
    pub snapshots: Vec<Snapshot>,
    pub train_samples: usize,
    pub test_samples: usize,
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
        let Some(run) = &self.start else {
            return Ok(None);
        };
        let last = last_of(run)?;
        last.state(&dataset.classes)?;
        Ok(Some(last.model()?))
    }

    /// The number of epochs of this run, in the directory `run`, and the model after them. `device` is not in autodiff
    /// mode.
    pub fn trained_model(
        &self,
        dataset: &Dataset,
        run: &Path,
        device: &Device,
    ) -> Result<(usize, Model)> {
        let last = last_of(run)?;
        let epoch = last.state(&dataset.classes)?.epoch;
        let model = self.model(dataset, device)?.load(last.model()?)?;
        Ok((epoch, model.valid()))
    }

    /// What this run, in `directory`, came to so far.
    pub fn trained(&self, dataset: &Dataset, directory: &RunDirectory) -> Result<Trained> {
        let state = last_of(directory.path())?.state(&dataset.classes)?;
        Trained::of(state, dataset, directory)
    }
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

/// The last checkpoint of `run`.
fn last_of(run: &Path) -> Result<Checkpoint> {
    Checkpoint::last(run)?.with_context(|| format!("{}: has no checkpoint", run.display()))
}
