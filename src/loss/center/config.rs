use alloc::vec::Vec;
use burn::config::Config;
use burn::nn::Initializer;
use burn::nn::loss::Reduction;

use super::error::CenterLossError;
use super::rule::{DirectRule, UpdateRule};
use crate::batch::{Checking, ClassBalance, ClassWeights};
use crate::centers::Precision;
use crate::distance::CenterDistance;
use crate::error::{at_least_one, not_negative};
use crate::schedule::Schedule;

/// Configuration of a [`CenterLoss`](crate::CenterLoss).
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_center_loss::{CenterLossConfig, DirectRule};
///
/// let loss = CenterLossConfig::new(10, 2)
///     .with_update_rule(DirectRule::mean().with_alpha(0.5).into())
///     .with_lambda(0.01)
///     .init(&Device::flex().autodiff());
/// assert_eq!(loss.centers().dims(), [10, 2]);
///
/// let error = CenterLossConfig::new(10, 2).with_lambda(-1.0).try_init(&Device::flex());
/// assert_eq!(error.unwrap_err().to_string(), "lambda is -1: it must be finite and not negative");
/// ```
#[derive(Config, Debug)]
pub struct CenterLossConfig {
    /// The number of classes: labels are `0..num_classes`.
    pub num_classes: usize,
    /// The width of the features and of the centers.
    pub feature_dim: usize,
    /// How the centers follow the features. Default: [`DirectRule::paper`].
    #[config(default = "UpdateRule::default()")]
    pub update_rule: UpdateRule,
    /// The weight of the loss; finite and not negative. It never changes how fast the centers move under
    /// a direct rule. Default: 1.
    #[config(default = 1.0)]
    pub lambda: f64,
    /// How lambda changes over the training steps. Default: [`Schedule::Constant`].
    #[config(default = "Schedule::Constant")]
    pub lambda_schedule: Schedule,
    /// Whether the loss of a sample is divided by the batch histogram of its class. Default:
    /// [`ClassBalance::None`].
    #[config(default = "ClassBalance::None")]
    pub class_balance: ClassBalance,
    /// How the losses of the samples become one value. Default: `Reduction::Mean`.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
    /// What is measured between a feature and its center. Default: [`CenterDistance::Euclidean`].
    #[config(default = "CenterDistance::Euclidean")]
    pub distance: CenterDistance,
    /// The distance within which a sample is neither penalised nor pulls its center (IJCV 2019, where it
    /// is called margin); finite and not negative. Default: 0.
    #[config(default = 0.0)]
    pub radius: f64,
    /// One factor per class for the loss of its samples; finite and not negative. It enters the weighted
    /// mean as well, and leaves the update of the centers alone. Default: none.
    pub class_weights: Option<Vec<f64>>,
    /// Samples with this label change neither loss, gradients nor centers. It may lie outside
    /// `0..num_classes`. Default: none.
    pub ignore_label: Option<i64>,
    /// How the centers start. Default: normal with mean 0 and standard deviation 1.
    #[config(default = "Initializer::Normal{mean: 0.0, std: 1.0}")]
    pub initializer: Initializer,
    /// The data type of the centers. Default: [`Precision::F32`].
    #[config(default = "Precision::F32")]
    pub precision: Precision,
    /// When bad samples are reported. Default: [`Checking::Strict`].
    #[config(default = "Checking::Strict")]
    pub checking: Checking,
}

impl CenterLossConfig {
    /// The settings of Wen et al., ECCV 2016: their rule, alpha 0.5, lambda 0.003, Xavier initialisation.
    pub fn paper(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_update_rule(DirectRule::paper().into())
            .with_lambda(0.003)
            .with_initializer(Initializer::XavierUniform { gain: 1.0 })
    }

    /// The settings of the MXNet programs (ShownX/mxnet-center-loss, wangx404/Center_Loss_in_MXNet): the
    /// gradient rule, losses divided by the batch histogram, lambda 1, Xavier initialisation of magnitude
    /// 2.24.
    ///
    /// Their trainer's rate for the centers is 0.5: give it to the parameter group of
    /// [`CenterLoss::centers_group`](crate::CenterLoss::centers_group), with plain SGD.
    pub fn mxnet(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_update_rule(UpdateRule::Gradient)
            .with_class_balance(ClassBalance::Histogram)
            .with_initializer(Initializer::XavierUniform {
                // MXNet draws from +-sqrt(2 * magnitude / (fan_in + fan_out)), Burn from
                // +-gain * sqrt(6 / (..)).
                gain: num_traits::Float::sqrt(2.24_f64 / 3.0),
            })
    }

    pub(super) fn validate(&self) -> Result<(), CenterLossError> {
        at_least_one("num_classes", self.num_classes as u64)?;
        at_least_one("feature_dim", self.feature_dim as u64)?;
        if let UpdateRule::Direct(rule) = &self.update_rule {
            rule.validate()?;
        }
        not_negative("lambda", self.lambda)?;
        self.lambda_schedule.validate()?;
        not_negative("radius", self.radius)?;
        if let Some(weights) = &self.class_weights {
            ClassWeights::check(weights, self.num_classes)?;
        }
        Ok(())
    }
}
