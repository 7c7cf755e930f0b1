//! The results of training with each loss, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::Classes;
use crate::evaluate::{DEFAULT_K, Scores, Separation};
use crate::recipe::Loss;
use crate::terminal::{columns, mean_and_error};
use crate::train::{EpochMetrics, Snapshot, State, Trained};

/// Which epoch of a run is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The last one
    Last,
    /// The one with the best accuracy on the validation samples
    Validation,
}

impl Select {
    pub fn epoch(self, state: &State) -> usize {
        match self {
            Self::Last => state.epoch,
            Self::Validation => state.best_epoch(),
        }
    }

    /// What was measured after that epoch, and its snapshot.
    pub fn of(self, trained: &Trained) -> Option<(&EpochMetrics, &Snapshot)> {
        let index = self.epoch(&trained.state).checked_sub(1)?;
        let metrics = trained.state.history.get(index)?;
        Some((metrics, trained.snapshots.get(index)?))
    }
}

/// What is shown beside the accuracies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing
    Plain,
    /// The published figures
    Published,
    /// R-precision and distances
    Gallery,
    /// How well unknown classes are told from known ones
    OpenSet,
}

/// What wangx404/Center_Loss_in_MXNet publishes: the test accuracy of the class layer and of the nearest center.
type Published = (Loss, f64, Option<f64>);
const PUBLISHED: [Published; 3] = [
    (Loss::Softmax, 0.9855, None),
    (Loss::Joint, 0.9873, Some(0.9823)),
    (Loss::Center, 0.9872, Some(0.9851)),
];

/// What one run came to on the test samples.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub seed: u64,
    /// Images that went through training, those seen several times included, and without those of the run that this one
    /// started from.
    pub images: usize,
    pub scores: Scores,
    /// Of the test samples that the feature maps show.
    pub separation: Separation,
    /// By the score that tells known from unknown; empty but for open sets.
    pub auroc: BTreeMap<&'static str, f64>,
}

/// One row of the table: the runs of one loss with one number of features.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub loss: Loss,
    pub feature_dim: usize,
    pub runs: Vec<Outcome>,
}

impl Row {
    /// Mean and spread of a value over the runs.
    pub fn cell(&self, digits: usize, value: impl Fn(&Outcome) -> Option<f64>) -> String {
        mean_and_error(self.runs.iter().map(value), digits)
    }
}

/// Mean and spread of a value, as a cell of a row.
fn mean(digits: usize, value: impl Fn(&Outcome) -> Option<f64>) -> impl Fn(&Row) -> String {
    move |row| row.cell(digits, &value)
}

/// The rows, in the order in which the losses are trained.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub rows: Vec<Row>,
    /// What the numbers of the classes mean.
    pub classes: Classes,
    pub select: Select,
    pub test_samples: usize,
    /// The samples that vote in k-NN.
    pub references: usize,
    pub kind: Kind,
}

impl Table {
    pub fn add(&mut self, loss: Loss, feature_dim: usize, outcome: Outcome) {
        let is_of_row = |row: &&mut Row| (row.loss, row.feature_dim) == (loss, feature_dim);
        if let Some(row) = self.rows.iter_mut().find(is_of_row) {
            return row.runs.push(outcome);
        }
        let runs = vec![outcome];
        self.rows.push(Row {
            loss,
            feature_dim,
            runs,
        });
    }

    /// The head and the rows, cell by cell.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let mut columns: Vec<Vec<String>> = Vec::new();
        let mut add = |head: &str, cell: &dyn Fn(&Row) -> String| {
            let cells = self.rows.iter().map(cell);
            columns.push([head.to_owned()].into_iter().chain(cells).collect());
        };
        add("loss", &|row| row.loss.name().to_owned());
        let class = mean(4, |run| Some(run.scores.class));
        if self.kind == Kind::OpenSet {
            add("features", &|row| row.feature_dim.to_string());
            add("accuracy", &class);
            let runs = self.rows.iter().flat_map(|row| &row.runs);
            let scores: BTreeSet<&str> = runs.flat_map(|run| run.auroc.keys().copied()).collect();
            for score in scores {
                add(score, &mean(4, |run| run.auroc.get(score).copied()));
            }
        } else {
            add("images", &|row| {
                let images: usize = row.runs.iter().map(|run| run.images).sum();
                (images / row.runs.len().max(1)).to_string()
            });
            add("class", &class);
            add("nearest center", &mean(4, |run| run.scores.nearest_center));
            let neighbors = format!("k-NN of {}", self.references);
            add(&neighbors, &mean(4, |run| Some(run.scores.neighbors)));
        }
        if self.kind == Kind::Published {
            let published = |row: &Row, value: fn(&Published) -> Option<f64>| {
                let figures = PUBLISHED.iter().find(|it| it.0 == row.loss);
                mean_and_error([figures.and_then(value)].into_iter(), 4)
            };
            add("MXNet: class", &|row| published(row, |it| Some(it.1)));
            add("MXNet: nearest center", &|row| published(row, |it| it.2));
        }
        if self.kind == Kind::Gallery {
            add("R-precision", &mean(4, |run| run.separation.r_precision));
            add("within", &mean(4, |run| run.separation.within));
            add("between", &mean(4, |run| run.separation.between));
            add("ratio", &mean(1, |run| run.separation.ratio()));
        }
        let cells = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
        (0..=self.rows.len()).map(cells).collect()
    }

    /// What the figures are.
    pub fn notes(&self) -> Vec<String> {
        let epoch = match self.select {
            Select::Last => "after the last epoch",
            Select::Validation => "after the epoch that was best on the validation samples",
        };
        let runs = self.rows.iter().map(|row| row.runs.len());
        let runs = runs.max().unwrap_or(0);
        if self.kind == Kind::OpenSet {
            return vec![format!(
                "Accuracy on known classes, and AUROC of known against unknown test samples by each score, {epoch}: mean ± \
                 standard error over {runs} random splits."
            )];
        }
        let mut notes = vec![format!(
            "Accuracy on {} test samples {epoch}, with so many images gone through training.",
            self.test_samples
        )];
        if self.rows.iter().any(|row| row.loss == Loss::Center) {
            notes.push("Center goes on from joint.".to_owned());
        }
        if runs > 1 {
            notes.push(format!("Mean and standard error over {runs} seeds."));
        }
        notes.push(format!(
            "k-NN of {0}: the {DEFAULT_K} nearest of the {0} training samples that the feature maps show.",
            self.references
        ));
        if self.kind == Kind::Gallery {
            let note = "Losses over angles are compared by direction: nearest center, k-NN, R-precision and distances are by \
                        cosine, the distance being one minus it.";
            notes.push(note.to_owned());
            let note = "Within and between: the mean distance of two test samples of one class, and of two classes; ratio is \
                        the second over the first. They and R-precision are of the test samples that the feature maps show.";
            notes.push(note.to_owned());
        }
        if self.kind == Kind::Published {
            let note = "MXNet: as published by wangx404/Center_Loss_in_MXNet, for the epoch that was best on the test samples \
                        themselves, which ours never are chosen by.";
            notes.push(note.to_owned());
        }
        notes
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", columns(&self.cells()), self.notes().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_figures_stand_beside_ours() {
        let mut table = Table {
            rows: Vec::new(),
            classes: Classes::default(),
            select: Select::Last,
            test_samples: 2,
            references: 7,
            kind: Kind::Published,
        };
        for seed in [1, 2] {
            let scores = Scores {
                class: 0.5,
                nearest_center: Some(0.25),
                neighbors: 1.0,
            };
            let separation = Separation::default();
            let auroc = BTreeMap::new();
            table.add(
                Loss::Joint,
                2,
                Outcome {
                    seed,
                    images: 48,
                    scores,
                    separation,
                    auroc,
                },
            );
        }
        let text = table.to_string();
        for part in [
            "MXNet: class",
            "0.9823",
            "0.2500 ± 0.0000",
            "over 2 seeds",
            "k-NN of 7",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
