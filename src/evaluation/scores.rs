//! Checks of scores, labels and rates that a caller hands in as slices.

use super::error::EvaluationError;
use alloc::vec::Vec;

/// The scores as `f64`. Refuses an empty slice and NaN; infinities are ordinary scores.
pub(crate) fn read_scores<S: Copy + Into<f64>>(
    name: &'static str,
    scores: &[S],
) -> Result<Vec<f64>, EvaluationError> {
    if scores.is_empty() {
        return Err(EvaluationError::Empty { name });
    }
    let scores: Vec<f64> = scores.iter().map(|score| (*score).into()).collect();
    match scores.iter().position(|score| score.is_nan()) {
        Some(index) => Err(EvaluationError::NotANumber { name, index }),
        None => Ok(scores),
    }
}

/// Refuses two arguments of different lengths.
pub(crate) fn check_lengths(
    name: &'static str,
    length: usize,
    other: &'static str,
    other_length: usize,
) -> Result<(), EvaluationError> {
    if length == other_length {
        return Ok(());
    }
    Err(EvaluationError::Lengths {
        name,
        length,
        other,
        other_length,
    })
}

/// Refuses a rate outside of 0..=1, and NaN.
pub(crate) fn check_rate(name: &'static str, value: f64) -> Result<(), EvaluationError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(EvaluationError::Rate { name, value })
}

/// Splits scores into those marked true and those marked false, and refuses input without both.
pub(crate) fn split_scores<S: Copy + Into<f64>>(
    scores: &[S],
    name: &'static str,
    marks: &[bool],
) -> Result<[Vec<f64>; 2], EvaluationError> {
    let scores = read_scores("scores", scores)?;
    check_lengths("scores", scores.len(), name, marks.len())?;
    let genuine = marks.iter().filter(|mark| **mark).count();
    let impostors = marks.len() - genuine;
    if genuine == 0 || impostors == 0 {
        return Err(EvaluationError::OneKind {
            name,
            genuine,
            impostors,
        });
    }
    let mut split = [Vec::with_capacity(genuine), Vec::with_capacity(impostors)];
    for (score, mark) in scores.into_iter().zip(marks) {
        split[usize::from(!mark)].push(score);
    }
    Ok(split)
}
