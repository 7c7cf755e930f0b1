//! The margin that ArcFace, CosFace, the plain normalised softmax and their combinations have in common.

use serde::{Deserialize, Serialize};

use crate::batch::Amount;
use crate::engine::{Angles, OwnScores};

/// What becomes of the own class's cosine where angle and margin together are more than pi, or where the
/// margin does not apply.
///
/// There `cos(theta + m)` would rise again, so that the samples that lie worst were pushed from their own
/// class. `m` is the angular margin.
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
    /// The derivative as if the margin were a constant below the cosine: insightface and opensphere
    /// compute the margin outside autodiff. A training follows another path then, for which the authors
    /// give more stability as the reason.
    Detached,
}

/// `cos(factor * theta + angle) - offset`
pub(super) struct Angular {
    pub factor: f64,
    pub angle: Amount,
    pub offset: Amount,
    pub beyond_pi: BeyondPi,
    pub gradient: MarginGradient,
}

impl Angular {
    /// Value and slope at the given angles.
    pub fn own_scores(self, angles: &Angles) -> OwnScores {
        let Self {
            factor,
            angle,
            offset,
            beyond_pi,
            gradient,
        } = self;
        let (theta, cosine, sine) = (&angles.angle, &angles.cosine, &angles.sine);
        let moved = theta.clone() * factor + angle.clone();
        let (value, slope) = if factor == 1.0 {
            // Cosine and sine of the sum, from those that are at hand.
            let (cos, sin) = (angle.clone().cos(), angle.clone().sin());
            (
                cosine.clone() * cos.clone() - sine.clone() * sin.clone(),
                sine.clone() * cos + cosine.clone() * sin,
            )
        } else {
            (moved.clone().cos(), moved.clone().sin() * factor)
        };
        let value = value - offset.clone();
        // Up to where this holds, and what the cosine is lowered by beyond.
        let beyond = match beyond_pi {
            BeyondPi::Reflect => None,
            BeyondPi::Linear => {
                let lowered = offset + angle.clone() * angle.sin();
                Some((moved, core::f64::consts::PI, lowered))
            }
            BeyondPi::Continuous => {
                let seam = (angle * -1.0 + core::f64::consts::PI) * (1.0 / factor);
                Some((moved, core::f64::consts::PI, offset + seam.cos() + 1.0))
            }
            BeyondPi::Easy => {
                let nothing = Amount::Same(0.0);
                Some((theta.clone(), core::f64::consts::FRAC_PI_2, nothing))
            }
        };
        let (value, exact) = match beyond {
            None => (value, slope),
            Some((angle, limit, lowered)) => {
                let lowered = cosine.clone() - lowered;
                (
                    angle.clone().if_below(limit, value, lowered),
                    angle.if_below(limit, slope, sine.clone()),
                )
            }
        };
        OwnScores {
            value,
            slope: match gradient {
                MarginGradient::Exact => exact,
                MarginGradient::Detached => sine.clone(),
            },
        }
    }
}
