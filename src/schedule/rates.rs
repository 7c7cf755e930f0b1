use alloc::vec::Vec;
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_std::sync::Mutex;

/// The base rates of a loss and the training step that their schedules have reached.
///
/// A leaf module. The record keeps it as six 32-bit integers (step, alpha and lambda, low half
/// first), because an integer tensor carries the bits of an `f64` on every backend. The values live
/// on the host, so that reading them never waits for a device. A tensor exists only while a record
/// is written or read.
#[derive(Debug)]
pub(crate) struct Rates {
    id: ParamId,
    device: Device,
    state: Mutex<RateState>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RateState {
    /// How many training steps have passed.
    pub step: u64,
    /// The rate of the centers; 0 where the loss does not move them itself.
    pub alpha: f64,
    /// The weight of the loss.
    pub lambda: f64,
}

const WORDS: usize = 6;

impl Rates {
    pub fn new(alpha: f64, lambda: f64, device: &Device) -> Self {
        Self {
            id: ParamId::new(),
            device: device.clone().without_autodiff(),
            state: Mutex::new(RateState {
                step: 0,
                alpha,
                lambda,
            }),
        }
    }

    pub fn get(&self) -> RateState {
        *self.state.lock()
    }

    pub fn change(&self, change: impl FnOnce(&mut RateState)) {
        change(&mut self.state.lock());
    }

    fn param(&self) -> Param<Tensor<1, Int>> {
        let words = self.get().words();
        Param::uninitialized(
            self.id,
            move |device, _| Tensor::from_data(TensorData::from(words), device),
            self.device.clone(),
            false,
            [WORDS].into(),
        )
    }

    fn on(&self, device: &Device) -> Self {
        Self {
            id: self.id,
            device: device.clone().without_autodiff(),
            state: Mutex::new(self.get()),
        }
    }
}

impl RateState {
    fn words(self) -> [i32; WORDS] {
        let halves = |bits: u64| [bits as u32 as i32, (bits >> 32) as u32 as i32];
        let [a, b] = halves(self.step);
        let [c, d] = halves(self.alpha.to_bits());
        let [e, f] = halves(self.lambda.to_bits());
        [a, b, c, d, e, f]
    }

    /// `None` if the words are not what [`words`](Self::words) can give.
    fn from_words(words: &[i64]) -> Option<Self> {
        let word = |i: usize| words[i] as u32 as u64;
        if words.len() != WORDS {
            return None;
        }
        let bits = |i: usize| word(i) | word(i + 1) << 32;
        let rate = |i: usize| Some(f64::from_bits(bits(i))).filter(|r| r.is_finite() && *r >= 0.0);
        Some(Self {
            step: bits(0),
            alpha: rate(2)?,
            lambda: rate(4)?,
        })
    }
}

impl Clone for Rates {
    fn clone(&self) -> Self {
        self.on(&self.device)
    }
}

impl Module for Rates {
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

impl ModuleDisplayDefault for Rates {
    fn content(&self, content: Content) -> Option<Content> {
        let RateState {
            step,
            alpha,
            lambda,
        } = self.get();
        content
            .add("step", &step)
            .add("alpha", &alpha)
            .add("lambda", &lambda)
            .optional()
    }
}

impl ModuleDisplay for Rates {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_carry_every_bit() {
        let state = RateState {
            step: u64::MAX - 5,
            alpha: 0.1,
            lambda: 1e-300,
        };
        let words = state.words().map(i64::from);
        assert_eq!(RateState::from_words(&words), Some(state));
    }

    #[test]
    fn words_that_are_no_rates_are_refused() {
        let nan = RateState {
            step: 0,
            alpha: f64::NAN,
            lambda: 0.0,
        };
        assert_eq!(RateState::from_words(&nan.words().map(i64::from)), None);
        assert_eq!(RateState::from_words(&[0; 5]), None);
    }
}
