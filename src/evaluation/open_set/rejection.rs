//! Scores that say how surely a sample is of a known class, from the crate's classifiers.

use crate::evaluation::error::EvaluationError;
use crate::evaluation::features::score_of_distance;
use crate::evaluation::scores::{check_rate, read_scores};
use crate::evaluation::steps::Steps;
use crate::neighbors::{KnnClassifier, NearestCenter, Search};
use alloc::vec::Vec;
use burn::tensor::Tensor;

/// How near each query is to its nearest center, in `f64`; larger means more surely known.
///
/// ```text
/// centers compared by position     minus the squared distance to the nearest center
/// centers compared by direction    the cosine with the nearest center, the largest of all
/// ```
///
/// The squared distance and the distance are in one order, so that they differ in thresholds alone.
///
/// # Shapes
///
/// - queries: `[num_queries, feature_dim]`
///
/// # Errors
///
/// As [`NearestCenter::predict`].
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::NearestCenter;
/// use burn_center_loss::evaluation::{EvaluationError, known_scores_by_center};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let device = Device::flex();
/// let centers = Tensor::<2>::from_floats([[0.0, 0.0], [10.0, 0.0]], &device);
/// let queries = Tensor::<2>::from_floats([[3.0, 4.0], [10.0, 1.0]], &device);
///
/// let by_position = NearestCenter::from_centers(centers.clone())?;
/// assert_eq!(known_scores_by_center(&by_position, queries.clone())?, [-25.0, -1.0]);
/// // A row of zeros has no direction; its cosine with any row counts as 0.
/// let by_direction = NearestCenter::from_directions(centers)?;
/// let cosines = known_scores_by_center(&by_direction, queries)?;
/// assert!((cosines[0] - 0.6).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn known_scores_by_center(
    classifier: &NearestCenter,
    queries: Tensor<2>,
) -> Result<Vec<f64>, EvaluationError> {
    scores_of_farthest(classifier.search(), 1, queries, "centers")
}

/// How near each query is to its k-th nearest reference, in `f64`; larger means more surely known.
///
/// ```text
/// SquaredEuclidean, Euclidean   minus the distance
/// Cosine                        the cosine
/// InnerProduct                  the inner product
/// ```
///
/// The k-th distance is less sensitive to single references than the smallest one; k is the classifier's.
///
/// # Shapes
///
/// - queries: `[num_queries, feature_dim]`
///
/// # Errors
///
/// As [`KnnClassifier::kneighbors`].
///
/// # References
///
/// Y. Sun, Y. Ming, X. Zhu, Y. Li, *Out-of-distribution detection with deep nearest neighbors*, ICML, 2022.
pub fn known_scores_by_kth_neighbor(
    classifier: &KnnClassifier,
    queries: Tensor<2>,
) -> Result<Vec<f64>, EvaluationError> {
    scores_of_farthest(classifier.search(), classifier.k(), queries, "references")
}

/// The scores of the farthest of the `k` nearest.
fn scores_of_farthest(
    search: &Search,
    k: usize,
    queries: Tensor<2>,
    name: &'static str,
) -> Result<Vec<f64>, EvaluationError> {
    let metric = search.metric();
    Ok(search
        .answer(queries, name, k)?
        .chunks_exact(k)
        .map(|neighbors| {
            let rank = neighbors[k - 1].rank;
            score_of_distance(metric, metric.distance(rank))
        })
        .collect())
}

/// The threshold that accepts a wanted share of known samples: the largest of the known scores t for which at least the
/// share `share` of the known scores is at least t.
///
/// Take it from samples that are not used for training.
///
/// # Errors
///
/// [`EvaluationError`] where there are no scores, one is NaN, or `share` is not in 0..=1.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, threshold_for_known_share};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let known_scores = [-1.0, -4.0, -2.0, -3.0];
/// assert_eq!(threshold_for_known_share(&known_scores, 0.75)?, -3.0);
/// # Ok(())
/// # }
/// ```
pub fn threshold_for_known_share<S: Copy + Into<f64>>(
    known_scores: &[S],
    share: f64,
) -> Result<f64, EvaluationError> {
    let scores = read_scores("known_scores", known_scores)?;
    check_rate("share", share)?;
    // Steps whose second group is empty: its share is never asked for.
    let count = scores.len();
    let steps = Steps::new(scores, Vec::new());
    let step = steps.first_with_positives(share, count).max(1);
    Ok(steps
        .threshold(step)
        .expect("only the first step has no threshold"))
}
