//! The results of training with each loss, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::data::Classes;
use crate::evaluate::{DEFAULT_K, Scores, Separation};
use crate::recipe::Loss;
use crate::terminal::{columns, mean_and_error};

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
#[derive(Debug, Clone, Default, Serialize)]
pub struct Table {
    pub rows: Vec<Row>,
    /// What the numbers of the classes mean.
    pub classes: Classes,
    pub test_samples: usize,
    /// The samples that vote in k-NN.
    pub references: usize,
    /// Whether unknown classes are told from known ones.
    pub open_set: bool,
}

impl Table {
    pub fn add(&mut self, loss: Loss, feature_dim: usize, outcome: Outcome) {
        let is_of_row = |row: &Row| (row.loss, row.feature_dim) == (loss, feature_dim);
        let place = self.rows.iter().position(is_of_row);
        let place = place.unwrap_or_else(|| {
            let runs = Vec::new();
            self.rows.push(Row {
                loss,
                feature_dim,
                runs,
            });
            self.rows.len() - 1
        });
        self.rows[place].runs.push(outcome);
    }

    /// The head and the rows, cell by cell.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let mut cells = vec![Vec::new(); self.rows.len() + 1];
        let mut add = |head: &str, cell: &dyn Fn(&Row) -> String| {
            cells[0].push(head.to_owned());
            for (cells, row) in cells[1..].iter_mut().zip(&self.rows) {
                cells.push(cell(row));
            }
        };
        add("loss", &|row| row.loss.name());
        let class = mean(4, |run| Some(run.scores.class));
        if self.open_set {
            add("features", &|row| row.feature_dim.to_string());
            add("accuracy", &class);
            let runs = self.rows.iter().flat_map(|row| &row.runs);
            let scores: BTreeSet<&str> = runs.flat_map(|run| run.auroc.keys().copied()).collect();
            for score in scores {
                add(score, &mean(4, |run| run.auroc.get(score).copied()));
            }
            return cells;
        }
        add("images", &|row| row.runs[0].images.to_string());
        add("class", &class);
        add("nearest center", &mean(4, |run| run.scores.nearest_center));
        let neighbors = format!("k-NN of {}", self.references);
        add(&neighbors, &mean(4, |run| Some(run.scores.neighbors)));
        add("R-precision", &mean(4, |run| run.separation.r_precision));
        add("between / within", &mean(1, |run| run.separation.ratio()));
        cells
    }

    /// What the figures are.
    pub fn notes(&self) -> Vec<String> {
        let runs = self.rows.iter().map(|row| row.runs.len());
        let runs = runs.max().unwrap_or(0);
        if self.open_set {
            return vec![format!(
                "Accuracy on known classes, and AUROC of known against unknown test samples by each score, after the last \
                 epoch: mean ± standard error over {runs} random splits."
            )];
        }
        let mut notes = vec![format!(
            "Accuracy on {} test samples after the last epoch, with so many images gone through training.",
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
        notes.push(
            "Between / within: how many times as far two test samples of different classes are apart, on average, as two of \
             one class. This and R-precision are of the test samples that the feature maps show."
                .to_owned(),
        );
        if self.rows.iter().any(|row| row.loss.is_angular()) {
            notes.push(
                "Losses over angles are compared by direction: nearest center, k-NN, R-precision and distances are by cosine, \
                 the distance being one minus it."
                    .to_owned(),
            );
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
    fn several_seeds_are_shown_by_mean_and_error() {
        let mut table = Table {
            test_samples: 2,
            references: 7,
            ..Default::default()
        };
        for (seed, class) in [(1, 0.5), (2, 0.7)] {
            let outcome = Outcome {
                seed,
                images: 48,
                scores: Scores {
                    class,
                    nearest_center: Some(0.25),
                    neighbors: 1.0,
                },
                separation: Separation {
                    within: Some(0.5),
                    between: Some(2.0),
                    ..Default::default()
                },
                auroc: BTreeMap::new(),
            };
            table.add(Loss::Joint, 2, outcome);
        }
        let row = [
            "joint",
            "48",
            "0.6000 ± 0.1000",
            "0.2500 ± 0.0000",
            "1.0000 ± 0.0000",
            "-",
            "4.0 ± 0.0",
        ];
        assert_eq!(table.cells()[1], row);
        let text = table.to_string();
        for part in ["between / within", "over 2 seeds", "k-NN of 7"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
