//! Scores of pairs of features.

use super::error::EvaluationError;
use super::input::{read_labels_of, read_rows, score_of_distance};
use crate::neighbors::{KnnMetric, Rows, check_device};
use burn::tensor::{Int, Tensor};

/// Scored pairs, as [`RocCurve::new`](super::RocCurve::new) takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct PairScores {
    /// One score for each pair; larger means more alike.
    pub scores: Vec<f64>,
    /// Whether both rows of the pair have the same label.
    pub same: Vec<bool>,
}

/// The distance of each row of `left` to the row of `right` in the same place, as the metric reports it, in `f64`.
///
/// Reads both tensors back from the device once. Under [`KnnMetric::InnerProduct`] these are inner products, of which
/// the largest is the nearest.
///
/// # Shapes
///
/// - left, right: `[pairs, feature_dim]`
///
/// # Errors
///
/// [`EvaluationError`] if the shapes differ, there are no rows or columns, a value is not finite, or the tensors are
/// on different devices.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::KnnMetric;
/// use burn_center_loss::evaluation::{EvaluationError, pair_distances};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let device = Device::flex();
/// let left = Tensor::<2>::from_floats([[0.0, 0.0], [1.0, 1.0]], &device);
/// let right = Tensor::<2>::from_floats([[3.0, 4.0], [1.0, 1.0]], &device);
/// assert_eq!(pair_distances(left, right, KnnMetric::Euclidean)?, [5.0, 0.0]);
/// # Ok(())
/// # }
/// ```
pub fn pair_distances(
    left: Tensor<2>,
    right: Tensor<2>,
    metric: KnnMetric,
) -> Result<Vec<f64>, EvaluationError> {
    if left.dims() != right.dims() {
        return Err(EvaluationError::PairShapes {
            left: left.dims(),
            right: right.dims(),
        });
    }
    check_device("right", &right.device(), "left", &left.device())?;
    let left = read_rows(left, "left", metric)?;
    let right = read_rows(right, "right", metric)?;
    Ok(left
        .iter()
        .zip(right.iter())
        .map(|(x, y)| metric.distance(metric.rank(x, y)))
        .collect())
}

/// A score for each row of `left` and the row of `right` in the same place; larger means more alike.
///
/// ```text
/// SquaredEuclidean, Euclidean   minus the distance
/// Cosine                        the cosine, 1 minus the distance
/// InnerProduct                  the inner product
/// ```
///
/// # Shapes
///
/// - left, right: `[pairs, feature_dim]`
///
/// # Errors
///
/// As [`pair_distances`].
pub fn pair_scores(
    left: Tensor<2>,
    right: Tensor<2>,
    metric: KnnMetric,
) -> Result<Vec<f64>, EvaluationError> {
    let mut distances = pair_distances(left, right, metric)?;
    for value in &mut distances {
        *value = score_of_distance(metric, *value);
    }
    Ok(distances)
}

/// The scores of all `n (n - 1) / 2` pairs of different rows: the first row with each later one, then the second with
/// each later one, and so on.
///
/// Needs 9 bytes for each pair. Reads both tensors back from the device once.
///
/// # Shapes
///
/// - features: `[n, feature_dim]`
/// - labels: `[n]`, any integers of any integer type
///
/// # Errors
///
/// [`EvaluationError`] if there are fewer than two rows, no columns, a value is not finite, or the labels are not one
/// per row or not on the features' device.
pub fn all_pair_scores(
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    metric: KnnMetric,
) -> Result<PairScores, EvaluationError> {
    let labels = read_labels_of(&features, "features", labels, "labels")?;
    let rows = read_rows(features, "features", metric)?;
    pair_scores_of_rows(&rows, &labels, metric)
}

/// As [`all_pair_scores`], for rows that the metric has prepared.
pub(crate) fn pair_scores_of_rows(
    rows: &Rows,
    labels: &[i128],
    metric: KnnMetric,
) -> Result<PairScores, EvaluationError> {
    if rows.len() < 2 {
        return Err(EvaluationError::Empty { name: "pairs" });
    }
    let pairs = rows.len() * (rows.len() - 1) / 2;
    let mut scores = Vec::with_capacity(pairs);
    let mut same = Vec::with_capacity(pairs);
    for first in 0..rows.len() {
        for second in first + 1..rows.len() {
            let distance = metric.distance(metric.rank(rows.row(first), rows.row(second)));
            scores.push(score_of_distance(metric, distance));
            same.push(labels[first] == labels[second]);
        }
    }
    Ok(PairScores { scores, same })
}
