use num_traits::Float;
use serde::{Deserialize, Serialize};

use super::CenterLossError;

/// How a rate changes from training step to training step: the factor that it is multiplied by.
///
/// Step `t` counts from zero and is kept in the module's record, so that a resumed training goes on where it stopped.
///
/// # Example
///
/// ```
/// use burn_center_loss::Schedule;
///
/// let warmup = Schedule::LinearWarmup { steps: 4 };
/// assert_eq!([0, 1, 3, 9].map(|t| warmup.factor(t)), [0.25, 0.5, 1.0, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,
    /// Rises from `1 / steps` at step 0 to 1 at step `steps - 1`, and stays there.
    LinearWarmup {
        /// How many steps the rise takes; at least 1.
        steps: u64,
    },
    /// `factor^floor(t / every)`.
    StepDecay {
        /// How many steps each level lasts; at least 1.
        every: u64,
        /// What each level is multiplied by; finite and not negative.
        factor: f64,
    },
    /// `gamma^t`.
    ExponentialDecay {
        /// What each step is multiplied by; finite and not negative.
        gamma: f64,
    },
    /// Falls along half a cosine from 1 at step 0 to 0 at step `steps`, and stays there.
    CosineDecay {
        /// How many steps the fall takes; at least 1.
        steps: u64,
    },
}

impl Schedule {
    /// The factor at step `t`.
    pub fn factor(&self, t: u64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::LinearWarmup { steps } => {
                if t >= steps {
                    1.0
                } else {
                    (t + 1) as f64 / steps as f64
                }
            }
            Self::StepDecay { every, factor } => power(factor, t / every.max(1)),
            Self::ExponentialDecay { gamma } => power(gamma, t),
            Self::CosineDecay { steps } => {
                if t >= steps {
                    0.0
                } else {
                    0.5 * (1.0 + Float::cos(core::f64::consts::PI * t as f64 / steps as f64))
                }
            }
        }
    }

    pub(super) fn validate(&self) -> Result<(), CenterLossError> {
        let at_least_one = |name, value: u64| match value {
            0 => Err(CenterLossError::Schedule {
                name,
                value: 0.0,
                rule: "it must be at least 1",
            }),
            _ => Ok(()),
        };
        let not_negative = |name, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(CenterLossError::Schedule {
                name,
                value,
                rule: "it must be finite and not negative",
            }),
        };
        match *self {
            Self::Constant => Ok(()),
            Self::LinearWarmup { steps } => at_least_one("LinearWarmup.steps", steps),
            Self::StepDecay { every, factor } => {
                at_least_one("StepDecay.every", every)?;
                not_negative("StepDecay.factor", factor)
            }
            Self::ExponentialDecay { gamma } => not_negative("ExponentialDecay.gamma", gamma),
            Self::CosineDecay { steps } => at_least_one("CosineDecay.steps", steps),
        }
    }
}

fn power(base: f64, exponent: u64) -> f64 {
    Float::powf(base, exponent as f64)
}
