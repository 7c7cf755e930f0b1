use serde::{Deserialize, Serialize};

/// The divisor of the sum of the differences between the samples of class `j` and their center.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalization {
    /// `1 + n_j`: a class that is seen once moves by half of alpha, so that single samples do not tear their
    /// center about.
    Paper,
    /// `n_j`: alpha is the part of the way to the mean of the batch's samples that a center goes.
    Mean,
    /// 1: every sample counts with its full weight. Above `alpha * n_j = 2` the centers swing further at every
    /// step.
    Sum,
}

impl Normalization {
    /// The divisor for a class of total weight `n`.
    #[cfg(feature = "flex")]
    pub(crate) fn divisor(self, n: f64) -> f64 {
        match self {
            Self::Paper => 1.0 + n,
            Self::Mean => n,
            Self::Sum => 1.0,
        }
    }
}
