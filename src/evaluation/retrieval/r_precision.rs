//! R-precision.

use super::precision::precision;
use super::ranking::Ranking;

impl Ranking {
    /// Precision at R, the number of relevant references.
    ///
    /// ```text
    /// R-precision = relevant references among the R nearest / R
    /// ```
    ///
    /// # Differences from the references
    ///
    /// pytorch-metric-learning divides by the number of neighbors that it was given where that is below R.
    pub fn r_precision(&self) -> f64 {
        precision(self.relevant_ranks(), self.relevant_ranks().len())
    }
}
