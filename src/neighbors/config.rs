//! Configuration of a k-NN classifier.

use super::error::KnnError;
use super::metric::KnnMetric;
use super::search::DEFAULT_MAX_PAIRS;
use super::vote::KnnVotes;
use burn::config::Config;

/// Configuration to create a [`KnnClassifier`](crate::KnnClassifier) using the
/// [fit function](KnnClassifierConfig::fit).
#[derive(Config, Debug, PartialEq)]
pub struct KnnClassifierConfig {
    /// The number of neighbors, from 1 to the number of references.
    pub k: usize,
    /// What "near" means. Default: `Euclidean`.
    #[config(default = "KnnMetric::Euclidean")]
    pub metric: KnnMetric,
    /// The weight of each neighbor's vote. Default: `Uniform`.
    #[config(default = "KnnVotes::Uniform")]
    pub votes: KnnVotes,
    /// Bounds the memory of a query: the most pairs of query and reference that a device, or each thread of the
    /// processor, multiplies at one time (4 bytes each), rounded up to whole blocks of at most 256 references. It
    /// changes no answer. Default: `1048576`.
    #[config(default = "DEFAULT_MAX_PAIRS")]
    pub max_pairs: usize,
}

impl KnnClassifierConfig {
    /// Checks what does not depend on the references.
    pub(crate) fn check(&self) -> Result<(), KnnError> {
        if self.max_pairs == 0 {
            return Err(KnnError::MaxPairs);
        }
        if self.metric == KnnMetric::InnerProduct && self.votes == KnnVotes::InverseDistance {
            return Err(KnnError::InverseInnerProduct);
        }
        Ok(())
    }

    /// Checks that so many references have `k` nearest.
    pub(crate) fn check_k(&self, references: usize) -> Result<(), KnnError> {
        if (1..=references).contains(&self.k) {
            Ok(())
        } else {
            Err(KnnError::K {
                k: self.k,
                references,
            })
        }
    }
}
