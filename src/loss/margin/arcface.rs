use burn::config::Config;
use burn::tensor::Tensor;

use super::combined::{BeyondPi, MarginGradient, angular_scores};
use crate::softmax::{TargetAngles, TargetScores};

/// The additive angular margin of ArcFace (AAM softmax): it adds an angle to the one between a feature and
/// the vector of its class.
///
/// ```text
/// cos(theta_y)  becomes  cos(theta_y + m)
/// ```
///
/// `theta_y` is the angle between feature and class vector, `m` the margin in radians. [`BeyondPi`] says
/// what happens if both together are more than pi, and [`MarginGradient`] which gradient passes.
///
/// Without a margin this is the normalised softmax, to the bit.
///
/// # Differences from the references
///
/// | source | margin | scale | beyond pi | gradient |
/// |---|---|---|---|---|
/// | pytorch-metric-learning 2.9 | 28.6 degrees | 64 | `Linear` | exact, infinite where the cosine is 1 |
/// | insightface `arcface_torch` | 0.5 | 64 | `Reflect` | `Detached` |
/// | SpeechBrain | 0.2 | 30 | `Linear` | exact, cosine clamped at 1 - 1e-7 |
/// | wespeaker | 0.2 | 32 | `Continuous` | exact, NaN where rounding gives a cosine above 1 |
///
/// This crate needs neither a clamp nor an arc cosine, so that the gradient is right at every angle. The
/// loss has a kink where feature and class vector are exactly collinear. There the target class gives a
/// gradient of zero.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{Margin, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(2, 2)
///     .with_margin(Margin::arcface(0.5))
///     .with_scale(1.0)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // A feature on the vector of its class: the angle 0 counts as 0.5 radians.
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let expected = (0.5_f32.cos().exp() + 1.0).ln() - 0.5_f32.cos();
/// assert!((value.into_scalar::<f32>() - expected).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # Errors
///
/// [`MarginSoftmaxConfig::try_init`](crate::MarginSoftmaxConfig::try_init) refuses a margin that is
/// negative, or pi or more: such a margin is in degrees.
///
/// # References
///
/// Jiankang Deng, Jia Guo, Niannan Xue, Stefanos Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep
/// Face Recognition, CVPR 2019.
#[doc(alias = "AAM")]
#[doc(alias = "ArcFaceLoss")]
#[doc(alias = "AAMSoftmax")]
#[derive(Config, Debug, PartialEq)]
pub struct ArcFace {
    /// The margin in radians, in `0..pi`. Default: 0.5, which is 28.6 degrees.
    #[config(default = 0.5)]
    pub margin: f64,
    /// The score if angle and margin are more than pi. Default: [`BeyondPi::Linear`].
    #[config(default = "BeyondPi::Linear")]
    pub beyond_pi: BeyondPi,
    /// The gradient that passes. Default: [`MarginGradient::Exact`].
    #[config(default = "MarginGradient::Exact")]
    pub gradient: MarginGradient,
    /// One margin per class, in place of `margin`. Classes that are added later get `margin`. Default: none.
    /// [`class_margins_from_counts`](crate::margin::class_margins_from_counts) makes them.
    pub class_margins: Option<Vec<f64>>,
}

impl ArcFace {
    /// The scores with these margins, `[1]` or `[batch_size]`.
    pub(super) fn target_scores(&self, angles: &TargetAngles, margins: Tensor<1>) -> TargetScores {
        let (beyond_pi, gradient) = (self.beyond_pi, self.gradient);
        angular_scores(angles, 1.0, margins, 0.0, beyond_pi, gradient)
    }
}
