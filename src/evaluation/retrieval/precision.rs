//! Precision at k.

use super::ranking::Ranking;
use crate::evaluation::error::EvaluationError;

impl Ranking {
    /// The share of the `k` nearest references that is relevant.
    ///
    /// ```text
    /// P@k = relevant references among the k nearest / k
    /// ```
    ///
    /// # Differences from the references
    ///
    /// OML divides by min(k, R) where R references are relevant, so that a query with few of them can reach 1.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::K`] where `k` is 0 or larger than the number of references.
    pub fn precision_at(&self, k: usize) -> Result<f64, EvaluationError> {
        self.check_depth(k)?;
        Ok(precision(self.relevant_ranks(), k))
    }
}

/// Precision at `k` of ascending ranks, of which all up to `k` are given.
pub(super) fn precision(ranks: &[usize], k: usize) -> f64 {
    ranks.partition_point(|rank| *rank <= k) as f64 / k as f64
}
