//! Average precision over all ranks.

use super::map_at_r::sum_of_precisions;
use super::ranking::Ranking;

impl Ranking {
    /// The mean of the precisions at all relevant references; its mean over queries is mAP.
    ///
    /// ```text
    /// AP = 1 / R * sum over all ranks i of P@i * relevant(i)
    /// ```
    ///
    /// # Differences from the references
    ///
    /// pytorch-metric-learning's `mean_average_precision` takes the sum over the neighbors that it was given and still
    /// divides by R; OML and torchmetrics divide a truncated sum by the relevant references found. Here all ranks are
    /// summed, always. In code for re-identification AP is this number too.
    pub fn average_precision(&self) -> f64 {
        average_precision(self.relevant_ranks())
    }
}

/// Average precision of all ranks.
pub(super) fn average_precision(ranks: &[usize]) -> f64 {
    sum_of_precisions(ranks) / ranks.len() as f64
}
