use std::f64::consts::{FRAC_PI_2, PI};

use burn::config::Config;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{SettingError, not_negative, radians, within};
use crate::softmax::{TargetAngles, TargetScores};

/// The combined margin: it multiplies the angle, adds to it, and lowers the cosine.
///
/// ```text
/// cos(theta_y)  becomes  cos(m1 theta_y + m2) - m3
/// ```
///
/// `theta_y` is the angle between feature and class vector. `(1, m, 0)` is ArcFace, `(1, 0, m)` CosFace, and
/// `(m, 0, 0)` the margin of SphereFace without its turns. A [margin
/// schedule](crate::MarginSoftmaxConfig::margin_schedule) multiplies `m1 - 1`, `m2` and `m3`.
///
/// # Differences from the references
///
/// insightface computes the value as [`BeyondPi::Reflect`], and its gradient is
/// [`MarginGradient::Detached`]; it has no other form. Here [`BeyondPi::Continuous`] is the default, with
/// `cos(theta_y) - m3 - (1 + cos((pi - m2) / m1))` beyond pi. [`BeyondPi::Linear`] is defined for `m1 = 1`
/// only.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{Margin, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(2, 2)
///     .with_margin(Margin::combined(1.0, 0.3, 0.2))
///     .with_scale(1.0)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let target = 0.3_f32.cos() - 0.2;
/// assert!((value.into_scalar::<f32>() - ((target.exp() + 1.0).ln() - target)).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # Errors
///
/// [`MarginSoftmaxConfig::try_init`](crate::MarginSoftmaxConfig::try_init) refuses an `m1` below 1, an `m2`
/// that is negative or pi or more, and an `m3` that is negative.
///
/// # References
///
/// Jiankang Deng, Jia Guo, Niannan Xue, Stefanos Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep
/// Face Recognition, CVPR 2019, section 2.3.
#[doc(alias = "CombinedMarginLoss")]
#[doc(alias = "margin_cross_entropy")]
#[derive(Config, Debug, PartialEq)]
pub struct CombinedMargin {
    /// The factor of the angle; finite and at least 1.
    pub m1: f64,
    /// The angle that is added, in radians, in `0..pi`.
    pub m2: f64,
    /// The number that is subtracted from the cosine; finite and not negative.
    pub m3: f64,
    /// The score if `m1 theta_y + m2` is more than pi. Default: [`BeyondPi::Continuous`].
    #[config(default = "BeyondPi::Continuous")]
    pub beyond_pi: BeyondPi,
    /// The gradient that passes. Default: [`MarginGradient::Exact`].
    #[config(default = "MarginGradient::Exact")]
    pub gradient: MarginGradient,
}

/// The score of the target class if angle and margin together are more than pi.
///
/// There `cos(theta + m)` would rise again, and the samples with the largest angles would be pushed away from
/// their own class. `m` is the angular margin.
///
/// | | in place of `cos(theta + m)`, beyond pi | used by |
/// |---|---|---|
/// | `Linear` | `cos(theta) - m sin(m)` | pytorch-metric-learning, SpeechBrain, OpenMetricLearning, mmpretrain |
/// | `Continuous` | `cos(theta) - (1 - cos(m))` | wespeaker |
/// | `Reflect` | `cos(theta + m)` all the same | insightface, fast-reid |
/// | `Easy` | `cos(theta)` wherever that is at most 0 | MagFace |
///
/// `Linear` jumps down where it begins, by `m sin(m) + cos(m) - 1`; from `m = 2.34` on that is a jump up.
/// `Reflect` rises beyond pi, and `Easy` jumps up at the right angle. `Continuous` falls everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BeyondPi {
    /// A constant below the cosine, with a jump.
    #[default]
    Linear,
    /// A constant below the cosine, without a jump.
    Continuous,
    /// As before pi.
    Reflect,
    /// No margin at obtuse angles.
    Easy,
}

/// The gradient that passes through a margin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarginGradient {
    /// The derivative of the loss.
    #[default]
    Exact,
    /// The derivative as if the margin were a constant below the cosine. insightface and opensphere
    /// compute the margin outside autodiff. The training takes another path then; the authors say that it
    /// is more stable.
    Detached,
}

impl CombinedMargin {
    /// Checks the margins when they are multiplied by `factor`.
    pub(super) fn validate(&self, factor: f64) -> Result<(), SettingError> {
        let m1 = self.m1_at(factor);
        let rule = "it must be finite and at least 1";
        within("m1", m1, m1.is_finite() && m1 >= 1.0, rule)?;
        radians("m2", self.m2 * factor)?;
        not_negative("m3", self.m3 * factor)?;
        let is_defined = self.beyond_pi != BeyondPi::Linear || self.m1 == 1.0;
        let rule = "it must be 1 where beyond_pi is Linear";
        within("m1", self.m1, is_defined, rule)?;
        Ok(())
    }

    fn m1_at(&self, factor: f64) -> f64 {
        1.0 + (self.m1 - 1.0) * factor
    }

    /// The scores with margins that are multiplied by `factor`. `m2`, `[1]`, is multiplied already.
    pub(super) fn target_scores(
        &self,
        angles: &TargetAngles,
        m2: Tensor<1>,
        factor: f64,
    ) -> TargetScores {
        let (m1, m3) = (self.m1_at(factor), self.m3 * factor);
        angular_scores(angles, m1, m2, m3, self.beyond_pi, self.gradient)
    }
}

/// `cos(m1 theta + m2) - m3`; `m2` is `[1]` or `[batch_size]`.
pub(super) fn angular_scores(
    angles: &TargetAngles,
    m1: f64,
    m2: Tensor<1>,
    m3: f64,
    beyond_pi: BeyondPi,
    gradient: MarginGradient,
) -> TargetScores {
    let (theta, cosine, sine) = (&angles.angle, &angles.cosine, &angles.sine);
    let moved = theta.clone().mul_scalar(m1) + m2.clone();
    let (value, slope) = if m1 == 1.0 {
        // By the addition theorems. Without a margin these are cosine and sine to the bit.
        let (cos, sin) = (m2.clone().cos(), m2.clone().sin());
        (
            cosine.clone() * cos.clone() - sine.clone() * sin.clone(),
            sine.clone() * cos + cosine.clone() * sin,
        )
    } else {
        (moved.clone().cos(), moved.clone().sin().mul_scalar(m1))
    };
    // Where the other score begins, and how far it is below the cosine.
    let beyond = match beyond_pi {
        BeyondPi::Reflect => None,
        BeyondPi::Linear => {
            let lowered = (m2.clone() * m2.sin()).add_scalar(m3);
            Some((moved.greater_equal_elem(PI), lowered))
        }
        BeyondPi::Continuous => {
            let seam = m2.neg().add_scalar(PI).div_scalar(m1);
            let lowered = seam.cos().add_scalar(1.0).add_scalar(m3);
            Some((moved.greater_equal_elem(PI), lowered))
        }
        BeyondPi::Easy => {
            let is_obtuse = theta.clone().greater_equal_elem(FRAC_PI_2);
            Some((is_obtuse, m2.zeros_like()))
        }
    };
    let value = value.sub_scalar(m3);
    let (value, slope) = match beyond {
        None => (value, slope),
        Some((is_beyond, lowered)) => (
            value.mask_where(is_beyond.clone(), cosine.clone() - lowered),
            slope.mask_where(is_beyond, sine.clone()),
        ),
    };
    let slope = match gradient {
        MarginGradient::Exact => slope,
        MarginGradient::Detached => sine.clone(),
    };
    TargetScores { value, slope }
}
