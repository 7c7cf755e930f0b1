//! The results of training with each loss, side by side.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::Classes;
use crate::evaluate::{DEFAULT_K, Scores};
use crate::recipe::Loss;
use crate::train::{EpochMetrics, Trained};

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
}

/// The rows, in the order in which the losses build on each other.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub rows: Vec<Row>,
    /// What the numbers of the classes mean.
    pub classes: Classes,
    pub select: Select,
    pub test_samples: usize,
    /// Whether the published figures are shown beside ours.
    pub published: bool,
}

impl Table {
    /// `runs` are those of all losses and seeds.
    pub fn of(runs: &[(Loss, &Trained)], select: Select, published: bool) -> Self {
        let row = |loss: Loss| {
            let of_loss = runs.iter().filter(|(other, _)| *other == loss);
            let (images, scores) = of_loss
                .filter_map(|(_, trained)| {
                    let metrics = select.epoch(trained)?;
                    Some((metrics.epoch * trained.train_samples, metrics.test))
                })
                .unzip();
            Row {
                loss,
                images,
                scores,
            }
        };
        Self {
            rows: Loss::ALL.map(row).to_vec(),
            classes: runs.first().map_or_else(Classes::default, |(_, trained)| {
                trained.state.classes.clone()
            }),
            select,
            test_samples: runs.first().map_or(0, |(_, trained)| trained.test_samples),
            published,
        }
    }

    /// The head and the rows, cell by cell.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let mut head = vec!["loss", "images", "class", "nearest center", "k-NN"];
        if self.published {
            head.extend(["MXNet: class", "MXNet: nearest center"]);
        }
        let mut cells = vec![head.into_iter().map(str::to_owned).collect()];
        for row in &self.rows {
            let column = |value: fn(&Scores) -> Option<f64>| {
                let values: Option<Vec<f64>> = row.scores.iter().map(value).collect();
                values.map_or("-".to_owned(), |values| mean_and_spread(&values))
            };
            let mut line = vec![
                row.loss.name().to_owned(),
                match &row.images[..] {
                    [] => "-".to_owned(),
                    images => (images.iter().sum::<usize>() / images.len()).to_string(),
                },
                column(|scores| Some(scores.class)),
                column(|scores| scores.nearest_center),
                column(|scores| Some(scores.neighbors)),
            ];
            let published = PUBLISHED.iter().find(|(loss, ..)| *loss == row.loss);
            if let (true, Some(&(_, class, nearest_center))) = (self.published, published) {
                line.push(format!("{class:.4}"));
                line.push(nearest_center.map_or("-".to_owned(), |value| format!("{value:.4}")));
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
            "Accuracy on {} test samples {epoch}, with so many images gone through training; center goes on from joint.",
            self.test_samples
        )];
        if let Some(seeds @ 2..) = seeds {
            notes.push(format!("Mean and standard deviation over {seeds} seeds."));
        }
        notes.push(format!(
            "k-NN: the {DEFAULT_K} nearest of the training samples that the feature maps show."
        ));
        if self.published {
            notes.push(
                "MXNet: as published by wangx404/Center_Loss_in_MXNet, for the epoch that was best on the test samples themselves, which ours never are \
                 chosen by."
                    .to_owned(),
            );
        }
        notes
    }
}

fn mean_and_spread(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return format!("{mean:.4}");
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{mean:.4} ± {:.4}", (squares / (count - 1.0)).sqrt())
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
    fn several_seeds_are_shown_by_mean_and_spread() {
        assert_eq!(mean_and_spread(&[0.9]), "0.9000");
        assert_eq!(mean_and_spread(&[0.98, 0.99, 1.0]), "0.9900 ± 0.0100");
    }
}
