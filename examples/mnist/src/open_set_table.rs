//! The results of the protocol for open sets: by loss and number of features, over all splits.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::mean::mean_and_error;
use crate::recipe::Loss;

/// What one run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Of the class layer, on test samples of known classes.
    pub accuracy: f64,
    /// By the score that tells known from unknown.
    pub auroc: BTreeMap<String, f64>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accuracy {:.4}", self.accuracy)?;
        for (score, auroc) in &self.auroc {
            write!(f, "; AUROC by {score} {auroc:.4}")?;
        }
        Ok(())
    }
}

/// The runs of one loss with one number of features.
#[derive(Debug, Clone, Serialize)]
struct Row {
    loss: Loss,
    feature_dim: usize,
    splits: Vec<Measured>,
}

/// All runs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OpenSetTable {
    rows: Vec<Row>,
}

impl OpenSetTable {
    pub fn add(&mut self, loss: Loss, feature_dim: usize, measured: Measured) {
        let of_this_kind = |row: &&mut Row| (row.loss, row.feature_dim) == (loss, feature_dim);
        match self.rows.iter_mut().find(of_this_kind) {
            Some(row) => row.splits.push(measured),
            None => self.rows.push(Row {
                loss,
                feature_dim,
                splits: vec![measured],
            }),
        }
    }
}

impl fmt::Display for OpenSetTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut scores: Vec<&String> = self
            .rows
            .iter()
            .flat_map(|row| &row.splits)
            .flat_map(|measured| measured.auroc.keys())
            .collect();
        scores.sort();
        scores.dedup();
        write!(f, "{:<20} {:>8} {:>17}", "loss", "features", "accuracy")?;
        for score in &scores {
            write!(f, "  {score:>19}")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            let accuracies: Vec<f64> = row.splits.iter().map(|split| split.accuracy).collect();
            let accuracy = mean_and_error(&accuracies, 4);
            let name = row.loss.name();
            write!(f, "{name:<20} {:>8} {accuracy:>17}", row.feature_dim)?;
            for score in &scores {
                let values: Option<Vec<f64>> = row
                    .splits
                    .iter()
                    .map(|split| split.auroc.get(*score).copied())
                    .collect();
                let cell = values.map_or("-".to_owned(), |values| mean_and_error(&values, 4));
                write!(f, "  {cell:>19}")?;
            }
            writeln!(f)?;
        }
        let splits = self.rows.iter().map(|row| row.splits.len()).max();
        write!(
            f,
            "Accuracy on known classes, and AUROC of known against unknown test samples by each score: mean ± standard \
             error over {} random splits.",
            splits.unwrap_or(0)
        )
    }
}
