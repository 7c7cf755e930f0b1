//! Reciprocal rank.

use super::ranking::Ranking;

impl Ranking {
    /// One over the rank of the nearest relevant reference; its mean over queries is the mean reciprocal rank (MRR).
    pub fn reciprocal_rank(&self) -> f64 {
        reciprocal_rank(self.relevant_ranks())
    }
}

/// Reciprocal rank of all ranks in ascending order.
pub(super) fn reciprocal_rank(ranks: &[usize]) -> f64 {
    1.0 / ranks[0] as f64
}
