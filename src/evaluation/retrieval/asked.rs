//! The values of one query from the ranks of its relevant references.

use super::average_precision::average_precision;
use super::map_at_r::map_at_r;
use super::precision::precision;
use super::recall::recall;
use super::reciprocal_rank::reciprocal_rank;
use super::report::QueryRetrieval;

/// What is computed for each query.
pub(super) struct Asked<'a> {
    pub(super) ks: &'a [usize],
    pub(super) average_precision: bool,
}

impl Asked<'_> {
    /// The depths at which a query with this many relevant references is cut.
    pub(super) fn cuts(&self, relevant: usize) -> impl Iterator<Item = usize> {
        self.ks.iter().copied().chain([relevant])
    }

    /// Whether one of the runs of equally far references, given by first and last rank, stands on both sides of a cut.
    pub(super) fn is_cut(&self, relevant: usize, runs: &[[usize; 2]]) -> bool {
        self.cuts(relevant).any(|cut| {
            runs.iter()
                .any(|[first, last]| *first <= cut && cut < *last)
        })
    }

    /// The values of a query with this many relevant references.
    ///
    /// `ranks` are the ranks of relevant references in ascending order: all of them where average precision is asked
    /// for, else all up to the deepest cut at least.
    pub(super) fn values(
        &self,
        ranks: &[usize],
        relevant: usize,
        tie_at_cut: bool,
    ) -> QueryRetrieval {
        let complete = self.average_precision.then_some(ranks);
        QueryRetrieval {
            relevant,
            precision_at: self.ks.iter().map(|k| precision(ranks, *k)).collect(),
            recall_at: self.ks.iter().map(|k| recall(ranks, *k)).collect(),
            r_precision: precision(ranks, relevant),
            map_at_r: map_at_r(ranks, relevant),
            average_precision: complete.map(average_precision),
            reciprocal_rank: complete.map(reciprocal_rank),
            tie_at_cut,
        }
    }
}
