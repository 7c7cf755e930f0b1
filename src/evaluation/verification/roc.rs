//! The receiver operating characteristic: how many pairs are accepted at every threshold.

use crate::evaluation::error::EvaluationError;
use crate::evaluation::scores::{read_scores, split_scores};
use crate::evaluation::steps::{Step, Steps};
use alloc::vec::Vec;

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
    steps: Steps,
    genuine: usize,
    impostors: usize,
}

/// Rates at one threshold of a [`RocCurve`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// The least score that is accepted; `None` where nothing is accepted.
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
    /// [`EvaluationError`] where there are no scores, one is NaN, the lengths differ, or `same` is true throughout or
    /// false throughout.
    pub fn new<S: Copy + Into<f64>>(scores: &[S], same: &[bool]) -> Result<Self, EvaluationError> {
        let [genuine, impostors] = split_scores(scores, "same", same)?;
        Ok(Self::of_groups(genuine, impostors))
    }

    /// The curve of genuine and impostor scores that are already apart.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where either is empty or holds NaN.
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
            steps: Steps::new(genuine, impostors),
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
        (0..self.steps.as_slice().len()).map(|step| self.point(step))
    }

    pub(crate) fn point(&self, step: usize) -> RocPoint {
        let counts = self.counts()[step];
        RocPoint {
            threshold: self.steps.threshold(step),
            true_accept_rate: counts.positives as f64 / self.genuine as f64,
            false_accept_rate: counts.negatives as f64 / self.impostors as f64,
        }
    }

    pub(crate) fn counts(&self) -> &[Step] {
        self.steps.as_slice()
    }

    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// The false reject rate minus the false accept rate at a step, times both numbers of pairs, without rounding. It
    /// falls from step to step.
    pub(crate) fn excess_of_rejects(&self, step: &Step) -> i128 {
        let rejected = (self.genuine - step.positives) as i128;
        rejected * self.impostors as i128 - step.negatives as i128 * self.genuine as i128
    }
}
