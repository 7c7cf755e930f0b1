use std::f64::consts::PI;
use std::fmt;

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};

use crate::centers::Centers;
use crate::distance::no_zero;
use crate::error::{LossError, SettingError, fraction, not_negative, radians};
use crate::softmax::{TargetAngles, TargetScores};

/// The quality-adaptive margin of AdaFace: the length of a feature stands for the quality of its image, and
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
/// `mean` and `std` are running statistics of the lengths. Every training step updates them first, and then
/// uses them: `new = t_alpha * batch + (1 - t_alpha) * old`, starting at 20 and 100. `std` of a batch
/// divides by the number of samples less one. The record keeps the statistics. Samples that take no part
/// leave them alone, and so does a batch in which fewer than two take part; a weight of 2 counts as two
/// samples. In validation mode, after `freeze()`, and in `evaluate`, they stay and are used as they are.
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
/// use burn_center_loss::margin::AdaFace;
/// use burn_center_loss::{Margin, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(2, 2)
///     .with_margin(Margin::AdaFace(AdaFace::new().with_t_alpha(0.5)))
///     .init(&device);
/// let features = Tensor::from_data([[3.0, 4.0], [0.0, 7.0]], &device);
/// loss.forward(features, Tensor::from_data([0, 1], &device));
///
/// // The lengths are 5 and 7: their mean is 6, and their standard deviation the root of 2.
/// let statistics = loss.norm_statistics().unwrap();
/// assert_eq!(statistics.mean, 0.5 * 6.0 + 0.5 * 20.0);
/// assert!((statistics.std - (0.5 * 2.0_f64.sqrt() + 0.5 * 100.0)).abs() < 1e-4);
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
    /// The weight of the length of a feature in the quality; finite and not negative. Default: 0.333.
    #[config(default = 0.333)]
    pub h: f64,
    /// The weight of a batch in the running statistics, in `0..=1`. Default: 0.01, as in the authors'
    /// scripts. The default of their class is 1, which averages over no batches.
    #[config(default = 0.01)]
    pub t_alpha: f64,
}

/// The distance of all cosines from -1 and 1, of all angles from 0 and pi, and of the standard deviation
/// from 0.
const EPSILON: f64 = 0.001;

/// The largest absolute value of a cosine.
pub(super) const LARGEST_COSINE: f64 = 1.0 - EPSILON;

impl AdaFace {
    /// Checks the margin when it is multiplied by `factor`.
    pub(super) fn validate(&self, factor: f64) -> Result<(), SettingError> {
        radians("margin", self.margin * factor)?;
        not_negative("h", self.h)?;
        fraction("t_alpha", self.t_alpha)?;
        Ok(())
    }

    /// The scores with a margin that is multiplied by `factor`. `qualities`, `[batch_size]`, has the `q_i`.
    pub(super) fn target_scores(
        &self,
        angles: &TargetAngles,
        qualities: Tensor<1>,
        factor: f64,
    ) -> TargetScores {
        let theta = &angles.angle;
        let least = LARGEST_COSINE.acos();
        let shifts = qualities
            .cast(theta.dtype())
            .mul_scalar(self.margin * factor);
        let clipped = theta.clone().clamp(least, PI - least);
        let moved = clipped.clone() - shifts.clone();
        let angle = moved.clone().clamp(EPSILON, PI - EPSILON);
        let is_clipped = clipped.not_equal(theta.clone());
        let is_clipped = is_clipped.bool_or(angle.clone().not_equal(moved));
        let value = angle.clone().cos() - shifts.add_scalar(self.margin * factor);
        TargetScores {
            // Not every backend keeps NaN in `clamp`.
            value: value.mask_fill(theta.clone().is_nan(), f64::NAN),
            slope: angle.sin().mask_fill(is_clipped, 0.0),
        }
    }

    /// The `q_i` of lengths `[batch_size]`, for statistics `[1, 2]`.
    pub(super) fn qualities(&self, lengths: Tensor<1>, statistics: Tensor<2>) -> Tensor<1> {
        let [mean, std] = [0, 1].map(|i| statistics.clone().narrow(1, i, 1).squeeze_dim::<1>(0));
        let qualities = (lengths - mean).mul_scalar(self.h) / std.add_scalar(EPSILON);
        qualities.clamp(-1.0, 1.0)
    }
}

/// Lengths as AdaFace counts them.
pub(super) fn clipped_lengths(lengths: Tensor<1>) -> Tensor<1> {
    lengths.clamp(EPSILON, 100.0)
}

/// Running mean and standard deviation of the lengths of the features, for [`AdaFace`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormStatistics {
    /// The running mean.
    pub mean: f64,
    /// The running standard deviation.
    pub std: f64,
}

impl fmt::Display for NormStatistics {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "mean {}, standard deviation {}", self.mean, self.std)
    }
}

/// The statistics on the device: mean and standard deviation, moved in place from `&self`.
#[derive(Module, Debug)]
pub(super) struct RunningNorms {
    /// `[1, 2]`
    values: Centers,
}

impl RunningNorms {
    /// The authors' values before the first step.
    pub fn new(device: &Device, dtype: FloatDType) -> Self {
        let values = Tensor::<2>::from_data([[20.0, 100.0]], (device, DType::from(dtype)));
        Self {
            values: Centers::new(Param::from_tensor(values), false, dtype),
        }
    }

    /// Mean and standard deviation, `[1, 2]`, without autodiff.
    pub fn values(&self) -> Tensor<2> {
        self.values.constant()
    }

    pub fn replace(&self, values: Tensor<2>) -> Result<(), LossError> {
        self.values.replace(|_| values)
    }

    /// The statistics after a batch with these lengths and weights, `[batch_size]`: `[1, 2]`.
    pub fn after(&self, lengths: Tensor<1>, weights: Tensor<1>, t_alpha: f64) -> Tensor<2> {
        let before = self.values();
        let total = weights.clone().sum();
        let mean = (lengths.clone() * weights.clone()).sum() / no_zero(total.clone());
        let offsets = lengths - mean.clone();
        let squares = (offsets.clone() * offsets * weights).sum();
        let is_too_few = total.clone().lower_elem(2.0);
        let others = total.sub_scalar(1.0).mask_fill(is_too_few.clone(), 1.0);
        let batch = Tensor::cat(vec![mean, (squares / others).sqrt()], 0);
        let after = batch.unsqueeze_dim::<2>(0).mul_scalar(t_alpha)
            + before.clone().mul_scalar(1.0 - t_alpha);
        after.mask_where(is_too_few.unsqueeze_dim::<2>(0).expand([1, 2]), before)
    }
}
