use burn::config::Config;

use super::angular::{Angular, BeyondPi, MarginGradient};
use super::error::MarginSoftmaxError;
use crate::batch::Amount;
use crate::engine::{Angles, OwnScores};
use crate::error::{SettingError, not_negative, radians, within};

/// The combined margin: a multiple of the angle, an angle more, and a part of the cosine less.
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
/// `cos(theta_y) - m3 - (1 + cos((pi - m2) / m1))` beyond pi. [`BeyondPi::Linear`] is known for `m1 = 1`
/// only.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CombinedMargin, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(2, 2)
///     .with_margin(CombinedMargin::new(1.0, 0.3, 0.2).into())
///     .with_scale(1.0)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let own = 0.3_f32.cos() - 0.2;
/// assert!((value.into_scalar::<f32>() - ((own.exp() + 1.0).ln() - own)).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::MarginSoftmaxError>(())
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
    /// What the angle is multiplied by; finite and at least 1.
    pub m1: f64,
    /// What is added to the angle, in radians, in `0..pi`.
    pub m2: f64,
    /// What is subtracted from the cosine; finite and not negative.
    pub m3: f64,
    /// What happens where `m1 theta_y + m2` is more than pi. Default: [`BeyondPi::Continuous`].
    #[config(default = "BeyondPi::Continuous")]
    pub beyond_pi: BeyondPi,
    /// Which gradient passes. Default: [`MarginGradient::Exact`].
    #[config(default = "MarginGradient::Exact")]
    pub gradient: MarginGradient,
}

impl CombinedMargin {
    /// Checks the margins when they are multiplied by `factor`.
    pub(super) fn validate(&self, factor: f64) -> Result<(), MarginSoftmaxError> {
        let m1 = self.m1_at(factor);
        within(
            "m1",
            m1,
            m1.is_finite() && m1 >= 1.0,
            "it must be finite and at least 1",
        )?;
        radians("m2", self.m2 * factor)?;
        not_negative("m3", self.m3 * factor)?;
        if self.beyond_pi == BeyondPi::Linear && self.m1 != 1.0 {
            return Err(SettingError {
                name: "m1",
                value: self.m1,
                rule: "it must be 1 where beyond_pi is Linear",
            }
            .into());
        }
        Ok(())
    }

    fn m1_at(&self, factor: f64) -> f64 {
        1.0 + (self.m1 - 1.0) * factor
    }

    pub(super) fn own_scores(&self, angles: &Angles, factor: f64) -> OwnScores {
        Angular {
            factor: self.m1_at(factor),
            angle: Amount::Same(self.m2 * factor),
            offset: Amount::Same(self.m3 * factor),
            beyond_pi: self.beyond_pi,
            gradient: self.gradient,
        }
        .own_scores(angles)
    }
}
