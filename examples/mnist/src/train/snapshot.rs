//! What a model makes of some training samples and of the test samples, after an epoch.

use anyhow::Result;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::evaluate::{Embedding, Scores};
use crate::network::Model;
use crate::run::{RunDirectory, read_json, write_json};

/// At most how many training samples the feature maps show. They are the references of k-NN as well.
const SHOWN_TRAIN_SAMPLES: usize = 1000;
/// At most how many test samples the feature maps show.
const SHOWN_TEST_SAMPLES: usize = 2000;
const DIRECTORY: &str = "snapshots";

/// The features of some training and test samples after an epoch, and the centers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub epoch: usize,
    pub train: Embedding,
    pub test: Embedding,
    /// The centers of center loss, or the class vectors of a loss over angles, row by row; `None` of softmax.
    pub centers: Option<Vec<f32>>,
}

impl Snapshot {
    /// The snapshot after `epoch`, and the accuracies on all validation and on all test samples. `model` and `device` are
    /// not in autodiff mode.
    pub fn take(
        model: &Model,
        dataset: &Dataset,
        epoch: usize,
        device: &Device,
    ) -> Result<(Self, [Scores; 2])> {
        let embedding = |samples: &_| Embedding::of(samples, model, device);
        let train = embedding(&dataset.train.first(SHOWN_TRAIN_SAMPLES))?;
        let validation = embedding(&dataset.validation)?;
        let test = embedding(&dataset.test)?;
        let by_centers = model.objective.nearest_center()?;
        let centers = by_centers.as_ref().map(|by| by.centers().try_into_vec_as());
        let scores = |of: &Embedding| of.scores(by_centers.as_ref(), &train, device);
        let scores = [scores(&validation)?, scores(&test)?];
        let snapshot = Self {
            epoch,
            train,
            test: test.first(SHOWN_TEST_SAMPLES),
            centers: centers.transpose()?,
        };
        Ok((snapshot, scores))
    }

    pub fn save(&self, run: &RunDirectory) -> Result<()> {
        write_json(&run.folder(DIRECTORY)?.join(name(self.epoch)), self)
    }

    /// The snapshots of all epochs up to `last`.
    pub fn all(run: &RunDirectory, last: usize) -> Result<Vec<Self>> {
        let directory = run.path().join(DIRECTORY);
        let snapshot = |epoch| read_json(&directory.join(name(epoch)));
        (1..=last).map(snapshot).collect()
    }
}

fn name(epoch: usize) -> String {
    format!("epoch-{epoch:04}.json")
}
