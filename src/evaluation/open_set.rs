//! Open set: telling samples of known classes from those of unknown ones.

use super::error::EvaluationError;
use super::input::{check_lengths, check_rate, read_scores, score_of_distance};
use super::roc::RocCurve;
use super::sweep::ThresholdSweep;
use crate::neighbors::{KnnClassifier, NearestCenter, Search};
use burn::tensor::Tensor;

/// Scores of samples of known and of unknown classes, and how well they tell both apart.
///
/// A larger score means more surely known; a sample is accepted as known if its score is at least the threshold. Samples
/// with equal scores are accepted together. A known sample is correct if the classifier gives it its own class.
///
/// # Differences from the references
///
/// Average precision and the rate at 95 % depend on which samples count as positive. Many programs do not say it, and
/// OpenOOD has both choices in one file. Here the names say it.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, OpenSet};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let known_scores = [0.9, 0.8, 0.7, 0.4];
/// let known_correct = [true, true, false, true];
/// let unknown_scores = [0.5, 0.1];
/// let open_set = OpenSet::new(&known_scores, &known_correct, &unknown_scores)?;
/// assert_eq!(open_set.auroc(), 7.0 / 8.0);
/// assert_eq!(open_set.open_auc(), 5.0 / 8.0);
/// assert_eq!(open_set.fpr_at_tpr(0.95)?, 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OpenSet {
    known: Vec<f64>,
    unknown: Vec<f64>,
    detection: RocCurve,
    /// Accepted known samples that are correct, and accepted unknown ones.
    correct: ThresholdSweep,
}

impl OpenSet {
    /// Takes the scores of known and of unknown samples, and which of the known ones are classified correctly.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if either scores are empty or hold NaN, or `known_correct` is not one per known score.
    pub fn new<S: Copy + Into<f64>>(
        known_scores: &[S],
        known_correct: &[bool],
        unknown_scores: &[S],
    ) -> Result<Self, EvaluationError> {
        let known = read_scores("known_scores", known_scores)?;
        let unknown = read_scores("unknown_scores", unknown_scores)?;
        check_lengths(
            "known_scores",
            known.len(),
            "known_correct",
            known_correct.len(),
        )?;
        let correct = known
            .iter()
            .zip(known_correct)
            .filter(|(_, correct)| **correct)
            .map(|(score, _)| *score)
            .collect();
        Ok(Self {
            detection: RocCurve::of_groups(known.clone(), unknown.clone()),
            correct: ThresholdSweep::new(correct, unknown.clone()),
            known,
            unknown,
        })
    }

    /// The number of known samples.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// The number of unknown samples.
    pub fn unknown(&self) -> usize {
        self.unknown.len()
    }

    /// The curve of telling known samples, the genuine ones, from unknown samples, the impostors.
    pub fn detection(&self) -> &RocCurve {
        &self.detection
    }

    /// The share of pairs of a known and an unknown sample in which the known one scores higher, equal scores counting
    /// one half. It is the same whichever is positive.
    pub fn auroc(&self) -> f64 {
        self.detection.auc()
    }

    /// [Average precision](RocCurve::average_precision) with known samples as the positive ones.
    pub fn average_precision_known(&self) -> f64 {
        self.detection.average_precision()
    }

    /// [Average precision](RocCurve::average_precision) with unknown samples as the positive ones and the scores
    /// negated.
    pub fn average_precision_unknown(&self) -> f64 {
        let negated = |scores: &[f64]| scores.iter().map(|score| -score).collect();
        RocCurve::of_groups(negated(&self.unknown), negated(&self.known)).average_precision()
    }

    /// The smallest share of unknown samples accepted where at least the share `tpr` of the known samples is. The usual
    /// FPR at 95 % TPR is `fpr_at_tpr(0.95)`.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::Rate`] if `tpr` is not in 0..=1.
    pub fn fpr_at_tpr(&self, tpr: f64) -> Result<f64, EvaluationError> {
        check_rate("tpr", tpr)?;
        self.detection.far_at_tar(tpr)
    }

    /// The open-set classification rate curve: one point for each distinct score of a correct known sample or an unknown
    /// sample, from the strictest threshold to the most lenient, after the point that accepts nothing.
    ///
    /// ```text
    /// CCR(t) = known samples that are correct and score >= t / known samples
    /// FPR(t) = unknown samples that score >= t / unknown samples
    /// ```
    ///
    /// # Differences from the references
    ///
    /// The code of ARPL compares correct samples by `>` and unknown ones by `>=`, and orders equal scores as the sort
    /// leaves them.
    ///
    /// # References
    ///
    /// A. R. Dhamija, M. Günther, T. E. Boult, *Reducing network agnostophobia*, NeurIPS, 2018.
    pub fn oscr_curve(&self) -> impl ExactSizeIterator<Item = OscrPoint> {
        self.correct
            .as_slice()
            .iter()
            .enumerate()
            .map(|(number, step)| OscrPoint {
                threshold: self.correct.threshold(number),
                correct_classification_rate: step.positives as f64 / self.known() as f64,
                false_positive_rate: step.negatives as f64 / self.unknown() as f64,
            })
    }

    /// The area under the OSCR curve by trapezoids.
    ///
    /// ```text
    /// OpenAUC = share of pairs of a known and an unknown sample in which
    ///           the known one is correct and scores higher, equal scores counting one half
    /// ```
    ///
    /// The area and this share are one number, which is counted in whole numbers.
    ///
    /// # References
    ///
    /// Z. Wang, Q. Xu, Z. Yang, Y. He, X. Cao, Q. Huang, *OpenAUC: towards AUC-oriented open-set recognition*, NeurIPS,
    /// 2022.
    pub fn open_auc(&self) -> f64 {
        let pairs = self.known() as u128 * self.unknown() as u128;
        self.correct.twice_pairs_in_order() as f64 / (2 * pairs) as f64
    }
}

/// Rates at one threshold of the [OSCR curve](OpenSet::oscr_curve).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OscrPoint {
    /// The least score that is accepted; `None` if nothing is accepted.
    pub threshold: Option<f64>,
    /// The share of known samples that are accepted and classified correctly.
    pub correct_classification_rate: f64,
    /// The share of unknown samples that are accepted.
    pub false_positive_rate: f64,
}

/// The known score of each query by its nearest center, in `f64`; larger means more surely known.
///
/// ```text
/// centers compared by position     minus the squared distance to the nearest center
/// centers compared by direction    the cosine with the nearest center, the largest of all
/// ```
///
/// The distance has the order of its square: the two differ in thresholds alone.
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

/// The known score of each query by the rejection score of CAC, in `f64`; larger means more surely known.
///
/// ```text
/// -min_j d_j (1 - p_j),   p_j = exp(-scale d_j) / sum_l exp(-scale d_l)
/// ```
///
/// `d_j` is the distance to the nearest center of class `j`, and `scale` that of the
/// [`DistanceSoftmax`](crate::DistanceSoftmax); 1 in CAC. `1 - p_j` is the sum of the other probabilities, so that it
/// keeps its digits near a center. A query is known if it is near one center and far from all others.
///
/// # Shapes
///
/// - queries: `[num_queries, feature_dim]`
///
/// # Differences from the references
///
/// The authors' score is positive, and large for unknown samples. pytorch-ood takes squared distances, and the
/// largest of the classes.
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
/// use burn_center_loss::evaluation::{EvaluationError, known_scores_by_rejection};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let device = Device::flex();
/// let centers = NearestCenter::from_centers(Tensor::from_floats([[0.0, 0.0], [6.0, 0.0]], &device))?;
/// let queries = Tensor::<2>::from_floats([[0.0, 0.0], [3.0, 4.0]], &device);
/// // On a center; and 5 from both.
/// assert_eq!(known_scores_by_rejection(&centers, queries, 1.0)?, [0.0, -2.5]);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// D. Miller, N. Sünderhauf, M. Milford, F. Dayoub, *Class anchor clustering: a loss for distance-based open set
/// recognition*, WACV, 2021.
pub fn known_scores_by_rejection(
    classifier: &NearestCenter,
    queries: Tensor<2>,
    scale: f64,
) -> Result<Vec<f64>, EvaluationError> {
    let distances = classifier.distances(queries)?;
    let [_, classes] = distances.dims();
    let distances: Vec<f64> = distances.into_data().iter::<f64>().collect();
    Ok(distances
        .chunks_exact(classes)
        .map(|row| -rejection(row, scale))
        .collect())
}

/// The smallest product of a distance and the probability of the other classes. It is that of the smallest distance,
/// since both factors rise with it.
fn rejection(distances: &[f64], scale: f64) -> f64 {
    let (mut nearest, mut place) = (f64::INFINITY, 0);
    for (class, distance) in distances.iter().enumerate() {
        if *distance < nearest {
            (nearest, place) = (*distance, class);
        }
    }
    let weight = |distance: &f64| (scale * (nearest - distance)).exp();
    let others = distances
        .iter()
        .enumerate()
        .filter(|(class, _)| *class != place);
    let others: f64 = others.map(|(_, distance)| weight(distance)).sum();
    nearest * (others / (1.0 + others))
}

/// The known score of each query by its k-th nearest reference, in `f64`; larger means more surely known.
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
/// [`EvaluationError`] if there are no scores, one is NaN, or `share` is not in 0..=1.
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
    // The second group is empty: its share is never asked for.
    let count = scores.len();
    let sweep = ThresholdSweep::new(scores, Vec::new());
    let step = sweep.first_with_positives(share, count).max(1);
    Ok(sweep
        .threshold(step)
        .expect("only the first step has no threshold"))
}
