use burn::config::Config;
use num_traits::Float;

use super::error::MarginSoftmaxError;
use crate::batch::{Amount, PerSample};
use crate::engine::OwnScores;
use crate::error::{fraction, not_negative, radians};

/// The quality-adaptive margin of AdaFace: the length of a feature is taken for the quality of its image, and
/// decides between an angular and a cosine margin.
///
/// ```text
/// z_i    = |x_i| clipped to [0.001, 100]
/// q_i    = clip(h (z_i - mean) / (std + 0.001), -1, 1)
/// cos(theta_y)  becomes  cos(clip(theta_y - m q_i, 0.001, pi - 0.001)) - (m + m q_i)
/// ```
///
/// `theta_y` is the angle between feature and class vector, and `m` the margin. All cosines are clipped to
/// `[-0.999, 0.999]`, and no gradient passes through a clipped one, nor through the length.
///
/// `mean` and `std` are running statistics of the lengths, which every training step brings up to date before
/// they are used: `new = t_alpha * batch + (1 - t_alpha) * old`, starting at 20 and 100. `std` of a batch
/// divides by the number of samples less one. Statistics are kept in the record. Samples that do not count
/// leave them alone, and so does a batch in which fewer than two count; a weight of 2 counts as two samples.
/// In validation mode, and after `freeze()`, they rest and are used as they are.
///
/// # Differences from the references
///
/// The values and gradients are those of `head.py` of the authors, for every batch of two samples or more;
/// there, a batch of one makes the statistics NaN. CVLface, by the same authors, computes the margin outside
/// autodiff and does not clip.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{AdaFace, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(2, 2)
///     .with_margin(AdaFace::new().with_t_alpha(0.5).into())
///     .init(&device);
/// let features = Tensor::from_data([[3.0, 4.0], [0.0, 7.0]], &device);
/// loss.forward(features, Tensor::from_data([0, 1], &device));
///
/// // The lengths are 5 and 7: their mean is 6, and their standard deviation the root of 2.
/// let statistics = loss.norm_statistics().unwrap();
/// assert_eq!(statistics.mean, 0.5 * 6.0 + 0.5 * 20.0);
/// assert!((statistics.std - (0.5 * 2.0_f64.sqrt() + 0.5 * 100.0)).abs() < 1e-4);
/// # Ok::<(), burn_center_loss::MarginSoftmaxError>(())
/// ```
///
/// # Errors
///
/// [`MarginSoftmaxConfig::try_init`](crate::MarginSoftmaxConfig::try_init) refuses a margin that is
/// negative, or pi or more, an `h` that is negative, and a `t_alpha` outside `0..=1`.
///
/// # References
///
/// Minchul Kim, Anil K. Jain, Xiaoming Liu: AdaFace: Quality Adaptive Margin for Face Recognition, CVPR 2022.
#[doc(alias = "AdaFaceLoss")]
#[derive(Config, Debug, PartialEq)]
pub struct AdaFace {
    /// The margin, as an angle in radians and as a part of the cosine; in `0..pi`. Default: 0.4.
    #[config(default = 0.4)]
    pub margin: f64,
    /// How much the length of a feature matters; finite and not negative. Default: 0.333.
    #[config(default = 0.333)]
    pub h: f64,
    /// The weight of a batch in the running statistics, in `0..=1`. Default: 0.01, as in the authors'
    /// scripts; the default of their class is 1, which is no average.
    #[config(default = 0.01)]
    pub t_alpha: f64,
}

/// All cosines are kept this far from -1 and 1, all angles this far from 0 and pi, and the standard
/// deviation this far above 0.
pub(super) const EPSILON: f64 = 0.001;

impl AdaFace {
    /// Checks the margin when it is multiplied by `factor`.
    pub(super) fn validate(&self, factor: f64) -> Result<(), MarginSoftmaxError> {
        radians("margin", self.margin * factor)?;
        not_negative("h", self.h)?;
        fraction("t_alpha", self.t_alpha)?;
        Ok(())
    }

    /// `qualities` has `q_i` of each sample.
    pub(super) fn own_scores(&self, theta: PerSample, qualities: Amount, factor: f64) -> OwnScores {
        let margin = self.margin * factor;
        let least = Float::acos(1.0 - EPSILON);
        let clipped = theta.clone().clamp(least, core::f64::consts::PI - least);
        let moved = clipped - qualities.clone() * margin;
        let (least_moved, most_moved) = (EPSILON, core::f64::consts::PI - EPSILON);
        let angle = moved.clone().clamp(least_moved, most_moved);
        let slope = angle.clone().sin();
        let slope = slope.where_within(moved, least_moved, most_moved);
        OwnScores {
            value: angle.cos() - (qualities * margin + margin),
            slope: slope.where_within(theta, least, core::f64::consts::PI - least),
        }
    }
}
