//! Recall at k, as the literature on metric learning uses the word.

use super::ranking::Ranking;
use crate::evaluation::error::EvaluationError;

impl Ranking {
    /// 1 if any of the `k` nearest references is relevant, else 0. Its mean over queries is also called hit rate, top-k
    /// accuracy of retrieval, and cumulative matching characteristic (CMC).
    ///
    /// # Differences from the references
    ///
    /// torchmetrics' recall is the share of the relevant references that are among the k nearest.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::K`] where `k` is 0 or larger than the number of references.
    ///
    /// # References
    ///
    /// H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese, *Deep metric learning via lifted structured feature embedding*,
    /// CVPR, 2016.
    pub fn recall_at(&self, k: usize) -> Result<f64, EvaluationError> {
        self.check_depth(k)?;
        Ok(recall(self.relevant_ranks(), k))
    }
}

/// Recall at `k` of ascending ranks, of which all up to `k` are given.
pub(super) fn recall(ranks: &[usize], k: usize) -> f64 {
    match ranks.first() {
        Some(first) if *first <= k => 1.0,
        _ => 0.0,
    }
}
