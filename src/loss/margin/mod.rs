//! Softmax with a margin: one loss, and one file for the change that each margin makes to the cosine of the
//! target class.

mod adaface;
mod angle_statistics;
mod arcface;
mod combined;
mod cosface;
mod largest;
mod margin_softmax;
mod outliers;
mod scale_schedule;
mod sphereface;
mod suggested_scale;

use std::ops::RangeInclusive;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{LossError, SettingError, not_negative, radians, within};
use crate::softmax::{Scale, TargetAngles, TargetScores};

pub use adaface::{AdaFace, NormStatistics};
pub use angle_statistics::{AngleStatistics, AngleSummary, ClosestClasses};
pub use arcface::ArcFace;
pub use combined::{BeyondPi, CombinedMargin, MarginGradient};
pub use cosface::CosFace;
pub use largest::largest_angle;
pub use margin_softmax::{MarginSoftmax, MarginSoftmaxConfig};
pub use outliers::Outliers;
pub use scale_schedule::ScaleSchedule;
pub use sphereface::SphereFace;
pub use suggested_scale::{SuggestedScale, normface_bound};

/// The change that a [`MarginSoftmax`] makes to the cosine between a feature and the vector of its class.
///
/// | margin | `cos(theta)` becomes |
/// |---|---|
/// | [`Margin::None`] | `cos(theta)`: the normalised softmax |
/// | [`ArcFace`] | `cos(theta + m)` |
/// | [`CosFace`] | `cos(theta) - m` |
/// | [`CombinedMargin`] | `cos(m1 theta + m2) - m3` |
/// | [`SphereFace`] | `(-1)^k cos(m theta) - 2k` |
/// | [`AdaFace`] | `cos(theta - m q) - (m + m q)`, with the quality `q` of the sample |
///
/// # Example
///
/// ```
/// use burn_center_loss::margin::{ArcFace, BeyondPi};
/// use burn_center_loss::{Margin, MarginSoftmaxConfig};
///
/// let config = MarginSoftmaxConfig::new(10, 2).with_margin(Margin::arcface(0.3));
/// assert_eq!(config.margin, Margin::ArcFace(ArcFace::new().with_margin(0.3)));
///
/// // All settings of a margin.
/// let continuous = ArcFace::new().with_margin(0.3).with_beyond_pi(BeyondPi::Continuous);
/// let config = config.with_margin(Margin::ArcFace(continuous));
/// assert_ne!(config.margin, Margin::arcface(0.3));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Margin {
    /// No margin: the normalised softmax, also known as NormFace and COCO loss.
    #[doc(alias = "NormalizedSoftmax")]
    None,
    /// Adds an angle.
    ArcFace(ArcFace),
    /// Lowers the cosine.
    CosFace(CosFace),
    /// Multiplies the angle, adds to it, and lowers the cosine.
    Combined(CombinedMargin),
    /// Multiplies the angle by a whole number.
    SphereFace(SphereFace),
    /// Adds an angle and lowers the cosine, depending on the length of the feature.
    AdaFace(AdaFace),
}

impl Margin {
    /// [`ArcFace`] with a margin in radians and all other settings at their defaults.
    pub fn arcface(margin: f64) -> Self {
        Self::ArcFace(ArcFace::new().with_margin(margin))
    }

    /// [`CosFace`] with a margin.
    pub fn cosface(margin: f64) -> Self {
        Self::CosFace(CosFace::new().with_margin(margin))
    }

    /// [`CombinedMargin`] with its three margins, `m2` in radians, and all other settings at their defaults.
    pub fn combined(m1: f64, m2: f64, m3: f64) -> Self {
        Self::Combined(CombinedMargin::new(m1, m2, m3))
    }

    /// [`SphereFace`] with a margin.
    pub fn sphereface(margin: u32) -> Self {
        Self::SphereFace(SphereFace::new().with_margin(margin))
    }

    /// [`AdaFace`] with a margin and all other settings at their defaults.
    pub fn adaface(margin: f64) -> Self {
        Self::AdaFace(AdaFace::new().with_margin(margin))
    }

    /// Checks the margin when it is multiplied by `factor`.
    fn validate(&self, num_classes: usize, factor: f64) -> Result<(), LossError> {
        match self {
            Self::None => {}
            Self::ArcFace(margin) => {
                radians("margin", margin.margin * factor)?;
                self.check_class_margins(num_classes, |m| radians("margin", m * factor))?;
            }
            Self::CosFace(margin) => {
                not_negative("margin", margin.margin * factor)?;
                self.check_class_margins(num_classes, |m| not_negative("margin", m * factor))?;
            }
            Self::Combined(margin) => margin.validate(factor)?,
            Self::SphereFace(margin) => margin.validate(factor)?,
            Self::AdaFace(margin) => margin.validate(factor)?,
        }
        Ok(())
    }

    /// The margin of each class, if they differ.
    fn class_margins(&self) -> Option<&[f64]> {
        match self {
            Self::ArcFace(margin) => margin.class_margins.as_deref(),
            Self::CosFace(margin) => margin.class_margins.as_deref(),
            Self::None | Self::Combined(_) | Self::SphereFace(_) | Self::AdaFace(_) => None,
        }
    }

    /// Gives new classes the margin that all have by default.
    fn extend_class_margins(&mut self, num_classes: usize) {
        let (margins, margin) = match self {
            Self::ArcFace(arcface) => (&mut arcface.class_margins, arcface.margin),
            Self::CosFace(cosface) => (&mut cosface.class_margins, cosface.margin),
            Self::None | Self::Combined(_) | Self::SphereFace(_) | Self::AdaFace(_) => return,
        };
        if let Some(margins) = margins {
            margins.resize(num_classes, margin);
        }
    }

    fn check_class_margins(
        &self,
        num_classes: usize,
        check: impl Fn(f64) -> Result<f64, SettingError>,
    ) -> Result<(), LossError> {
        let name = "class_margins";
        let Some(margins) = self.class_margins() else {
            return Ok(());
        };
        if margins.len() != num_classes {
            return Err(LossError::ClassCount {
                name,
                found: margins.len(),
                num_classes,
            });
        }
        for (class, margin) in margins.iter().enumerate() {
            check(*margin).map_err(|SettingError { rule, .. }| LossError::ClassValue {
                name,
                class,
                value: *margin,
                rule,
            })?;
        }
        Ok(())
    }

    /// The factor of all cosines, for a configured scale.
    fn scale(&self, scale: f64) -> Scale {
        match self {
            Self::SphereFace(_) => Scale::Length(scale),
            _ => Scale::Fixed(scale),
        }
    }

    /// The largest absolute value of a cosine, if cosines are limited.
    fn bound(&self) -> Option<f64> {
        match self {
            Self::AdaFace(_) => Some(adaface::LARGEST_COSINE),
            _ => None,
        }
    }

    /// The scores at the given angles, for a margin that is multiplied by `factor`.
    ///
    /// `class_margins`, `[batch_size]`, has the margin of each sample if classes differ. `qualities`,
    /// `[batch_size]`, has the quality of each sample under AdaFace.
    fn target_scores(
        &self,
        angles: &TargetAngles,
        factor: f64,
        class_margins: Option<Tensor<1>>,
        qualities: Option<Tensor<1>>,
    ) -> TargetScores {
        let margins = |margin: f64| {
            let (device, dtype) = (angles.angle.device(), angles.angle.dtype());
            match &class_margins {
                Some(margins) => margins.clone().cast(dtype).mul_scalar(factor),
                None => Tensor::full([1], margin * factor, (&device, dtype)),
            }
        };
        match (self, qualities) {
            (Self::ArcFace(margin), _) => margin.target_scores(angles, margins(margin.margin)),
            (Self::CosFace(margin), _) => cosface::target_scores(angles, margins(margin.margin)),
            (Self::Combined(margin), _) => margin.target_scores(angles, margins(margin.m2), factor),
            (Self::SphereFace(margin), _) => margin.target_scores(angles),
            (Self::AdaFace(margin), Some(qualities)) => {
                margin.target_scores(angles, qualities, factor)
            }
            (Self::AdaFace(_), None) => unreachable!("AdaFace has the quality of each sample"),
            (Self::None, _) => TargetScores {
                value: angles.cosine.clone(),
                slope: angles.sine.clone(),
            },
        }
    }
}

/// Margins for classes of different sizes: the smaller a class, the larger its margin.
///
/// ```text
/// r_j = n_j^(-1/4)
/// m_j = least + (most - least) * (r_j - min r) / (max r - min r)
/// ```
///
/// `n_j` is the number of samples of class `j`. The largest class gets `least`, the smallest one `most`. If
/// all classes are of one size, all get `least`. These are the dynamic margins of the winners of Google
/// Landmark Recognition 2020, as mmpretrain computes them, with 0.05 and 0.5.
///
/// # Errors
///
/// [`SettingError`] for a class without samples, and for bounds that are negative, not finite or in the
/// wrong order.
///
/// # Example
///
/// ```
/// use burn_center_loss::margin::class_margins_from_counts;
///
/// let margins = class_margins_from_counts(&[1, 16, 256], 0.2..=0.5)?;
/// let expected = [0.5, 0.2 + 0.3 * (0.5 - 0.25) / (1.0 - 0.25), 0.2];
/// assert!(margins.iter().zip(expected).all(|(m, e): (&f64, f64)| (m - e).abs() < 1e-12));
/// # Ok::<(), burn_center_loss::SettingError>(())
/// ```
///
/// # References
///
/// Qishen Ha, Bo Liu, Fuxu Liu, Peiyuan Liao: Google Landmark Recognition 2020 Competition Third Place
/// Solution, 2020.
#[doc(alias = "DynamicArcFace")]
pub fn class_margins_from_counts(
    counts: &[u64],
    bounds: RangeInclusive<f64>,
) -> Result<Vec<f64>, SettingError> {
    let (least, most) = bounds.into_inner();
    let rule = "it must be finite, not negative, and in the order of the bounds";
    let is_lower = least.is_finite() && least >= 0.0;
    within("the lower bound of the margins", least, is_lower, rule)?;
    let is_upper = most.is_finite() && most >= least;
    within("the upper bound of the margins", most, is_upper, rule)?;
    let name = "the number of samples of a class";
    within(name, 0.0, !counts.contains(&0), "it must be at least 1")?;
    let rarities: Vec<f64> = counts
        .iter()
        .map(|count| (*count as f64).powf(-0.25))
        .collect();
    let smallest = rarities.iter().copied().fold(f64::INFINITY, f64::min);
    let range = rarities.iter().copied().fold(0.0, f64::max) - smallest;
    let margin = |rarity: f64| {
        if range > 0.0 {
            least + (most - least) * (rarity - smallest) / range
        } else {
            least
        }
    };
    Ok(rarities.into_iter().map(margin).collect())
}
