//! Rates that change over the training steps.

use std::array::from_fn;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_std::sync::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::{SettingError, at_least_one, fraction};

/// The factor of a rate over the training steps.
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
        /// The number of steps of the rise; at least 1.
        steps: u64,
    },
    /// 0 until step `start`, then `1 - 0.001^((t - start) / steps)`, and 1 from step `start + steps` on: the
    /// margin scheduler of wespeaker.
    ExponentialWarmup {
        /// The step before which the factor is 0.
        start: u64,
        /// The number of steps of the rise; at least 1.
        steps: u64,
    },
    /// `factor^floor(t / every)`.
    StepDecay {
        /// The number of steps of a level; at least 1.
        every: u64,
        /// The factor from one level to the next; between 0 and 1.
        factor: f64,
    },
    /// `gamma^t`.
    ExponentialDecay {
        /// The factor from one step to the next; between 0 and 1.
        gamma: f64,
    },
    /// Falls along half a cosine from 1 at step 0 to 0 at step `steps`, and stays there.
    CosineDecay {
        /// The number of steps of the fall; at least 1.
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

/// The base rates of a loss and the training step that their schedules have reached.
///
/// A leaf module. The record keeps it as 32-bit integers (the step and the rates, each low half first),
/// because an integer tensor carries the bits of an `f64` on every backend. The values live on the host,
/// so that reading them never waits for a device. A tensor exists only while a record is written or read.
#[derive(Debug)]
pub(crate) struct Rates<const RATES: usize> {
    id: ParamId,
    device: Device,
    state: Mutex<RateState<RATES>>,
    /// The number of records that were loaded.
    loads: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RateState<const RATES: usize> {
    /// How many training steps have passed.
    pub step: u64,
    /// Finite and not negative.
    pub rates: [f64; RATES],
}

impl<const RATES: usize> Rates<RATES> {
    pub fn new(rates: [f64; RATES], device: &Device) -> Self {
        Self {
            id: ParamId::new(),
            device: device.clone().without_autodiff(),
            state: Mutex::new(RateState { step: 0, rates }),
            loads: 0,
        }
    }

    pub fn get(&self) -> RateState<RATES> {
        *self.state.lock()
    }

    /// The number of records that were loaded.
    pub fn loads(&self) -> usize {
        self.loads
    }

    /// One training step passes.
    pub fn pass_step(&self) {
        self.change(|state| state.step += 1);
    }

    pub fn change(&self, change: impl FnOnce(&mut RateState<RATES>)) {
        change(&mut self.state.lock());
    }

    fn param(&self) -> Param<Tensor<1, Int>> {
        let words = self.get().words();
        let length = words.len();
        Param::uninitialized(
            self.id,
            // The device's own integers may be too small.
            move |device, _| {
                Tensor::from_data(TensorData::from(words.as_slice()), (device, DType::I32))
            },
            self.device.clone(),
            false,
            [length].into(),
        )
    }

    fn on(&self, device: &Device) -> Self {
        Self {
            id: self.id,
            device: device.clone().without_autodiff(),
            state: Mutex::new(self.get()),
            loads: self.loads,
        }
    }
}

impl<const RATES: usize> RateState<RATES> {
    fn words(self) -> Vec<i32> {
        let bits = self.rates.map(f64::to_bits);
        let numbers = std::iter::once(self.step).chain(bits);
        numbers
            .flat_map(|bits| [bits as u32 as i32, (bits >> 32) as u32 as i32])
            .collect()
    }

    /// `None` if the words are not what [`words`](Self::words) can give.
    fn from_words(words: &[i64]) -> Option<Self> {
        let word = |i: usize| words[i] as u32 as u64;
        if words.len() != 2 + 2 * RATES {
            return None;
        }
        let bits = |number: usize| word(2 * number) | word(2 * number + 1) << 32;
        let rates: [f64; RATES] = from_fn(|rate| f64::from_bits(bits(1 + rate)));
        let are_rates = rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0);
        are_rates.then(|| Self {
            step: bits(0),
            rates,
        })
    }
}

impl<const RATES: usize> Clone for Rates<RATES> {
    fn clone(&self) -> Self {
        self.on(&self.device)
    }
}

impl<const RATES: usize> Module for Rates<RATES> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, device: &Device) -> Self {
        self.on(device)
    }

    fn to_device(self, device: &Device) -> Self {
        self.on(device)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_int(&self.param());
    }

    fn map<M: ModuleMapper>(mut self, mapper: &mut M) -> Self {
        let param = mapper.map_int(self.param());
        self.id = param.id;
        // A parameter that is still lazy was not touched by the mapper, so that a step of the
        // optimizer reads nothing from the device.
        if param.is_initialized() {
            self.loads += 1;
            let words: Vec<i64> = param.val().into_data().iter::<i64>().collect();
            if let Some(state) = RateState::from_words(&words) {
                self.change(|current| *current = state);
            }
        }
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn train(self) -> Self {
        self
    }

    fn materialize(self) -> Self {
        self
    }
}

impl<const RATES: usize> ModuleDisplayDefault for Rates<RATES> {
    fn content(&self, content: Content) -> Option<Content> {
        let RateState { step, rates } = self.get();
        content
            .add("step", &step)
            .add_debug_attribute("rates", &rates)
            .optional()
    }
}

impl<const RATES: usize> ModuleDisplay for Rates<RATES> {}

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

    #[test]
    fn words_carry_every_bit() {
        let state = RateState {
            step: u64::MAX - 5,
            rates: [0.1, 1e-300],
        };
        assert_eq!(RateState::from_words(&words(state)), Some(state));
    }

    #[test]
    fn words_that_are_no_rates_are_refused() {
        let nan = RateState {
            step: 0,
            rates: [f64::NAN, 0.0],
        };
        assert_eq!(RateState::<2>::from_words(&words(nan)), None);
        assert_eq!(RateState::<2>::from_words(&[0; 5]), None);
    }

    fn words<const RATES: usize>(state: RateState<RATES>) -> Vec<i64> {
        state.words().into_iter().map(i64::from).collect()
    }
}
