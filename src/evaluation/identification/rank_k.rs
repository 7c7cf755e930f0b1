//! How often the mate is among the first k.

use super::probes::Identification;
use crate::evaluation::error::EvaluationError;

impl Identification {
    /// The share of mated probes whose mate is ranked among the first `k`, whatever its score.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where there are no mated probes or `k` is 0.
    pub fn rank_k(&self, k: usize) -> Result<f64, EvaluationError> {
        if k == 0 {
            return Err(EvaluationError::KZero);
        }
        let mated = self.mated();
        if mated.is_empty() {
            return Err(EvaluationError::Empty { name: "mated" });
        }
        let found = mated.iter().filter(|probe| probe.rank <= k).count();
        Ok(found as f64 / mated.len() as f64)
    }
}
