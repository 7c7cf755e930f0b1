use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::adaface::{AdaFace, EPSILON};
use super::angular::{Angular, BeyondPi, MarginGradient};
use super::arcface::ArcFace;
use super::combined::CombinedMargin;
use super::cosface::CosFace;
use super::error::MarginSoftmaxError;
use super::sphereface::SphereFace;
use crate::batch::{Amount, PerSample};
use crate::engine::{Angles, OwnScores, Scale};

/// What a [`MarginSoftmax`](crate::MarginSoftmax) does to the cosine between a feature and the vector of its
/// class.
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
/// use burn_center_loss::{CosFace, Margin, MarginSoftmaxConfig};
///
/// let config = MarginSoftmaxConfig::new(10, 2).with_margin(CosFace::new().with_margin(0.4).into());
/// assert_eq!(config.margin, Margin::CosFace(CosFace::new().with_margin(0.4)));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Margin {
    /// No margin: the normalised softmax, also known as NormFace and COCO loss.
    #[doc(alias = "NormalizedSoftmax")]
    None,
    /// An angle more.
    ArcFace(ArcFace),
    /// A part of the cosine less.
    CosFace(CosFace),
    /// All three together.
    Combined(CombinedMargin),
    /// A multiple of the angle.
    SphereFace(SphereFace),
    /// An angle and a part of the cosine, which depend on the length of the feature.
    AdaFace(AdaFace),
}

impl Margin {
    /// Checks the margin when it is multiplied by `factor`.
    pub(super) fn validate(
        &self,
        num_classes: usize,
        factor: f64,
    ) -> Result<(), MarginSoftmaxError> {
        match self {
            Self::None => Ok(()),
            Self::ArcFace(margin) => margin.validate(num_classes, factor),
            Self::CosFace(margin) => margin.validate(num_classes, factor),
            Self::Combined(margin) => margin.validate(factor),
            Self::SphereFace(margin) => margin.validate(factor),
            Self::AdaFace(margin) => margin.validate(factor),
        }
    }

    /// The margin of each class, if they differ.
    pub(super) fn class_margins(&self) -> Option<&Vec<f64>> {
        match self {
            Self::ArcFace(margin) => margin.class_margins.as_ref(),
            Self::CosFace(margin) => margin.class_margins.as_ref(),
            Self::None | Self::Combined(_) | Self::SphereFace(_) | Self::AdaFace(_) => None,
        }
    }

    /// What a cosine is multiplied by, for a configured scale.
    pub(super) fn scale(&self, scale: f64) -> Scale {
        match self {
            Self::SphereFace(_) => Scale::Length(scale),
            _ => Scale::Fixed(scale),
        }
    }

    /// What cosines are limited to.
    pub(super) fn bound(&self) -> Option<f64> {
        match self {
            Self::AdaFace(_) => Some(1.0 - EPSILON),
            _ => None,
        }
    }

    /// The most that a changed cosine falls with the angle, per radian.
    pub(super) fn steepest(&self) -> f64 {
        match self {
            Self::Combined(margin) => margin.m1,
            Self::SphereFace(margin) => margin.margin.into(),
            Self::None | Self::ArcFace(_) | Self::CosFace(_) | Self::AdaFace(_) => 1.0,
        }
    }

    /// The changed cosines at the given angles, for a margin that is multiplied by `factor`.
    ///
    /// `class_margins` has the margin of each sample where classes have their own, and `qualities` what
    /// AdaFace makes of the lengths.
    pub(super) fn own_scores(
        &self,
        angles: &Angles,
        factor: f64,
        class_margins: Option<PerSample>,
        qualities: Option<PerSample>,
    ) -> OwnScores {
        let theta = &angles.angle;
        let margins = |margin: f64| match &class_margins {
            Some(margins) => Amount::Each(margins.clone() * factor),
            None => Amount::Same(margin * factor),
        };
        match self {
            Self::None => Angular {
                factor: 1.0,
                angle: Amount::Same(0.0),
                offset: Amount::Same(0.0),
                beyond_pi: BeyondPi::Reflect,
                gradient: MarginGradient::Exact,
            }
            .own_scores(angles),
            Self::ArcFace(margin) => {
                let margins = margins(margin.margin);
                margin.own_scores(angles, margins)
            }
            Self::CosFace(margin) => {
                let margins = margins(margin.margin);
                CosFace::own_scores(angles, margins)
            }
            Self::Combined(margin) => margin.own_scores(angles, factor),
            Self::SphereFace(margin) => margin.own_scores(theta.clone()),
            Self::AdaFace(margin) => {
                let qualities = qualities.map_or(Amount::Same(0.0), Amount::Each);
                margin.own_scores(theta.clone(), qualities, factor)
            }
        }
    }
}

impl From<ArcFace> for Margin {
    fn from(margin: ArcFace) -> Self {
        Self::ArcFace(margin)
    }
}

impl From<CosFace> for Margin {
    fn from(margin: CosFace) -> Self {
        Self::CosFace(margin)
    }
}

impl From<CombinedMargin> for Margin {
    fn from(margin: CombinedMargin) -> Self {
        Self::Combined(margin)
    }
}

impl From<SphereFace> for Margin {
    fn from(margin: SphereFace) -> Self {
        Self::SphereFace(margin)
    }
}

impl From<AdaFace> for Margin {
    fn from(margin: AdaFace) -> Self {
        Self::AdaFace(margin)
    }
}
