//! The smallest expected cost of wrong decisions.

use super::roc::RocCurve;
use crate::evaluation::error::EvaluationError;
use burn::config::Config;

/// What wrong decisions cost, and how often a pair is genuine where the system will be used.
#[derive(Config, Copy, Debug, PartialEq)]
pub struct DetectionCost {
    /// The share of genuine pairs in use, above 0 and below 1. Default: `0.01`.
    #[config(default = 0.01)]
    pub target_prior: f64,
    /// What rejecting a genuine pair costs, above 0. Default: `1`.
    #[config(default = 1.0)]
    pub miss_cost: f64,
    /// What accepting an impostor pair costs, above 0. Default: `1`.
    #[config(default = 1.0)]
    pub false_accept_cost: f64,
}

/// The smallest detection cost of any threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinDetectionCost {
    /// The expected cost of a decision.
    pub raw: f64,
    /// The cost divided by that of the better of accepting everything and accepting nothing: 1 is of no use.
    pub normalized: f64,
    /// The strictest threshold with this cost; `None` where that is to accept nothing.
    pub threshold: Option<f64>,
}

impl RocCurve {
    /// The minimum of the detection cost over all thresholds.
    ///
    /// ```text
    /// raw(t)     = miss_cost FRR(t) target_prior + false_accept_cost FAR(t) (1 - target_prior)
    /// normalized = min raw / min(miss_cost target_prior, false_accept_cost (1 - target_prior))
    /// ```
    ///
    /// # Differences from the references
    ///
    /// NIST and wespeaker report the normalized cost, SpeechBrain the raw one.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where the prior is not above 0 and below 1, or a cost is not finite and above 0.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_center_loss::evaluation::{DetectionCost, EvaluationError, RocCurve};
    ///
    /// # fn main() -> Result<(), EvaluationError> {
    /// let curve = RocCurve::from_groups(&[0.9, 0.7], &[0.8, 0.1])?;
    /// let cost = curve.min_detection_cost(&DetectionCost::new())?;
    /// // Half of the genuine pairs are rejected and no impostor is accepted.
    /// assert_eq!((cost.raw, cost.normalized, cost.threshold), (0.005, 0.5, Some(0.9)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # References
    ///
    /// NIST, *Speaker Recognition Evaluation Plan*, 2016 and later.
    pub fn min_detection_cost(
        &self,
        cost: &DetectionCost,
    ) -> Result<MinDetectionCost, EvaluationError> {
        let value = cost.target_prior;
        if !(0.0 < value && value < 1.0) {
            return Err(EvaluationError::Prior { value });
        }
        for (name, value) in [
            ("miss_cost", cost.miss_cost),
            ("false_accept_cost", cost.false_accept_cost),
        ] {
            if !(0.0 < value && value < f64::INFINITY) {
                return Err(EvaluationError::Cost { name, value });
            }
        }
        let of_misses = cost.miss_cost * cost.target_prior;
        let of_false_accepts = cost.false_accept_cost * (1.0 - cost.target_prior);
        let (mut best, mut raw) = (0, of_misses);
        for (step, counts) in self.counts().iter().enumerate() {
            let rejected = (self.genuine() - counts.positives) as f64 / self.genuine() as f64;
            let accepted = counts.negatives as f64 / self.impostors() as f64;
            let here = of_misses * rejected + of_false_accepts * accepted;
            if here < raw {
                (best, raw) = (step, here);
            }
        }
        Ok(MinDetectionCost {
            raw,
            normalized: raw / of_misses.min(of_false_accepts),
            threshold: self.steps().threshold(best),
        })
    }
}
