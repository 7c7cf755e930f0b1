use std::f64::consts::{FRAC_1_PI, PI};

use burn::config::Config;

use crate::error::{SettingError, at_least_one, within};
use crate::softmax::{TargetAngles, TargetScores};

/// The multiplicative angular margin of SphereFace (A-Softmax): it multiplies the angle between a feature and
/// the vector of its class.
///
/// ```text
/// cos(theta_y)  becomes  (-1)^k cos(m theta_y) - 2k,   k = floor(m theta_y / pi)
/// scores        are      scale * |x| * cos
/// ```
///
/// `theta_y` is the angle between feature and class vector, `m` a whole number. The length of the feature
/// multiplies the scores too, and a gradient passes through it. The value falls continuously over all
/// angles.
///
/// # Differences from the references
///
/// This is A-Softmax as in pytorch-metric-learning: the margin alone, from the first step on. The paper's
/// code blends it with the plain score, `(lambda cos(theta) + psi) / (1 + lambda)`, with a lambda that falls
/// over the training. SphereFace-R has a real multiple on a fixed scale: that is
/// [`Margin::combined(1.7, 0.0, 0.0)`](crate::Margin::combined) with a scale of 30.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::MarginSoftmaxConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::sphereface(2, 2)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // An angle of 0.001 counts as 0.004. The length of the feature is 1, up to rounding.
/// let feature = Tensor::from_data([[1.0, 1e-3]], &device);
/// let value = loss.forward(feature, Tensor::from_data([0], &device));
/// let (target, other) = (4e-3_f32.cos(), 1e-3_f32);
/// assert!((value.into_scalar::<f32>() - ((target.exp() + other.exp()).ln() - target)).abs() < 1e-5);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # Errors
///
/// [`MarginSoftmaxConfig::try_init`](crate::MarginSoftmaxConfig::try_init) refuses a margin of 0, and a
/// margin schedule: a part of a whole number is not whole.
///
/// # References
///
/// Weiyang Liu, Yandong Wen, Zhiding Yu, Ming Li, Bhiksha Raj, Le Song: SphereFace: Deep Hypersphere
/// Embedding for Face Recognition, CVPR 2017.
#[doc(alias = "SphereFaceLoss")]
#[doc(alias = "ASoftmax")]
#[derive(Config, Debug, PartialEq)]
pub struct SphereFace {
    /// The factor of the angle; at least 1. Default: 4.
    #[config(default = 4)]
    pub margin: u32,
}

impl SphereFace {
    /// Checks the margin when it is multiplied by `factor`.
    pub(super) fn validate(&self, factor: f64) -> Result<(), SettingError> {
        at_least_one("margin", self.margin.into())?;
        let rule = "it must be 1 for SphereFace, whose margin is a whole number";
        within("margin_factor", factor, factor == 1.0, rule)?;
        Ok(())
    }

    pub(super) fn target_scores(&self, angles: &TargetAngles) -> TargetScores {
        let m = f64::from(self.margin);
        let turns = angles.angle.clone().mul_scalar(m * FRAC_1_PI).floor();
        let sign = turns.clone().mul_scalar(PI).cos();
        // Cosine and sine of the multiple by sums of angles: functions of angles are coarse on GPUs.
        let (c, s) = (&angles.cosine, &angles.sine);
        let (mut cosine, mut sine) = (c.clone(), s.clone());
        for _ in 1..self.margin {
            (cosine, sine) = (
                cosine.clone() * c.clone() - sine.clone() * s.clone(),
                sine * c.clone() + cosine * s.clone(),
            );
        }
        TargetScores {
            value: sign.clone() * cosine - turns.mul_scalar(2.0),
            slope: (sign * sine).mul_scalar(m),
        }
    }
}
