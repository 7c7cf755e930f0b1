//! How probes rank the identities of a gallery.

use crate::evaluation::error::EvaluationError;
use crate::evaluation::scores::read_scores;
use alloc::vec::Vec;

/// A probe whose identity is in the gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatedProbe {
    /// The score of its mate: of the gallery's entries with its identity, the one that is ranked first.
    pub score: f64,
    /// The mate's rank among all entries of the gallery, 1 for the first.
    pub rank: usize,
}

/// Search results of probes whose identity is in a gallery (mated) and of probes whose identity is not (non-mated).
///
/// A larger score means more alike. The gallery's entries are ranked by score; of equal scores the entry with the lowest
/// index comes first.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, Identification, MatedProbe};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let mated = [
///     MatedProbe { score: 0.9, rank: 1 },
///     MatedProbe { score: 0.6, rank: 1 },
///     MatedProbe { score: 0.8, rank: 3 },
/// ];
/// // The highest score that each non-mated probe reaches with any entry of the gallery.
/// let non_mated = [0.7, 0.2];
/// let result = Identification::new(&mated, &non_mated)?;
/// assert_eq!(result.rank_k(1)?, 2.0 / 3.0);
/// assert_eq!(result.tpir_at_fpir(0.0)?.tpir, 1.0 / 3.0);
/// assert_eq!(result.tpir_at_fpir(0.5)?.tpir, 2.0 / 3.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Identification {
    mated: Vec<MatedProbe>,
    non_mated: Vec<f64>,
}

impl Identification {
    /// Takes the mated probes, and for each non-mated probe the highest score that it reaches in the gallery.
    ///
    /// Either may be empty; the metrics that need it say so.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where a score is NaN or a rank is 0.
    pub fn new<S: Copy + Into<f64>>(
        mated: &[MatedProbe],
        non_mated: &[S],
    ) -> Result<Self, EvaluationError> {
        for (index, probe) in mated.iter().enumerate() {
            if probe.score.is_nan() {
                return Err(EvaluationError::NotANumber {
                    name: "mated",
                    index,
                });
            }
            if probe.rank == 0 {
                return Err(EvaluationError::RankZero {
                    name: "mated",
                    index,
                });
            }
        }
        Ok(Self {
            mated: mated.to_vec(),
            non_mated: if non_mated.is_empty() {
                Vec::new()
            } else {
                read_scores("non_mated", non_mated)?
            },
        })
    }

    /// The mated probes.
    pub fn mated(&self) -> &[MatedProbe] {
        &self.mated
    }

    /// The highest score of each non-mated probe.
    pub fn non_mated(&self) -> &[f64] {
        &self.non_mated
    }
}
