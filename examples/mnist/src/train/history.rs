//! What was measured after every epoch, and how far a run has come.

use std::fmt;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::data::Classes;
use crate::evaluate::Scores;
use crate::terminal::number;

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
            "loss {}, accuracy {:.4}; validation {}; test {}; {:.1} s, {:.0} images/s",
            number(self.train_loss, 4),
            self.train_accuracy,
            self.validation,
            self.test,
            self.seconds,
            self.images_per_second
        )
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Zero before the first epoch.
    pub epoch: usize,
    pub step: usize,
    /// What the numbers of the classes mean.
    pub classes: Classes,
    pub history: Vec<EpochMetrics>,
}

impl State {
    /// Checks that data with `classes` is what the network was trained on.
    pub fn ensure_classes(&self, classes: &Classes) -> Result<()> {
        ensure!(
            self.classes == *classes,
            "the run was trained on the labels {}, but the data has the labels {classes}",
            self.classes
        );
        Ok(())
    }

    /// The epoch with the best validation accuracy, the earliest of equals; zero before the first epoch.
    pub fn best_epoch(&self) -> usize {
        let by_accuracy = |one: &&EpochMetrics, other: &&EpochMetrics| {
            let [one, other] = [one, other].map(|epoch| epoch.validation.decisive());
            one.total_cmp(&other)
        };
        // Of equals, `max_by` takes the last.
        let best = self.history.iter().rev().max_by(by_accuracy);
        best.map_or(0, |best| best.epoch)
    }
}
