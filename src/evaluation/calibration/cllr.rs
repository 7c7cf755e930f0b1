//! The cost of log-likelihood ratios.

use super::isotonic::IsotonicCalibration;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::input::read_pairs;
use std::f64::consts::LN_2;

/// The cost of log-likelihood ratios, Cllr, in bits.
///
/// ```text
/// Cllr = (mean over genuine pairs of softplus(-llr) + mean over impostor pairs of softplus(llr)) / (2 ln 2)
/// softplus(v) = ln(1 + exp(v))
/// ```
///
/// `llrs` are natural logarithms of likelihood ratios, positive for genuine pairs. Cllr is 0 for perfect ratios and 1 for
/// ratios that say nothing, `llr = 0`. It counts both the power to tell pairs apart and the calibration;
/// [`min_cllr`] counts the first alone, and the difference is what calibration can gain.
///
/// Ratios may be infinite. One on the wrong side makes Cllr infinite.
///
/// # Differences from the references
///
/// wespeaker computes `log1p(exp(-llr))`, which overflows at 710. No finite ratio overflows here.
///
/// # Errors
///
/// [`EvaluationError`] if there are no pairs, a ratio is NaN, the lengths differ, or `same` is true throughout or false
/// throughout.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, cllr, min_cllr};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let same = [true, true, false, false];
/// assert_eq!(cllr(&[0.0; 4], &same)?, 1.0);
/// // Cosines are in the right order, but are no log-likelihood ratios.
/// let cosines = [0.9, 0.7, 0.4, -0.1];
/// assert!(cllr(&cosines, &same)? > 0.7);
/// assert_eq!(min_cllr(&cosines, &same)?, 0.0);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// N. Brümmer, J. du Preez, *Application-independent evaluation of speaker detection*, Computer Speech & Language, 2006.
pub fn cllr<S: Copy + Into<f64>>(llrs: &[S], same: &[bool]) -> Result<f64, EvaluationError> {
    let [genuine, impostors] = read_pairs("llrs", llrs, same)?;
    let mean = |llrs: &[f64], sign: f64| {
        let costs = llrs.iter().map(|llr| softplus(sign * llr));
        costs.sum::<f64>() / llrs.len() as f64
    };
    Ok((mean(&genuine, -1.0) + mean(&impostors, 1.0)) / (2.0 * LN_2))
}

/// The least [`cllr`] of any calibration that keeps the order of the scores: that of the
/// [isotonic calibration](IsotonicCalibration) fitted to these pairs.
///
/// It is never above [`cllr`] of the scores themselves, and never above 1. The isotonic calibration gives equal ratios
/// to scores that differ, so that [`RocCurve::auc`](crate::evaluation::RocCurve::auc) of them may be another.
///
/// # Errors
///
/// As [`cllr`].
pub fn min_cllr<S: Copy + Into<f64>>(scores: &[S], same: &[bool]) -> Result<f64, EvaluationError> {
    let calibration = IsotonicCalibration::fit(scores, same)?;
    let blocks = calibration.blocks();
    let count = |of: fn(&_) -> usize| blocks.iter().map(of).sum::<usize>() as f64;
    let (genuine, impostors) = (count(|block| block.genuine), count(|block| block.impostors));
    // A block without a kind has an infinite ratio on this kind's wrong side, where no pair pays for it.
    let cost = |pairs: usize, of: f64, llr: f64| match pairs {
        0 => 0.0,
        pairs => pairs as f64 / of * softplus(llr),
    };
    let costs = blocks.iter().map(|block| {
        cost(block.genuine, genuine, -block.llr) + cost(block.impostors, impostors, block.llr)
    });
    Ok(costs.sum::<f64>() / (2.0 * LN_2))
}

/// `ln(1 + exp(v))` without overflow.
pub(super) fn softplus(value: f64) -> f64 {
    value.max(0.0) + (-value.abs()).exp().ln_1p()
}
