//! Mean average precision at R.

use super::ranking::Ranking;

impl Ranking {
    /// The precisions at the relevant references among the R nearest, summed and divided by R, the number of relevant
    /// references.
    ///
    /// ```text
    /// MAP@R = 1 / R * sum over ranks i <= R of P@i * relevant(i)
    /// ```
    ///
    /// # References
    ///
    /// K. Musgrave, S. Belongie, S.-N. Lim, *A metric learning reality check*, ECCV, 2020.
    pub fn map_at_r(&self) -> f64 {
        map_at_r(self.relevant_ranks(), self.relevant_ranks().len())
    }
}

/// MAP@R of ascending ranks, of which all up to `relevant`, the number R of relevant references, are given.
pub(super) fn map_at_r(ranks: &[usize], relevant: usize) -> f64 {
    let within = ranks.partition_point(|rank| *rank <= relevant);
    sum_of_precisions(&ranks[..within]) / relevant as f64
}

/// The precision at each of the first ranks, summed.
pub(super) fn sum_of_precisions(ranks: &[usize]) -> f64 {
    (1..)
        .zip(ranks)
        .map(|(hits, rank): (usize, _)| hits as f64 / *rank as f64)
        .sum()
}
