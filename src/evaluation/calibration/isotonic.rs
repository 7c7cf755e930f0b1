//! Calibration by the best monotone function of the score.

use crate::evaluation::error::EvaluationError;
use crate::evaluation::input::{read_pairs, read_scores};
use crate::evaluation::sweep::ThresholdSweep;

/// Isotonic calibration: the log-likelihood ratio is the best monotone function of the score.
///
/// ```text
/// start     one block for each distinct score
/// pool      neighbouring blocks, until the share of genuine pairs rises strictly from block to block
/// llr       ln(genuine / impostors) - ln(n / m)
/// posterior genuine / n / (genuine / n + impostors / m)        at the prior 1/2
/// ```
///
/// n and m are the numbers of all genuine and impostor pairs. This is the pool adjacent violators algorithm (PAV).
/// Between the ends of neighbouring blocks the posterior of a new score is linear; below the first block and above the
/// last one it is constant. The blocks at both ends often hold pairs of one kind alone and have infinite ratios; take
/// [`LogisticCalibration`](super::LogisticCalibration) where few pairs are at hand.
///
/// # Differences from the references
///
/// Posteriors are those of scikit-learn's `IsotonicRegression` with `out_of_bounds="clip"`, both kinds weighted alike.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, IsotonicCalibration};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let scores = [0.0, 0.5, 0.75, 1.0];
/// let calibration = IsotonicCalibration::fit(&scores, &[false, true, false, true])?;
/// // The two in the middle are in the wrong order and become one block.
/// assert_eq!(calibration.blocks().len(), 3);
/// assert_eq!(calibration.posteriors(&[-1.0, 0.6, 0.875, 2.0])?, [0.0, 0.5, 0.75, 1.0]);
/// assert_eq!(calibration.llrs(&[-1.0, 0.6])?, [f64::NEG_INFINITY, 0.0]);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// B. Zadrozny, C. Elkan, *Transforming classifier scores into accurate multiclass probability estimates*, KDD, 2002.
#[derive(Clone, Debug, PartialEq)]
pub struct IsotonicCalibration {
    blocks: Vec<PavBlock>,
}

/// Neighbouring scores with one log-likelihood ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PavBlock {
    /// The least score.
    pub low: f64,
    /// The largest score.
    pub high: f64,
    /// The number of genuine pairs.
    pub genuine: usize,
    /// The number of impostor pairs.
    pub impostors: usize,
    /// The log-likelihood ratio; infinite without pairs of one kind.
    pub llr: f64,
    /// The probability of a genuine pair where both kinds are equally frequent.
    pub posterior: f64,
}

impl IsotonicCalibration {
    /// Fits scored pairs; `same` says which pairs are genuine. Scores may be infinite. Takes O(n log n) for n pairs.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no scores, one is NaN, the lengths differ, or `same` is true throughout or false
    /// throughout.
    pub fn fit<S: Copy + Into<f64>>(scores: &[S], same: &[bool]) -> Result<Self, EvaluationError> {
        let [genuine, impostors] = read_pairs("scores", scores, same)?;
        let totals = [genuine.len() as f64, impostors.len() as f64];
        let sweep = ThresholdSweep::new(genuine, impostors);
        let score = |step| sweep.threshold(step).expect("step 0 is no end of a block");
        let block = |corners: &[usize]| {
            let [before, last] = [corners[0], corners[1]].map(|step| sweep.as_slice()[step]);
            let genuine = last.positives - before.positives;
            let impostors = last.negatives - before.negatives;
            // Both products are exact for fewer than 2^26 pairs of each kind, and equal shares give exactly 0.
            let shares = [genuine as f64 * totals[1], impostors as f64 * totals[0]];
            PavBlock {
                low: score(corners[1]),
                high: score(corners[0] + 1),
                genuine,
                impostors,
                llr: (shares[0] / shares[1]).ln(),
                posterior: shares[0] / (shares[0] + shares[1]),
            }
        };
        let blocks = sweep.hull().windows(2).map(block).rev().collect();
        Ok(Self { blocks })
    }

    /// The blocks in ascending order of their scores.
    pub fn blocks(&self) -> &[PavBlock] {
        &self.blocks
    }

    /// The probability that each pair is genuine where both kinds are equally frequent.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no scores or one is NaN.
    pub fn posteriors<S: Copy + Into<f64>>(
        &self,
        scores: &[S],
    ) -> Result<Vec<f64>, EvaluationError> {
        let mut values = read_scores("scores", scores)?;
        values
            .iter_mut()
            .for_each(|value| *value = self.posterior(*value));
        Ok(values)
    }

    /// The log-likelihood ratio of each score, `ln(p / (1 - p))` of its [posterior](Self::posteriors) p.
    ///
    /// # Errors
    ///
    /// As [`posteriors`](Self::posteriors).
    pub fn llrs<S: Copy + Into<f64>>(&self, scores: &[S]) -> Result<Vec<f64>, EvaluationError> {
        let mut values = self.posteriors(scores)?;
        values
            .iter_mut()
            .for_each(|value| *value = (*value / (1.0 - *value)).ln());
        Ok(values)
    }

    fn posterior(&self, score: f64) -> f64 {
        let above = self.blocks.partition_point(|block| block.low <= score);
        let Some(block) = above.checked_sub(1).map(|at| &self.blocks[at]) else {
            return self.blocks[0].posterior;
        };
        let Some(next) = self.blocks.get(above).filter(|_| score > block.high) else {
            return block.posterior;
        };
        // Halves, whose difference does not overflow. Between two infinite ends no score is nearer to either.
        let from_block = score / 2.0 - block.high / 2.0;
        let to_next = next.low / 2.0 - score / 2.0;
        let share = 1.0 / (1.0 + to_next / from_block);
        let share = if share.is_nan() { 0.5 } else { share };
        block.posterior + share * (next.posterior - block.posterior)
    }
}
