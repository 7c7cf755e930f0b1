use burn::config::Config;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::batch::class_totals;
use crate::centers::Normalization;
use crate::distance::no_zero;
use crate::error::{SettingError, not_negative};
use crate::schedule::Schedule;

/// The update rule of the centers: how they follow the features.
///
/// A direct rule moves center `j` by
///
/// ```text
/// c_j += alpha * sum_{i: y_i = j} w_i p_i / divisor
/// ```
///
/// `w_i` is the weight of the sample, 1 without weights. `p_i` is the difference `x_i - c_j`, shortened by the radius
/// if there is one. `n_j` is the sum of the weights of class `j` in the batch, which is its histogram.
///
/// | constructor | divisor | source |
/// |---|---|---|
/// | [`paper`](Self::paper) | `1 + n_j` | Wen et al., ECCV 2016 |
/// | [`mean`](Self::mean) | `n_j` | Wen et al., IJCV 2019 |
/// | [`sum`](Self::sum) | 1 | facenet |
///
/// Lambda, the reduction, the class balance and the class weights do not change how fast the centers move. A class
/// that is absent from the batch keeps its center bit by bit, whatever optimizer the model has.
///
/// # Which rule
///
/// | you want | choose |
/// |---|---|
/// | the method of the paper; classes of very different counts per batch | [`paper`](Self::paper), the default |
/// | alpha to be the part of the way to the class mean of the batch | [`mean`](Self::mean) |
/// | numbers that compare with facenet | [`sum`](Self::sum) |
/// | numbers that compare with a PyTorch or MXNet port | [`Gradient`](Self::Gradient) |
/// | fixed centers, such as means from [`init_from_data`](crate::CenterLoss::init_from_data) | [`Frozen`](Self::Frozen) |
///
/// # Example
///
/// ```
/// use burn_center_loss::{CenterLossConfig, UpdateRule, UpdateTiming};
///
/// let paper = CenterLossConfig::new(10, 2);
/// assert_eq!(paper.update_rule, UpdateRule::paper().with_alpha(0.5));
/// let mean = UpdateRule::mean().with_alpha(0.3).with_timing(UpdateTiming::OnStep);
/// assert_eq!(paper.with_update_rule(mean.clone()).update_rule, mean);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum UpdateRule {
    /// The loss moves the centers itself, in `forward`.
    Direct(DirectRule),
    /// The centers are an ordinary trainable parameter.
    ///
    /// They get a rate of their own from
    /// [`CenterLoss::centers_param_group`](crate::CenterLoss::centers_param_group). A center whose class is absent
    /// has a zero gradient. That keeps it in place under plain SGD only: momentum, weight decay and Adam's moments
    /// move it all the same.
    Gradient,
    /// The centers never move.
    Frozen,
}

impl Default for UpdateRule {
    fn default() -> Self {
        Self::paper()
    }
}

impl UpdateRule {
    /// The rule of the paper, Wen et al., ECCV 2016, with alpha 0.5.
    pub fn paper() -> Self {
        Self::Direct(DirectRule::new(Normalization::Paper))
    }

    /// The rule of the paper's successor, Wen et al., IJCV 2019, with alpha 0.5.
    pub fn mean() -> Self {
        Self::Direct(DirectRule::new(Normalization::Mean))
    }

    /// The rule of facenet, with alpha 0.5 for its `1 - alpha`.
    pub fn sum() -> Self {
        Self::Direct(DirectRule::new(Normalization::Sum))
    }

    /// The same rule with another rate of the centers.
    ///
    /// # Panics
    ///
    /// If the rule is not direct.
    pub fn with_alpha(self, alpha: f64) -> Self {
        Self::Direct(self.direct("alpha").with_alpha(alpha))
    }

    /// The same rule with another schedule of alpha.
    ///
    /// # Panics
    ///
    /// If the rule is not direct.
    pub fn with_alpha_schedule(self, schedule: Schedule) -> Self {
        Self::Direct(
            self.direct("a schedule of alpha")
                .with_alpha_schedule(schedule),
        )
    }

    /// The same rule at another time.
    ///
    /// # Panics
    ///
    /// If the rule is not direct.
    pub fn with_timing(self, timing: UpdateTiming) -> Self {
        Self::Direct(self.direct("a timing").with_timing(timing))
    }

    fn direct(self, name: &str) -> DirectRule {
        match self {
            Self::Direct(rule) => rule,
            rule => panic!("update_rule is {rule:?}: only direct rules have {name}"),
        }
    }
}

/// An update rule without an optimizer: the loss moves the centers itself, in `forward`. [`UpdateRule`] has the formula.
#[derive(Config, Debug, PartialEq)]
pub struct DirectRule {
    /// The divisor of the sum of the differences.
    pub normalization: Normalization,
    /// The rate of the centers; finite and not negative. Default: 0.5.
    #[config(default = 0.5)]
    pub alpha: f64,
    /// The change of alpha over the training steps. Default: [`Schedule::Constant`].
    #[config(default = "Schedule::Constant")]
    pub alpha_schedule: Schedule,
    /// The time when the centers move. Default: [`UpdateTiming::Immediate`].
    #[config(default = "UpdateTiming::Immediate")]
    pub timing: UpdateTiming,
}

/// The time when a direct rule moves the centers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateTiming {
    /// In `forward`: for one device without gradient accumulation.
    #[default]
    Immediate,
    /// `forward` keeps its update as pending.
    /// [`CenterLoss::apply_pending`](crate::CenterLoss::apply_pending) applies all pending updates at once: for
    /// gradient accumulation. A clone starts with a copy of the pending updates.
    OnStep,
    /// Like [`OnStep`](Self::OnStep), with one list of pending updates for all clones and forks: for several devices,
    /// where Burn trains clones and drops them.
    OnStepShared,
}

impl DirectRule {
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        not_negative("alpha", self.alpha)?;
        self.alpha_schedule.validate()
    }
}

impl Normalization {
    /// The factor of the difference of each sample, `[samples]`, from its weight.
    pub(super) fn factors(
        self,
        classes: &Tensor<1, Int>,
        weights: Tensor<1>,
        num_classes: usize,
        alpha: f64,
    ) -> Tensor<1> {
        let divisors = match self {
            Self::Sum => return weights.mul_scalar(alpha),
            Self::Paper => class_totals(classes, weights.clone(), num_classes).add_scalar(1.0),
            Self::Mean => no_zero(class_totals(classes, weights.clone(), num_classes)),
        };
        weights.mul_scalar(alpha) / divisors
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn factors_by_hand() {
        // Class 4 has weight 4, class 1 has weight 0.5.
        let device = Device::flex();
        let classes = Tensor::from_data([4, 1, 4], &device);
        let weights = Tensor::<1>::from_data([1.0, 0.5, 3.0], &device);
        for (rule, expected) in [
            (Normalization::Paper, [0.2 / 5.0, 0.1 / 1.5, 0.6 / 5.0]),
            (Normalization::Mean, [0.2 / 4.0, 0.1 / 0.5, 0.6 / 4.0]),
            (Normalization::Sum, [0.2, 0.1, 0.6]),
        ] {
            let factors = rule.factors(&classes, weights.clone(), 5, 0.2);
            let factors: Vec<f64> = factors.into_data().iter::<f64>().collect();
            for (factor, expected) in factors.into_iter().zip(expected) {
                approx::assert_relative_eq!(factor, expected, max_relative = 1e-6);
            }
        }
    }

    #[test]
    #[should_panic(expected = "update_rule is Gradient: only direct rules have alpha")]
    fn other_rules_have_no_alpha() {
        let _ = UpdateRule::Gradient.with_alpha(0.1);
    }
}
