use serde::{Deserialize, Serialize};

use crate::error::{SettingError, at_least_one, fraction};

/// The factor that a rate is multiplied by at each training step.
///
/// Every factor is between 0 and 1: a schedule lowers a rate for a time or for good, and never
/// raises it above its base. Step `t` counts from zero. It is kept in the module's record, so that
/// a resumed training continues where it stopped.
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
    /// 0 until step `start`, then `1 - 0.001^((t - start) / steps)`, and 1 from step `start + steps` on: the
    /// margin scheduler of wespeaker.
    ExponentialWarmup {
        /// The step before which the factor is 0.
        start: u64,
        /// How many steps the rise takes; at least 1.
        steps: u64,
    },
    /// `factor^floor(t / every)`.
    StepDecay {
        /// How many steps each level lasts; at least 1.
        every: u64,
        /// What each level is multiplied by; between 0 and 1.
        factor: f64,
    },
    /// `gamma^t`.
    ExponentialDecay {
        /// What each step is multiplied by; between 0 and 1.
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
                if t < steps {
                    (t + 1) as f64 / steps as f64
                } else {
                    1.0
                }
            }
            Self::ExponentialWarmup { start, steps } => {
                let passed = t.saturating_sub(start);
                if passed < steps {
                    1.0 - 1e-3_f64.powf(passed as f64 / steps as f64)
                } else {
                    1.0
                }
            }
            Self::StepDecay { every, factor } => power(factor, t / every.max(1)),
            Self::ExponentialDecay { gamma } => power(gamma, t),
            Self::CosineDecay { steps } => {
                if t < steps {
                    0.5 * (1.0 + (std::f64::consts::PI * t as f64 / steps as f64).cos())
                } else {
                    0.0
                }
            }
        }
    }

    /// Checks that the factor is defined at every step and never above 1.
    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Constant => {}
            Self::LinearWarmup { steps } => {
                at_least_one("LinearWarmup.steps", steps)?;
            }
            Self::ExponentialWarmup { steps, .. } => {
                at_least_one("ExponentialWarmup.steps", steps)?;
            }
            Self::StepDecay { every, factor } => {
                at_least_one("StepDecay.every", every)?;
                fraction("StepDecay.factor", factor)?;
            }
            Self::ExponentialDecay { gamma } => {
                fraction("ExponentialDecay.gamma", gamma)?;
            }
            Self::CosineDecay { steps } => {
                at_least_one("CosineDecay.steps", steps)?;
            }
        }
        Ok(())
    }
}

fn power(base: f64, exponent: u64) -> f64 {
    base.powf(exponent as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedules() -> impl Strategy<Value = Schedule> {
        prop_oneof![
            Just(Schedule::Constant),
            any::<u64>().prop_map(|steps| Schedule::LinearWarmup { steps }),
            (any::<u64>(), any::<u64>())
                .prop_map(|(start, steps)| Schedule::ExponentialWarmup { start, steps }),
            (any::<u64>(), any::<f64>())
                .prop_map(|(every, factor)| Schedule::StepDecay { every, factor }),
            any::<f64>().prop_map(|gamma| Schedule::ExponentialDecay { gamma }),
            (0.0..=1.0).prop_map(|gamma| Schedule::ExponentialDecay { gamma }),
            (any::<u64>(), 0.0..=1.0)
                .prop_map(|(every, factor)| Schedule::StepDecay { every, factor }),
            any::<u64>().prop_map(|steps| Schedule::CosineDecay { steps }),
        ]
    }

    proptest! {
        /// What `validate` lets pass stays between 0 and 1 at every step.
        #[test]
        fn factors_are_fractions(schedule in schedules(), t in any::<u64>(), early in 0_u64..100) {
            if schedule.validate().is_ok() {
                for t in [0, early, t, u64::MAX] {
                    let factor = schedule.factor(t);
                    prop_assert!((0.0..=1.0).contains(&factor), "{schedule:?} at {t}: {factor}");
                }
            }
        }
    }

    #[test]
    fn levels_and_slopes() {
        let decay = Schedule::StepDecay {
            every: 3,
            factor: 0.5,
        };
        assert_eq!([0, 2, 3, 6].map(|t| decay.factor(t)), [1.0, 1.0, 0.5, 0.25]);
        let decay = Schedule::ExponentialDecay { gamma: 0.5 };
        assert_eq!([0, 1, 2].map(|t| decay.factor(t)), [1.0, 0.5, 0.25]);
        let warmup = Schedule::ExponentialWarmup { start: 2, steps: 3 };
        let factors = [0, 2, 3, 4, 5, 6].map(|t| warmup.factor(t));
        for (factor, expected) in factors.into_iter().zip([0.0, 0.0, 0.9, 0.99, 1.0, 1.0]) {
            assert!((factor - expected).abs() < 1e-15, "{factor}");
        }
        let decay = Schedule::CosineDecay { steps: 2 };
        assert_eq!(decay.factor(0), 1.0);
        assert!((decay.factor(1) - 0.5).abs() < 1e-15);
        assert_eq!([2, 3].map(|t| decay.factor(t)), [0.0, 0.0]);
    }

    #[test]
    fn what_is_outside_the_range_is_named() {
        let refused = |schedule: Schedule| schedule.validate().unwrap_err().to_string();
        assert_eq!(
            refused(Schedule::StepDecay {
                every: 5,
                factor: 10.0
            }),
            "StepDecay.factor is 10: it must be in 0..=1"
        );
        assert_eq!(
            refused(Schedule::ExponentialDecay { gamma: f64::NAN }),
            "ExponentialDecay.gamma is NaN: it must be in 0..=1"
        );
        assert_eq!(
            refused(Schedule::CosineDecay { steps: 0 }),
            "CosineDecay.steps is 0: it must be at least 1"
        );
    }
}
