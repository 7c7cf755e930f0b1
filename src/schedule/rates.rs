use std::array::from_fn;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_std::sync::Mutex;

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
