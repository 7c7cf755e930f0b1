//! What wrong decisions of a verification cost.

use super::error::EvaluationError;
use super::input::check_prior;
use burn::config::Config;

/// Costs of wrong decisions, and the share of genuine pairs in use.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::DetectionCost;
///
/// // One pair in ten is genuine, and a miss costs nine times as much as a false accept.
/// let cost = DetectionCost::new().with_target_prior(0.1).with_miss_cost(9.0);
/// assert!(cost.bayes_threshold()?.abs() < 1e-12);
/// # Ok::<(), burn_center_loss::evaluation::EvaluationError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct DetectionCost {
    /// The share of genuine pairs in use, above 0 and below 1. Default: `0.01`.
    #[config(default = 0.01)]
    pub target_prior: f64,
    /// Cost of rejecting a genuine pair, above 0. Default: `1`.
    #[config(default = 1.0)]
    pub miss_cost: f64,
    /// Cost of accepting an impostor pair, above 0. Default: `1`.
    #[config(default = 1.0)]
    pub false_accept_cost: f64,
}

impl DetectionCost {
    /// The threshold for log-likelihood ratios at which accepting and rejecting cost the same.
    ///
    /// ```text
    /// t = ln(false_accept_cost (1 - target_prior) / (miss_cost target_prior))
    /// ```
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if the prior is not above 0 and below 1, or a cost is not finite and above 0.
    pub fn bayes_threshold(&self) -> Result<f64, EvaluationError> {
        let [of_misses, of_false_accepts] = self.weights()?;
        Ok((of_false_accepts / of_misses).ln())
    }

    /// The costs of missing all genuine pairs and of accepting all impostor pairs.
    pub(crate) fn weights(&self) -> Result<[f64; 2], EvaluationError> {
        check_prior(self.target_prior)?;
        for (name, value) in [
            ("miss_cost", self.miss_cost),
            ("false_accept_cost", self.false_accept_cost),
        ] {
            if !(0.0 < value && value < f64::INFINITY) {
                return Err(EvaluationError::Cost { name, value });
            }
        }
        Ok([
            self.miss_cost * self.target_prior,
            self.false_accept_cost * (1.0 - self.target_prior),
        ])
    }
}

/// A detection cost and the threshold that it is taken at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostAtThreshold {
    /// The expected cost of a decision.
    pub raw: f64,
    /// The cost divided by that of the better of accepting everything and accepting nothing: 1 is of no use.
    pub normalized: f64,
    /// The least score that is accepted; of several with this cost the strictest. `None` if that is to accept nothing.
    pub threshold: Option<f64>,
}

impl CostAtThreshold {
    /// Takes the costs of missing all genuine pairs and of accepting all impostor pairs.
    pub(crate) fn new(
        raw: f64,
        [of_misses, of_false_accepts]: [f64; 2],
        threshold: Option<f64>,
    ) -> Self {
        Self {
            raw,
            normalized: raw / of_misses.min(of_false_accepts),
            threshold,
        }
    }
}
