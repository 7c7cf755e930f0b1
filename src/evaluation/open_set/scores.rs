//! Scores of samples of known and of unknown classes.

use crate::evaluation::error::EvaluationError;
use crate::evaluation::scores::{check_lengths, check_rate, read_scores};
use crate::evaluation::steps::Steps;
use crate::evaluation::verification::RocCurve;
use alloc::vec::Vec;

/// How well scores tell samples of known classes from samples of unknown ones.
///
/// A larger score means more surely known; a sample is accepted as known if its score is at least the threshold. Samples
/// with equal scores are accepted together. A known sample is correct if the classifier gives it its own class.
///
/// # Differences from the references
///
/// Which samples count as positive decides the average precision and the rate at 95 % and is often left unsaid: OpenOOD
/// uses both choices in one file. Here the names say it.
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
    correct: Steps,
}

impl OpenSet {
    /// Takes the scores of known and of unknown samples, and which of the known ones are classified correctly.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where either scores are empty or hold NaN, or `known_correct` is not one per known score.
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
            correct: Steps::new(correct, unknown.clone()),
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
    /// [`EvaluationError::Rate`] where `tpr` is not in 0..=1.
    pub fn fpr_at_tpr(&self, tpr: f64) -> Result<f64, EvaluationError> {
        check_rate("tpr", tpr)?;
        self.detection.far_at_tar(tpr)
    }

    pub(super) fn correct(&self) -> &Steps {
        &self.correct
    }
}
