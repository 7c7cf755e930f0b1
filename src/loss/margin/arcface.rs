use alloc::vec::Vec;
use burn::config::Config;

use super::angular::{Angular, BeyondPi, MarginGradient};
use super::class_margins;
use super::error::MarginSoftmaxError;
use crate::batch::Amount;
use crate::engine::{Angles, OwnScores};
use crate::error::radians;

/// The additive angular margin of ArcFace (AAM softmax): the angle between a feature and the vector of its
/// class counts as larger than it is.
///
/// ```text
/// cos(theta_y)  becomes  cos(theta_y + m)
/// ```
///
/// `theta_y` is the angle between feature and class vector, `m` the margin in radians. What happens where
/// both together are more than pi is [`BeyondPi`]; which gradient passes is [`MarginGradient`].
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
/// Here there is neither a clamp nor an arc cosine, so that the gradient is exact at every angle. At
/// exact collinearity, where the loss has a kink, the own class gives a gradient of zero.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{ArcFace, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(2, 2)
///     .with_margin(ArcFace::new().with_margin(0.5).into())
///     .with_scale(1.0)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // A feature on the vector of its class: the angle 0 counts as 0.5 radians.
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let expected = (0.5_f32.cos().exp() + 1.0).ln() - 0.5_f32.cos();
/// assert!((value.into_scalar::<f32>() - expected).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::MarginSoftmaxError>(())
/// ```
///
/// # Errors
///
/// [`MarginSoftmaxConfig::try_init`](crate::MarginSoftmaxConfig::try_init) refuses a margin that is
/// negative, or pi or more: it would be one in degrees.
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
    /// What happens where angle and margin are more than pi. Default: [`BeyondPi::Linear`].
    #[config(default = "BeyondPi::Linear")]
    pub beyond_pi: BeyondPi,
    /// Which gradient passes. Default: [`MarginGradient::Exact`].
    #[config(default = "MarginGradient::Exact")]
    pub gradient: MarginGradient,
    /// One margin per class, in place of `margin`. Default: none.
    /// [`class_margins_from_counts`](crate::class_margins_from_counts) makes them.
    pub class_margins: Option<Vec<f64>>,
}

impl ArcFace {
    /// Checks the margins when they are multiplied by `factor`.
    pub(super) fn validate(
        &self,
        num_classes: usize,
        factor: f64,
    ) -> Result<(), MarginSoftmaxError> {
        radians("margin", self.margin * factor)?;
        class_margins::check(self.class_margins.as_deref(), num_classes, |margin| {
            radians("margin", margin * factor).is_ok()
        })
    }

    pub(super) fn own_scores(&self, angles: &Angles, margins: Amount) -> OwnScores {
        Angular {
            factor: 1.0,
            offset: Amount::Same(0.0),
            angle: margins,
            beyond_pi: self.beyond_pi,
            gradient: self.gradient,
        }
        .own_scores(angles)
    }
}
