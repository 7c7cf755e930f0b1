//! Accuracy in folds, by the protocol of Labeled Faces in the Wild.

use super::error::EvaluationError;
use super::input::{check_lengths, read_scores};
use std::fmt;

/// Thresholds of the protocol: 0, 0.01, .. 3.99. Squared distances of unit rows are at most 4.
const THRESHOLDS: usize = 400;

/// The largest squared distance that is accepted. It leaves room for rows whose lengths are rounded.
const MAX_SQUARED_DISTANCE: f64 = 4.01;

fn threshold(number: usize) -> f64 {
    number as f64 * 0.01
}

/// Accuracies of [`lfw_accuracy`].
#[derive(Clone, Debug, PartialEq)]
pub struct LfwAccuracy {
    /// The folds in the order of the pairs.
    pub folds: Vec<Fold>,
    /// The mean of the folds' accuracies.
    pub mean: f64,
    /// The standard deviation of the folds' accuracies, divided by the number of folds.
    pub std: f64,
}

impl fmt::Display for LfwAccuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folds, mean, std } = self;
        write!(f, "{mean:.5} +- {std:.5} in {} folds", folds.len())
    }
}

/// A part of the pairs, judged by a threshold that was chosen on all other parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fold {
    /// The share of its pairs that are decided rightly.
    pub accuracy: f64,
    /// The threshold: a pair is accepted if its squared distance is below.
    pub threshold: f64,
}

/// Accuracy of accepting pairs below a distance, with the threshold chosen on other pairs than it is tested on.
///
/// ```text
/// accept      squared distance < threshold
/// thresholds  0, 0.01, .. 3.99
/// fold i      the first threshold with the most right decisions on all pairs outside of fold i, tested on fold i
/// ```
///
/// `squared_distances` are those of rows of unit length; they equal twice the
/// [cosine distance](crate::KnnMetric::Cosine) of [`pair_distances`](super::pair_distances). The pairs are divided into
/// `folds` runs of neighbouring pairs in their order, the first `pairs % folds` of which have one pair more than the
/// others, as in scikit-learn's `KFold`. The protocol has 10 folds.
///
/// # Errors
///
/// [`EvaluationError`] if there are no pairs, a distance is NaN or not in 0..=4 (up to rounding), the lengths differ, or
/// `folds` is not in `2..=pairs`.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, lfw_accuracy};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let result = lfw_accuracy(&[0.2, 1.5, 0.2, 1.9], &[true, false, true, false], 2)?;
/// assert_eq!((result.mean, result.std), (1.0, 0.0));
/// assert_eq!(result.folds[0].threshold, 0.21);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, *Labeled Faces in the Wild*, University of Massachusetts, 2007.
pub fn lfw_accuracy<S: Copy + Into<f64>>(
    squared_distances: &[S],
    same: &[bool],
    folds: usize,
) -> Result<LfwAccuracy, EvaluationError> {
    let name = "squared_distances";
    let distances = read_scores(name, squared_distances)?;
    check_lengths(name, distances.len(), "same", same.len())?;
    let allowed = 0.0..=MAX_SQUARED_DISTANCE;
    if let Some(index) = distances.iter().position(|d| !allowed.contains(d)) {
        return Err(EvaluationError::UnitDistance {
            name,
            value: distances[index],
            index,
        });
    }
    let pairs = distances.len();
    if folds < 2 || folds > pairs {
        return Err(EvaluationError::Folds { folds, pairs });
    }

    let start = |fold: usize| fold * (pairs / folds) + fold.min(pairs % folds);
    let ranges = (0..folds).map(|fold| start(fold)..start(fold + 1));
    let right: Vec<Vec<usize>> = ranges
        .clone()
        .map(|range| right_decisions(&distances[range.clone()], &same[range]))
        .collect();
    let total: Vec<usize> = (0..THRESHOLDS)
        .map(|number| right.iter().map(|right| right[number]).sum())
        .collect();
    let folds: Vec<Fold> = right
        .iter()
        .zip(ranges)
        .map(|(right, range)| {
            let elsewhere = |number: &usize| total[*number] - right[*number];
            // Of equal ones the last, which is the lowest.
            let best = (0..THRESHOLDS).rev().max_by_key(elsewhere).unwrap_or(0);
            Fold {
                accuracy: right[best] as f64 / range.len() as f64,
                threshold: threshold(best),
            }
        })
        .collect();
    let count = folds.len() as f64;
    let mean = folds.iter().map(|fold| fold.accuracy).sum::<f64>() / count;
    let variance = folds
        .iter()
        .map(|fold| (fold.accuracy - mean) * (fold.accuracy - mean))
        .sum::<f64>()
        / count;
    Ok(LfwAccuracy {
        folds,
        mean,
        std: variance.sqrt(),
    })
}

/// How many pairs each threshold decides rightly.
fn right_decisions(distances: &[f64], same: &[bool]) -> Vec<usize> {
    let pairs = distances.iter().zip(same);
    let right_at = |number: usize| {
        let limit = threshold(number);
        let right = pairs.clone().filter(|(d, same)| (**d < limit) == **same);
        right.count()
    };
    (0..THRESHOLDS).map(right_at).collect()
}
