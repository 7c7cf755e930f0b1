//! What Burn does to modules: copies, flags, mappers, records and steps of an optimizer.

use burn::module::{
    Lora, Module, ModuleDisplay, ModuleMapper, ModuleVisitor, Param, ParamId, QLora, Quantizer,
};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{DType, Device, Int, Tensor};

/// What Burn does to modules.
#[derive(Clone, Debug)]
pub enum Change {
    Clone,
    Freeze,
    Unfreeze,
    NoGrad,
    Valid,
    Train,
    Fork(Device),
    ToDevice(Device),
    HalfPrecision,
    QuantizeWeights,
    Lora,
    QLora,
    Materialize,
    /// Another value at this row and column of the centers, as in a bad checkpoint.
    Spoil(usize, usize, f64),
}

pub fn changed<M: Module>(loss: M, change: Change) -> M {
    let quantizer = |loss: &M| {
        let device = &loss.devices()[0];
        let scheme = device.settings().quantization.scheme;
        Quantizer::new(Calibration::MinMax, scheme.with_value(QuantValue::Q8S))
    };
    match change {
        Change::Clone => loss,
        Change::Freeze => loss.freeze(),
        Change::Unfreeze => loss.unfreeze(),
        Change::NoGrad => loss.no_grad(),
        Change::Valid => loss.valid(),
        Change::Train => loss.train(),
        Change::Fork(device) => loss.fork(&device),
        Change::ToDevice(device) => loss.to_device(&device),
        Change::HalfPrecision => loss.map(&mut Cast(DType::F16)),
        Change::QuantizeWeights => {
            let mut quantizer = quantizer(&loss);
            loss.quantize_weights(&mut quantizer)
        }
        Change::Lora => loss.apply_lora(Lora::new(2, 4.0)),
        Change::QLora => {
            let quantizer = quantizer(&loss);
            loss.apply_qlora(QLora::new(Lora::new(2, 4.0), quantizer))
        }
        Change::Materialize => loss.materialize(),
        Change::Spoil(row, column, value) => loss.map(&mut Spoil(Some((row, column, value)))),
    }
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // A cast is no leaf of the graph.
        param.map(|tensor| {
            let is_trained = tensor.is_require_grad();
            tensor.cast(self.0).detach().set_require_grad(is_trained)
        })
    }
}

/// The value at a row and a column of the first parameter, which is the centers.
struct Spoil(Option<(usize, usize, f64)>);

impl ModuleMapper for Spoil {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.take() {
            Some((row, column, value)) => {
                param.map(|tensor| tensor.slice_fill([row..row + 1, column..column + 1], value))
            }
            None => param,
        }
    }
}

/// Values and ids of all parameters.
#[derive(Default)]
pub struct Parameters {
    pub bytes: Vec<Vec<u8>>,
    pub floats: Vec<ParamId>,
}

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.floats.push(param.id);
        self.bytes.push(param.val().into_data().as_bytes().to_vec());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.bytes.push(param.val().into_data().as_bytes().to_vec());
    }
}

pub fn parameters(loss: &impl Module) -> Parameters {
    let mut parameters = Parameters::default();
    loss.visit(&mut parameters);
    parameters
}

/// The id of the parameter that holds the centers, the first one of float type.
pub fn centers_id(loss: &impl Module) -> ParamId {
    parameters(loss).floats[0]
}

pub fn stepped<M: Module + ModuleDisplay>(loss: M, value: &Tensor<1>, rate: f64) -> M {
    let gradients = GradientsParams::from_grads(value.backward(), &loss);
    SgdConfig::new().init().step(rate, loss, gradients)
}
