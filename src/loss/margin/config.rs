use alloc::vec::Vec;
use burn::config::Config;
use burn::nn::Initializer;
use burn::nn::loss::Reduction;

use super::adaface::AdaFace;
use super::angular::{BeyondPi, MarginGradient};
use super::arcface::ArcFace;
use super::error::MarginSoftmaxError;
use super::margin::Margin;
use super::sphereface::SphereFace;
use crate::batch::{Checking, ClassBalance, ClassWeights};
use crate::centers::Precision;
use crate::error::{at_least_one, fraction, positive};
use crate::schedule::Schedule;

/// Configuration of a [`MarginSoftmax`](crate::MarginSoftmax).
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_center_loss::{ArcFace, MarginSoftmaxConfig};
///
/// let loss = MarginSoftmaxConfig::new(10, 128)
///     .with_margin(ArcFace::new().with_margin(0.3).into())
///     .with_scale(30.0)
///     .init(&Device::flex().autodiff());
/// assert_eq!(loss.centers().dims(), [10, 128]);
///
/// let degrees = ArcFace::new().with_margin(28.6);
/// let error = MarginSoftmaxConfig::new(10, 128).with_margin(degrees.into()).try_init(&Device::flex());
/// assert_eq!(
///     error.unwrap_err().to_string(),
///     "margin is 28.6: it must be at least 0 and below pi, in radians (degrees times pi / 180)"
/// );
/// ```
#[derive(Config, Debug)]
pub struct MarginSoftmaxConfig {
    /// The number of classes: labels are `0..num_classes`.
    pub num_classes: usize,
    /// The width of the features and of the class vectors.
    pub feature_dim: usize,
    /// What is done to the cosine of the own class. Default: [`ArcFace`], with a margin of 0.5.
    #[config(default = "ArcFace::new().into()")]
    pub margin: Margin,
    /// How the margin changes over the training steps. Default: [`Schedule::Constant`].
    #[config(default = "Schedule::Constant")]
    pub margin_schedule: Schedule,
    /// What cosines are multiplied by; finite and greater than 0. It matters at least as much as the
    /// margin. Default: 64.
    #[config(default = 64.0)]
    pub scale: f64,
    /// How many vectors a class has; at least 1. Only the one with the largest cosine counts, so that a
    /// class may have several clusters, or leave its noise to a vector of its own. Default: 1.
    #[config(default = 1)]
    pub sub_centers: usize,
    /// The share of the target that is spread over all classes, in `0..=1`. The margin is that of the
    /// label all the same. Default: 0.
    #[config(default = 0.0)]
    pub label_smoothing: f64,
    /// Whether the loss of a sample is divided by the batch histogram of its class. Default:
    /// [`ClassBalance::None`].
    #[config(default = "ClassBalance::None")]
    pub class_balance: ClassBalance,
    /// How the losses of the samples become one value. Default: `Reduction::Mean`.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
    /// One factor per class for the loss of its samples; finite and not negative. It enters the weighted
    /// mean as well. Default: none.
    pub class_weights: Option<Vec<f64>>,
    /// Samples with this label change neither loss, gradients nor statistics. It may lie outside
    /// `0..num_classes`. Default: none.
    pub ignore_label: Option<i64>,
    /// How the class vectors start. Default: normal with mean 0 and standard deviation
    /// `1 / sqrt(feature_dim)`, which gives them a length of about 1.
    ///
    /// Only their directions enter the loss, but a gradient turns a vector the faster the shorter it is.
    /// With the standard deviation of 1 of pytorch-metric-learning vectors of 512 columns are 22 long and
    /// turn 500 times more slowly than here under the same rate of plain SGD.
    pub initializer: Option<Initializer>,
    /// The data type of the class vectors. Default: [`Precision::F32`].
    #[config(default = "Precision::F32")]
    pub precision: Precision,
    /// When bad samples are reported. Default: [`Checking::Strict`].
    #[config(default = "Checking::Strict")]
    pub checking: Checking,
    /// How many bytes of scores `forward` keeps for the backward pass. If all scores fit, the work is three
    /// matrix products. If not, none is kept, and it is four. Where directions of class vectors are computed apart
    /// from the scores, as on a GPU, they are kept too if both fit. Default: 64 MiB.
    #[config(default = "1 << 26")]
    pub score_budget: usize,
}

impl MarginSoftmaxConfig {
    /// The normalised softmax, without a margin: scale 20, for a temperature of 0.05.
    ///
    /// Measured with equal scales, a margin does not always make a difference: this is the baseline to beat.
    #[doc(alias = "NormFace")]
    #[doc(alias = "COCO")]
    pub fn normalized_softmax(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_margin(Margin::None)
            .with_scale(20.0)
    }

    /// [`SphereFace`] with its defaults: margin 4, and scores that are multiplied by the lengths of the
    /// features alone, a scale of 1.
    pub fn sphereface(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_margin(SphereFace::new().into())
            .with_scale(1.0)
    }

    /// The settings of the authors' training scripts for AdaFace: margin 0.4, h 0.333, t_alpha 0.01, scale
    /// 64.
    pub fn adaface(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim).with_margin(AdaFace::new().into())
    }

    /// ArcFace as in insightface `arcface_torch`: margin 0.5, scale 64, [`BeyondPi::Reflect`],
    /// [`MarginGradient::Detached`], class vectors from a normal distribution of standard deviation 0.01.
    ///
    /// Most of its configurations have CosFace with a margin of 0.4 in its place:
    /// `.with_margin(CosFace::new().with_margin(0.4).into())`.
    pub fn insightface(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(0.5)
            .with_beyond_pi(BeyondPi::Reflect)
            .with_gradient(MarginGradient::Detached);
        Self::new(num_classes, feature_dim)
            .with_margin(margin.into())
            .with_scale(64.0)
            .with_initializer(normal(0.01))
    }

    /// ArcFace as in pytorch-metric-learning 2.9: margin 28.6 degrees, scale 64, [`BeyondPi::Linear`], class
    /// vectors from a normal distribution of standard deviation 1.
    ///
    /// Its CosFace has a margin of 0.35, its normalised softmax a temperature of 0.05, its SphereFace a
    /// margin of 4 and a scale of 1, and its sub-center ArcFace three sub-centers.
    pub fn pytorch_metric_learning(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(28.6_f64.to_radians())
            .with_beyond_pi(BeyondPi::Linear);
        Self::new(num_classes, feature_dim)
            .with_margin(margin.into())
            .with_scale(64.0)
            .with_initializer(normal(1.0))
    }

    /// AAM softmax as in SpeechBrain: margin 0.2, scale 30, [`BeyondPi::Linear`], class vectors by Xavier.
    pub fn speechbrain(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(0.2)
            .with_beyond_pi(BeyondPi::Linear);
        Self::new(num_classes, feature_dim)
            .with_margin(margin.into())
            .with_scale(30.0)
            .with_initializer(xavier())
    }

    /// AAM softmax as in wespeaker: margin 0.2, scale 32, [`BeyondPi::Continuous`], class vectors by Xavier.
    ///
    /// Its recipes raise the margin from 0 over some epochs
    /// ([`margin_schedule`](Self::margin_schedule), [`Schedule::ExponentialWarmup`]), and fine-tune with a
    /// margin of 0.5.
    pub fn wespeaker(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(0.2)
            .with_beyond_pi(BeyondPi::Continuous);
        Self::new(num_classes, feature_dim)
            .with_margin(margin.into())
            .with_scale(32.0)
            .with_initializer(xavier())
    }

    pub(super) fn validate(&self) -> Result<(), MarginSoftmaxError> {
        at_least_one("num_classes", self.num_classes as u64)?;
        at_least_one("feature_dim", self.feature_dim as u64)?;
        at_least_one("sub_centers", self.sub_centers as u64)?;
        self.margin.validate(self.num_classes, 1.0)?;
        self.margin_schedule.validate()?;
        if self.margin_schedule != Schedule::Constant {
            // A schedule multiplies the margin by other factors than 1.
            self.margin.validate(self.num_classes, 0.5)?;
        }
        positive("scale", self.scale)?;
        fraction("label_smoothing", self.label_smoothing)?;
        if let Some(weights) = &self.class_weights {
            ClassWeights::check(weights, self.num_classes)?;
        }
        Ok(())
    }

    /// The number of rows of the class vectors.
    pub(super) fn rows(&self) -> usize {
        self.num_classes * self.sub_centers
    }
}

fn normal(std: f64) -> Option<Initializer> {
    Some(Initializer::Normal { mean: 0.0, std })
}

fn xavier() -> Option<Initializer> {
    Some(Initializer::XavierUniform { gain: 1.0 })
}
