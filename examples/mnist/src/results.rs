//! The results of training with each loss, side by side.

use std::fmt;

use anyhow::Result;
use burn::tensor::Device;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::Classes;
use crate::evaluate::{DEFAULT_K, Scores, Separation};
use crate::mean::mean_and_error;
use crate::recipe::Loss;
use crate::train::{EpochMetrics, Snapshot, Trained};

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
    pub fn epoch(self, trained: &Trained) -> Option<&EpochMetrics> {
        let state = &trained.state;
        match self {
            Self::Last => state.history.last(),
            Self::Validation => state
                .history
                .iter()
                .find(|metrics| metrics.epoch == state.best_epoch()),
        }
    }

    /// The snapshot after that epoch.
    pub fn snapshot(self, trained: &Trained) -> Option<&Snapshot> {
        let epoch = self.epoch(trained)?.epoch;
        let mut snapshots = trained.snapshots.iter();
        snapshots.find(|snapshot| snapshot.epoch == epoch)
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
}

/// What wangx404/Center_Loss_in_MXNet publishes: the test accuracy of the class layer and of the nearest center.
const PUBLISHED: [(Loss, f64, Option<f64>); 3] = [
    (Loss::Softmax, 0.9855, None),
    (Loss::Joint, 0.9873, Some(0.9823)),
    (Loss::Center, 0.9872, Some(0.9851)),
];

/// One row of the table: what one loss came to on the test samples, seed by seed.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub loss: Loss,
    /// Images that went through training, those seen several times included, and without those of the run that this one
    /// started from.
    pub images: Vec<usize>,
    pub scores: Vec<Scores>,
    /// Of the test samples that the feature maps show; empty but in a gallery.
    pub separations: Vec<Separation>,
}

impl Row {
    fn new(loss: Loss) -> Self {
        Self {
            loss,
            images: Vec::new(),
            scores: Vec::new(),
            separations: Vec::new(),
        }
    }

    /// Mean and spread of an accuracy over the seeds.
    pub fn accuracy(&self, value: fn(&Scores) -> Option<f64>) -> String {
        shown(self.scores.iter().map(value).collect(), 4)
    }

    /// Mean and spread of a measure of the gallery over the seeds.
    pub fn separation(&self, value: fn(&Separation) -> Option<f64>, digits: usize) -> String {
        shown(self.separations.iter().map(value).collect(), digits)
    }
}

/// The rows, in the order in which the losses are trained.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub rows: Vec<Row>,
    /// What the numbers of the classes mean.
    pub classes: Classes,
    pub select: Select,
    pub test_samples: usize,
    pub kind: Kind,
}

impl Table {
    /// `runs` are those of all losses and seeds.
    pub fn of(
        runs: &[(Loss, &Trained)],
        select: Select,
        kind: Kind,
        device: &Device,
    ) -> Result<Self> {
        let mut rows: Vec<Row> = Vec::new();
        for &(loss, trained) in runs {
            let Some(metrics) = select.epoch(trained) else {
                continue;
            };
            let index = match rows.iter().position(|row| row.loss == loss) {
                Some(index) => index,
                None => {
                    rows.push(Row::new(loss));
                    rows.len() - 1
                }
            };
            let row = &mut rows[index];
            row.images.push(metrics.epoch * trained.train_samples);
            row.scores.push(metrics.test);
            if let (Kind::Gallery, Some(snapshot)) = (kind, select.snapshot(trained)) {
                row.separations
                    .push(Separation::of(&snapshot.test, device)?);
            }
        }
        Ok(Self {
            rows,
            classes: runs.first().map_or_else(Classes::default, |(_, trained)| {
                trained.state.classes.clone()
            }),
            select,
            test_samples: runs.first().map_or(0, |(_, trained)| trained.test_samples),
            kind,
        })
    }

    /// The head and the rows, cell by cell.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let mut head = vec!["loss", "images", "class", "nearest center", "k-NN"];
        match self.kind {
            Kind::Plain => {}
            Kind::Published => head.extend(["MXNet: class", "MXNet: nearest center"]),
            Kind::Gallery => head.extend(["R-precision", "within", "between", "ratio"]),
        }
        let mut cells = vec![head.into_iter().map(str::to_owned).collect()];
        for row in &self.rows {
            let mut line = vec![
                row.loss.name().to_owned(),
                match &row.images[..] {
                    [] => "-".to_owned(),
                    images => (images.iter().sum::<usize>() / images.len()).to_string(),
                },
                row.accuracy(|scores| Some(scores.class)),
                row.accuracy(|scores| scores.nearest_center),
                row.accuracy(|scores| Some(scores.neighbors)),
            ];
            let published = PUBLISHED.iter().find(|(loss, ..)| *loss == row.loss);
            match (self.kind, published) {
                (Kind::Published, Some(&(_, class, nearest_center))) => {
                    line.push(format!("{class:.4}"));
                    line.push(shown(nearest_center.map(|value| vec![value]), 4));
                }
                (Kind::Gallery, _) => line.extend([
                    row.separation(|separation| separation.r_precision, 4),
                    row.separation(|separation| separation.within, 4),
                    row.separation(|separation| separation.between, 4),
                    row.separation(Separation::ratio, 1),
                ]),
                _ => {}
            }
            cells.push(line);
        }
        cells
    }

    /// What the figures are.
    pub fn notes(&self) -> Vec<String> {
        let epoch = match self.select {
            Select::Last => "after the last epoch",
            Select::Validation => "after the epoch that was best on the validation samples",
        };
        let seeds = self.rows.iter().map(|row| row.scores.len()).max();
        let mut notes = vec![format!(
            "Accuracy on {} test samples {epoch}, with so many images gone through training{}.",
            self.test_samples,
            match self.rows.iter().any(|row| row.loss == Loss::Center) {
                true => "; center goes on from joint",
                false => "",
            }
        )];
        if let Some(seeds @ 2..) = seeds {
            notes.push(format!("Mean and standard error over {seeds} seeds."));
        }
        notes.push(format!(
            "k-NN: the {DEFAULT_K} nearest of the training samples that the feature maps show."
        ));
        if self.kind == Kind::Gallery {
            notes.push(
                "Losses over angles are compared by direction: nearest center, k-NN, R-precision and distances are by \
                 cosine, the distance being one minus it."
                    .to_owned(),
            );
            notes.push(
                "Within and between: the mean distance of two test samples of one class, and of two classes; ratio is \
                 the second over the first. They and R-precision are of the test samples that the feature maps show."
                    .to_owned(),
            );
        }
        if self.kind == Kind::Published {
            notes.push(
                "MXNet: as published by wangx404/Center_Loss_in_MXNet, for the epoch that was best on the test samples themselves, which ours never are \
                 chosen by."
                    .to_owned(),
            );
        }
        notes
    }
}

/// Mean and standard error of `values`; a dash if there are none or one is missing.
fn shown(values: Option<Vec<f64>>, digits: usize) -> String {
    match values.filter(|values| !values.is_empty()) {
        Some(values) => mean_and_error(&values, digits),
        None => "-".to_owned(),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        let widths: Vec<usize> = (0..cells[0].len())
            .map(|column| {
                let lengths = cells.iter().map(|row| row[column].chars().count());
                lengths.max().unwrap_or(0)
            })
            .collect();
        for row in &cells {
            write!(f, "{:<width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "   {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        write!(f, "{}", self.notes().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_missing_is_a_dash() {
        assert_eq!(shown(Some(vec![0.9]), 4), "0.9000");
        assert_eq!(shown(None, 4), "-");
        assert_eq!(shown(Some(vec![]), 4), "-");
    }
}
