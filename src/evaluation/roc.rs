//! The receiver operating characteristic: accepted pairs at every threshold, and the metrics of verification.

use super::detection_cost::{CostAtThreshold, DetectionCost};
use super::error::EvaluationError;
use super::input::{check_rate, read_pairs, read_scores};
use super::sweep::{Step, ThresholdSweep};

/// Accepted shares of genuine and of impostor pairs at every threshold.
///
/// ```text
/// accept        score >= threshold
/// TAR(t)        accepted genuine pairs / genuine pairs          true accept rate
/// FAR(t)        accepted impostor pairs / impostor pairs        false accept rate
/// FRR(t)        1 - TAR(t)                                      false reject rate
/// ```
///
/// A larger score means more alike; hand in distances with a minus sign. Both rates are step functions of the
/// threshold t. Pairs with equal scores are accepted together, so that their order in the input changes nothing, and a
/// strictly monotone change of the scores changes the thresholds alone. Scores may be infinite but not NaN.
///
/// The scores are sorted once, in O(n log n); each metric then takes one pass over the distinct scores.
///
/// # Differences from the references
///
/// scikit-learn's `roc_curve` drops points on a straight line between their neighbours unless told otherwise, and its
/// users then interpolate. No point is dropped here and nothing but the
/// [equal error rate](RocCurve::equal_error_rate) is interpolated.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, RocCurve};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let scores = [0.9, 0.8, 0.8, 0.3];
/// let same = [true, false, true, false];
/// let curve = RocCurve::new(&scores, &same)?;
/// let rates: Vec<(f64, f64)> = curve
///     .points()
///     .map(|point| (point.false_accept_rate, point.true_accept_rate))
///     .collect();
/// assert_eq!(rates, [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
/// assert_eq!(curve.auc(), 0.875);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// T. Fawcett, *An introduction to ROC analysis*, Pattern Recognition Letters, 2006.
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    sweep: ThresholdSweep,
    genuine: usize,
    impostors: usize,
}

/// Rates at one threshold of a [`RocCurve`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// The least score that is accepted; `None` if nothing is accepted.
    pub threshold: Option<f64>,
    /// The share of genuine pairs that is accepted.
    pub true_accept_rate: f64,
    /// The share of impostor pairs that is accepted.
    pub false_accept_rate: f64,
}

impl RocCurve {
    /// The curve of scored pairs; `same` says which pairs are genuine, of one class.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no scores, one is NaN, the lengths differ, or `same` is true throughout or
    /// false throughout.
    pub fn new<S: Copy + Into<f64>>(scores: &[S], same: &[bool]) -> Result<Self, EvaluationError> {
        let [genuine, impostors] = read_pairs("scores", scores, same)?;
        Ok(Self::of_groups(genuine, impostors))
    }

    /// The curve of genuine and impostor scores that are already apart.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if either is empty or holds NaN.
    pub fn from_groups<S: Copy + Into<f64>>(
        genuine: &[S],
        impostors: &[S],
    ) -> Result<Self, EvaluationError> {
        Ok(Self::of_groups(
            read_scores("genuine", genuine)?,
            read_scores("impostors", impostors)?,
        ))
    }

    /// The curve of two groups that are neither empty nor hold NaN.
    pub(crate) fn of_groups(genuine: Vec<f64>, impostors: Vec<f64>) -> Self {
        Self {
            genuine: genuine.len(),
            impostors: impostors.len(),
            sweep: ThresholdSweep::new(genuine, impostors),
        }
    }

    /// The number of genuine pairs.
    pub fn genuine(&self) -> usize {
        self.genuine
    }

    /// The number of impostor pairs.
    pub fn impostors(&self) -> usize {
        self.impostors
    }

    /// One point for each distinct score, from the strictest threshold to the most lenient, after the point that
    /// accepts nothing. The last point accepts everything.
    pub fn points(&self) -> impl ExactSizeIterator<Item = RocPoint> {
        (0..self.sweep.as_slice().len()).map(|step| self.point(step))
    }

    /// The area under the curve: the share of pairs of one genuine and one impostor score that are in the right order.
    ///
    /// ```text
    /// AUC = (pairs with genuine > impostor + pairs with genuine = impostor / 2) / (genuine * impostors)
    /// ```
    ///
    /// It equals the area by trapezoids, and is counted in whole numbers.
    ///
    /// # References
    ///
    /// J. A. Hanley, B. J. McNeil, *The meaning and use of the area under a receiver operating characteristic (ROC)
    /// curve*, Radiology, 1982.
    pub fn auc(&self) -> f64 {
        let pairs = self.genuine() as u128 * self.impostors() as u128;
        self.sweep.twice_pairs_in_order() as f64 / (2 * pairs) as f64
    }

    /// Average precision with the genuine pairs as the positive ones.
    ///
    /// ```text
    /// AP = sum over thresholds of (recall - recall at the threshold before) * precision
    /// ```
    ///
    /// Recall is the true accept rate; precision is the share of accepted pairs that are genuine. Nothing is
    /// interpolated between thresholds, as in scikit-learn's `average_precision_score`.
    pub fn average_precision(&self) -> f64 {
        let sum: f64 = self
            .counts()
            .windows(2)
            .map(|pair| {
                let found = pair[1].positives - pair[0].positives;
                let accepted = pair[1].positives + pair[1].negatives;
                found as f64 * (pair[1].positives as f64 / accepted as f64)
            })
            .sum();
        sum / self.genuine() as f64
    }

    /// The equal error rate, where the line through neighbouring points crosses FAR = FRR.
    ///
    /// ```text
    /// (far, frr)  the first point, from the strictest threshold on, with frr <= far
    /// (far', frr') the point before it
    /// s   = (frr' - far') / ((frr' - far') + (far - frr))
    /// EER = far' + s (far - far')
    /// ```
    ///
    /// # Differences from the references
    ///
    /// torchmetrics takes the mean of the two rates at the point where they differ least; that is
    /// [`equal_error_rate_argmin`](Self::equal_error_rate_argmin). Tools that accumulate over sorted scores without
    /// grouping ties give a value that depends on the order of the input. Tools that use the convex hull of the curve
    /// give a smaller one, [`hull_equal_error_rate`](Self::hull_equal_error_rate).
    pub fn equal_error_rate(&self) -> f64 {
        self.crossing(self.counts())
    }

    /// The equal error rate of the convex hull of the curve: where the line through its neighbouring corners crosses
    /// FAR = FRR. It is never above [`equal_error_rate`](Self::equal_error_rate).
    ///
    /// It is the largest [minimum](Self::min_detection_cost) of the raw cost over all priors, at costs of 1. Points of
    /// the hull that are no points of the curve can be reached by drawing lots between two thresholds.
    ///
    /// # References
    ///
    /// N. Brümmer, E. de Villiers, *The BOSARIS toolkit user guide*, 2011.
    pub fn hull_equal_error_rate(&self) -> f64 {
        let corners = self.sweep.hull().into_iter();
        let corners: Vec<Step> = corners.map(|step| self.counts()[step]).collect();
        self.crossing(&corners)
    }

    /// Where the line through neighbouring ones of these steps crosses FAR = FRR.
    fn crossing(&self, steps: &[Step]) -> f64 {
        let crossed = steps.partition_point(|step| self.excess_of_rejects(step) > 0);
        // The first step has FRR - FAR = 1 and the last one -1, so that both neighbours exist.
        let [from, to] = [&steps[crossed - 1], &steps[crossed]];
        let before = self.excess_of_rejects(from) as f64;
        let after = self.excess_of_rejects(to) as f64;
        let share = before / (before - after);
        let [from, to] = [from, to].map(|step| step.negatives as f64 / self.impostors as f64);
        from + share * (to - from)
    }

    /// The mean of FAR and FRR at the first threshold, from the strictest one on, where they differ least.
    pub fn equal_error_rate_argmin(&self) -> f64 {
        let step = self.step_of_least_difference();
        let rejected = self.genuine() - self.counts()[step].positives;
        let false_reject_rate = rejected as f64 / self.genuine() as f64;
        (self.point(step).false_accept_rate + false_reject_rate) / 2.0
    }

    /// The point that [`equal_error_rate_argmin`](Self::equal_error_rate_argmin) is taken at: a threshold at which both
    /// errors are about as frequent.
    pub fn equal_error_point(&self) -> RocPoint {
        self.point(self.step_of_least_difference())
    }

    fn step_of_least_difference(&self) -> usize {
        let counts = self.counts();
        let difference = |step: usize| self.excess_of_rejects(&counts[step]).unsigned_abs();
        let crossed = counts.partition_point(|step| self.excess_of_rejects(step) > 0);
        // The difference falls up to the crossing and grows after it, from every step to the next.
        if difference(crossed) < difference(crossed - 1) {
            crossed
        } else {
            crossed - 1
        }
    }

    /// The largest true accept rate whose false accept rate does not exceed `far`.
    ///
    /// ```text
    /// TAR@FAR(f) = max { TAR(t) : FAR(t) <= f }
    /// ```
    ///
    /// # Differences from the references
    ///
    /// insightface's IJB evaluation takes the point nearest to the bound, which may exceed it, and its LFW evaluation
    /// interpolates the threshold, which fails where several thresholds have one false accept rate. Nothing is
    /// interpolated here.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::Rate`] if `far` is not in 0..=1.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_center_loss::evaluation::{EvaluationError, RocCurve};
    ///
    /// # fn main() -> Result<(), EvaluationError> {
    /// let curve = RocCurve::from_groups(&[0.9, 0.7, 0.4], &[0.8, 0.3, 0.2, 0.1])?;
    /// let strict = curve.tar_at_far(0.0)?;
    /// assert_eq!((strict.tar, strict.threshold), (1.0 / 3.0, Some(0.9)));
    /// let lenient = curve.tar_at_far(0.3)?;
    /// assert_eq!((lenient.tar, lenient.achieved_far, lenient.threshold), (1.0, 0.25, Some(0.4)));
    /// assert_eq!(lenient.smallest_measurable_far, 0.25);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tar_at_far(&self, far: f64) -> Result<TarAtFar, EvaluationError> {
        check_rate("far", far)?;
        let point = self.point(self.sweep.most_positives_within(far, self.impostors()));
        Ok(TarAtFar {
            far,
            tar: point.true_accept_rate,
            achieved_far: point.false_accept_rate,
            threshold: point.threshold,
            smallest_measurable_far: 1.0 / self.impostors() as f64,
        })
    }

    /// The smallest false accept rate at which the true accept rate is at least `tar`.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::Rate`] if `tar` is not in 0..=1.
    pub fn far_at_tar(&self, tar: f64) -> Result<f64, EvaluationError> {
        check_rate("tar", tar)?;
        let step = self.sweep.first_with_positives(tar, self.genuine());
        Ok(self.point(step).false_accept_rate)
    }

    /// The best accuracy of any threshold, chosen on the pairs that it is measured on.
    ///
    /// ```text
    /// accuracy(t) = (accepted genuine pairs + rejected impostor pairs) / pairs
    /// ```
    ///
    /// This overestimates accuracy on new pairs: the threshold is chosen on the same pairs.
    /// [`lfw_accuracy`](super::lfw_accuracy) chooses the threshold on other pairs.
    pub fn best_accuracy(&self) -> BestAccuracy {
        let (mut best, mut most) = (0, 0);
        for (step, counts) in self.counts().iter().enumerate() {
            let right = counts.positives + (self.impostors() - counts.negatives);
            if right > most {
                (best, most) = (step, right);
            }
        }
        BestAccuracy {
            accuracy: most as f64 / (self.genuine() + self.impostors()) as f64,
            threshold: self.sweep.threshold(best),
        }
    }

    /// The minimum of the detection cost over all thresholds.
    ///
    /// ```text
    /// raw(t)     = miss_cost FRR(t) target_prior + false_accept_cost FAR(t) (1 - target_prior)
    /// normalized = min raw / min(miss_cost target_prior, false_accept_cost (1 - target_prior))
    /// ```
    ///
    /// # Differences from the references
    ///
    /// NIST and wespeaker report the normalized cost, SpeechBrain the raw one.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if the prior is not above 0 and below 1, or a cost is not finite and above 0.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_center_loss::evaluation::{DetectionCost, EvaluationError, RocCurve};
    ///
    /// # fn main() -> Result<(), EvaluationError> {
    /// let curve = RocCurve::from_groups(&[0.9, 0.7], &[0.8, 0.1])?;
    /// let cost = curve.min_detection_cost(&DetectionCost::new())?;
    /// // Half of the genuine pairs are rejected and no impostor is accepted.
    /// assert_eq!((cost.raw, cost.normalized, cost.threshold), (0.005, 0.5, Some(0.9)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # References
    ///
    /// NIST, *Speaker Recognition Evaluation Plan*, 2016 and later.
    pub fn min_detection_cost(
        &self,
        cost: &DetectionCost,
    ) -> Result<CostAtThreshold, EvaluationError> {
        let weights = cost.weights()?;
        let (mut best, mut raw) = (0, weights[0]);
        for step in 0..self.counts().len() {
            let here = self.raw_cost(weights, step);
            if here < raw {
                (best, raw) = (step, here);
            }
        }
        let threshold = self.sweep.threshold(best);
        Ok(CostAtThreshold::new(raw, weights, threshold))
    }

    /// The detection cost of scores that are log-likelihood ratios, at the threshold that is best for true ones, the
    /// [Bayes threshold](DetectionCost::bayes_threshold).
    ///
    /// ```text
    /// raw        = miss_cost FRR(t) target_prior + false_accept_cost FAR(t) (1 - target_prior)
    /// normalized = raw / min(miss_cost target_prior, false_accept_cost (1 - target_prior))
    /// t          = the Bayes threshold
    /// ```
    ///
    /// What it exceeds the [minimum](Self::min_detection_cost) by is lost by wrong calibration. A normalized cost above 1
    /// is worse than to decide without scores.
    ///
    /// # Errors
    ///
    /// As [`min_detection_cost`](Self::min_detection_cost).
    ///
    /// # Example
    ///
    /// ```
    /// use burn_center_loss::evaluation::{DetectionCost, EvaluationError, RocCurve};
    ///
    /// # fn main() -> Result<(), EvaluationError> {
    /// let curve = RocCurve::from_groups(&[5.0, 6.0], &[-1.0, 4.0])?;
    /// let cost = DetectionCost::new().with_target_prior(0.5);
    /// assert_eq!(cost.bayes_threshold()?, 0.0);
    /// let actual = curve.actual_detection_cost(&cost)?;
    /// assert_eq!((actual.raw, actual.normalized), (0.25, 0.5));
    /// assert_eq!(curve.min_detection_cost(&cost)?.raw, 0.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn actual_detection_cost(
        &self,
        cost: &DetectionCost,
    ) -> Result<CostAtThreshold, EvaluationError> {
        let (weights, threshold) = (cost.weights()?, cost.bayes_threshold()?);
        let raw = self.raw_cost(weights, self.sweep.step_at(threshold));
        Ok(CostAtThreshold::new(raw, weights, Some(threshold)))
    }

    /// The cost of the errors at a step, for what a share of 1 of misses and of false accepts cost.
    fn raw_cost(&self, [of_misses, of_false_accepts]: [f64; 2], step: usize) -> f64 {
        let counts = self.counts()[step];
        let rejected = (self.genuine - counts.positives) as f64 / self.genuine as f64;
        let accepted = counts.negatives as f64 / self.impostors as f64;
        of_misses * rejected + of_false_accepts * accepted
    }

    fn point(&self, step: usize) -> RocPoint {
        let counts = self.counts()[step];
        RocPoint {
            threshold: self.sweep.threshold(step),
            true_accept_rate: counts.positives as f64 / self.genuine as f64,
            false_accept_rate: counts.negatives as f64 / self.impostors as f64,
        }
    }

    fn counts(&self) -> &[Step] {
        self.sweep.as_slice()
    }

    /// The false reject rate minus the false accept rate at a step, times both numbers of pairs, without rounding. It
    /// falls from step to step.
    fn excess_of_rejects(&self, step: &Step) -> i128 {
        let rejected = (self.genuine - step.positives) as i128;
        rejected * self.impostors as i128 - step.negatives as i128 * self.genuine as i128
    }
}

/// The most pairs that one threshold decides rightly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestAccuracy {
    /// The share of pairs decided rightly.
    pub accuracy: f64,
    /// The strictest threshold that decides as many; `None` if that is to accept nothing.
    pub threshold: Option<f64>,
}

/// The best that a threshold does within a bound on the false accept rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TarAtFar {
    /// The bound that was asked for.
    pub far: f64,
    /// The largest true accept rate within it.
    pub tar: f64,
    /// The false accept rate at the threshold.
    pub achieved_far: f64,
    /// The strictest threshold with this true accept rate; `None` if only accepting nothing is within the bound.
    pub threshold: Option<f64>,
    /// `1 / impostors`. A bound below it allows no impostor at all, and says nothing about so rare an error.
    pub smallest_measurable_far: f64,
}
