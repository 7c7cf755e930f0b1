//! What was measured after every epoch, and how far a run has come.

use std::fmt;

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
