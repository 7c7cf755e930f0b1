use std::f64::consts::FRAC_PI_4;

use serde::{Deserialize, Serialize};

use crate::error::{SettingError, positive};
use crate::schedule::Schedule;

/// The scale of a [`MarginSoftmax`](crate::MarginSoftmax) over the training steps.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::margin::ScaleSchedule;
/// use burn_center_loss::{MarginSoftmaxConfig, Schedule};
///
/// let device = Device::flex().autodiff();
/// let rising = ScaleSchedule::From { start: 10.0, schedule: Schedule::LinearWarmup { steps: 2 } };
/// let loss = MarginSoftmaxConfig::new(3, 2).with_scale(30.0).with_scale_schedule(rising).init(&device);
/// assert_eq!(loss.scale(), 20.0);
/// loss.forward(Tensor::ones([1, 2], &device), Tensor::from_data([0], &device));
/// assert_eq!(loss.scale(), 30.0);
/// ```
///
/// # References
///
/// Xiao Zhang, Rui Zhao, Yu Qiao, Xiaogang Wang, Hongsheng Li: AdaCos: Adaptively Scaling Cosine Logits for Effectively
/// Learning Deep Face Representations, CVPR 2019.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum ScaleSchedule {
    /// The configured scale.
    #[default]
    Constant,
    /// From `start` to the configured scale: `start + (scale - start) * schedule.factor(t)` at step `t`.
    From {
        /// The scale where the factor is 0; finite and greater than 0.
        start: f64,
        /// The factor over the training steps.
        schedule: Schedule,
    },
    /// The adaptive scale of AdaCos. The configured scale is the first one, and each training step gives the next.
    ///
    /// ```text
    /// others = mean_i sum_{j != y} exp(scale cos_ij)
    /// scale' = ln(others) / cos(min(pi / 4, median_i theta_i))
    /// ```
    ///
    /// `theta_i` is the angle between a feature and the vector of its class; the median is the lower one of two. A
    /// sample with weight 2 counts twice. A scale that is not greater than 0, as of batches of two classes, is not
    /// taken. Every training step reads four numbers per sample from the device, under deferred checking too.
    ///
    /// The authors' code moves the scale before it computes the loss of the same batch. Here the loss of a batch has
    /// the scale of the batch before, so that one pass gives both. Their loss has no margin.
    AdaCos,
}

impl ScaleSchedule {
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        if let Self::From { start, schedule } = self {
            positive("ScaleSchedule::From.start", *start)?;
            schedule.validate()?;
        }
        Ok(())
    }

    /// The scale at step `t`, from the one that is configured, set or adapted.
    pub(super) fn scale(&self, scale: f64, t: u64) -> f64 {
        match self {
            Self::Constant | Self::AdaCos => scale,
            Self::From { start, schedule } => start + (scale - start) * schedule.factor(t),
        }
    }
}

/// A sample as AdaCos sees it.
pub(super) struct AdaCosSample {
    /// The angle between the feature and the vector of its class.
    pub angle: f64,
    /// The score of the target class, with its margin and without the scale.
    pub target: f64,
    /// The loss without label smoothing: `ln(1 + others / exp(scale * target))`.
    pub loss: f64,
    /// Greater than 0.
    pub weight: f64,
}

/// The next scale of AdaCos; `None` if it is not finite and greater than 0, or if there is no sample.
pub(super) fn adapted_scale(scale: f64, mut samples: Vec<AdaCosSample>) -> Option<f64> {
    samples.sort_by(|one, other| one.angle.total_cmp(&other.angle));
    let total: f64 = samples.iter().map(|sample| sample.weight).sum();
    let mut counted = 0.0;
    let median = samples.iter().find(|sample| {
        counted += sample.weight;
        counted >= 0.5 * total
    })?;
    let of_sample = |s: &AdaCosSample| (scale * s.target).exp() * s.loss.exp_m1() * s.weight;
    let others = samples.iter().map(of_sample).sum::<f64>() / total;
    let adapted = others.ln() / median.angle.min(FRAC_PI_4).cos();
    (adapted.is_finite() && adapted > 0.0).then_some(adapted)
}
