//! Where the relevant references of one query stand among all of its references.

use crate::evaluation::error::EvaluationError;
use alloc::vec::Vec;

/// The ranks of one query's relevant references, those with its label, among all references that it is compared with.
///
/// Every metric of retrieval is a function of these ranks. A query that has no relevant reference has none of them.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, Ranking};
///
/// # fn main() -> Result<(), EvaluationError> {
/// // The first, third and fourth nearest of five references have the query's label.
/// let ranking = Ranking::from_hits(&[true, false, true, true, false])?;
/// assert_eq!(ranking.precision_at(2)?, 1.0 / 2.0);
/// assert_eq!(ranking.recall_at(2)?, 1.0);
/// assert_eq!(ranking.r_precision(), 2.0 / 3.0);
/// assert_eq!(ranking.map_at_r(), (1.0 + 2.0 / 3.0) / 3.0);
/// assert_eq!(ranking.average_precision(), (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0);
/// assert_eq!(ranking.reciprocal_rank(), 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    relevant_ranks: Vec<usize>,
    references: usize,
}

impl Ranking {
    /// Takes the ranks of the relevant references, the nearest first and 1 for the nearest of all, and the number of all
    /// references.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where there are no relevant references, or their ranks do not ascend within 1..=references.
    pub fn new(relevant_ranks: Vec<usize>, references: usize) -> Result<Self, EvaluationError> {
        if relevant_ranks.is_empty() {
            return Err(EvaluationError::Empty {
                name: "relevant_ranks",
            });
        }
        let mut before = 0;
        for (index, &rank) in relevant_ranks.iter().enumerate() {
            if rank <= before || rank > references {
                return Err(EvaluationError::Ranks {
                    index,
                    rank,
                    references,
                });
            }
            before = rank;
        }
        Ok(Self {
            relevant_ranks,
            references,
        })
    }

    /// Takes, for each reference from the nearest to the farthest, whether it is relevant.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::Empty`] where none is.
    pub fn from_hits(hits: &[bool]) -> Result<Self, EvaluationError> {
        let ranks = (1..).zip(hits).filter(|(_, hit)| **hit);
        Self::new(ranks.map(|(rank, _)| rank).collect(), hits.len())
    }

    /// The ranks of the relevant references in ascending order.
    pub fn relevant_ranks(&self) -> &[usize] {
        &self.relevant_ranks
    }

    /// The number of all references.
    pub fn references(&self) -> usize {
        self.references
    }

    pub(super) fn check_depth(&self, k: usize) -> Result<(), EvaluationError> {
        check_depth(k, self.references)
    }
}

/// Refuses a depth that is no rank of a reference.
pub(super) fn check_depth(k: usize, references: usize) -> Result<(), EvaluationError> {
    if (1..=references).contains(&k) {
        return Ok(());
    }
    Err(EvaluationError::K { k, references })
}
