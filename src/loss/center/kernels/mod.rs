//! Loss and update in kernels of our own, on the backends that CubeCL runs: the GPUs, and its CPU.
//!
//! The counterpart of the fused pass for memory that the host can reach. The host knows neither classes nor weights here
//! before it asks, and under deferred checking it must not ask; so the kernels themselves decide which samples count.
//! [`measure`] walks features and centers once and writes the differences, which are both the gradient, up to a number
//! per sample, and the pulls of the update; [`apply`] changes the centers where they are. What is left is arithmetic on
//! one number per sample, in tensor operations.
//!
//! What this does not cover (another distance, a radius, under strict checking a sample that is not as it should be)
//! goes through the tensor operations of [`CenterLoss`], which give the same results up to rounding. So does everything
//! where Burn's fusion is on without this crate's feature of that name: the kernels are not described to it then.

mod apply;
mod grid;
mod in_place;
mod measure;
mod operations;
#[cfg(all(test, feature = "wgpu"))]
mod tests;
mod totals;

pub(super) use in_place::InPlace;

use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Int, Tensor, TensorData, Transaction};
use burn_cubecl::cubecl::ir::AddressType;
use burn_cubecl::tensor::CubeTensor;

use super::batch::limits;
use super::samples::{DeviceSamples, HostSamples, PerSample, Samples};
use super::update::CenterUpdate;
use super::{CenterDistance, CenterLoss, CenterLossConfig, Checking, Input, Reduction};
use crate::loss::known_gradient::with_gradient_of_rows;
use operations::{CenterKernels, are_available};

/// What a kernel finds a sample to be.
struct State;

impl State {
    const READABLE: u32 = 0;
    const BAD_LABEL: u32 = 1;
    const BAD_FEATURES: u32 = 2;
    const BAD_WEIGHT: u32 = 3;
    const IGNORED: u32 = 4;
}

/// What labels may be, in numbers that fit into their type.
#[derive(Clone, Copy, Debug)]
pub struct KnownLabels {
    last: i64,
    ignored: Option<i64>,
}

impl KnownLabels {
    fn new(config: &CenterLossConfig, dtype: DType) -> Self {
        let (least, largest) = limits(dtype);
        let last = i64::try_from(config.num_classes - 1).unwrap_or(i64::MAX);
        Self {
            last: last.min(largest),
            ignored: config
                .ignore_label
                .filter(|label| (least..=largest).contains(label)),
        }
    }
}

/// What [`measure`] finds.
struct Measured {
    /// `[batch_size, feature_dim]`: features minus centers, zero for a sample that does not count.
    offsets: Tensor<2>,
    /// `[3, batch_size]`: two numbers whose product is half the squared distance, and the weight.
    numbers: Tensor<2>,
    /// `[2, batch_size]`: class and state.
    marks: Tensor<2, Int>,
}

impl Measured {
    fn classes(&self) -> Tensor<1, Int> {
        self.marks.clone().narrow(0, 0, 1).squeeze_dim(0)
    }

    fn states(&self) -> Tensor<1, Int> {
        self.marks.clone().narrow(0, 1, 1).squeeze_dim(0)
    }

    fn number(&self, which: usize) -> Tensor<1> {
        self.numbers.clone().narrow(0, which, 1).squeeze_dim(0)
    }
}

impl CenterLoss {
    /// The loss of a batch and what it would do to the centers, which are constants to it; `None` where the tensor
    /// operations must see to it.
    pub(super) fn measure_by_kernels(&self, input: &Input) -> Option<(Tensor<1>, CenterUpdate)> {
        let Input {
            features,
            is_autodiff,
            labels,
            weights,
            ..
        } = input;
        let config = &*self.config;
        let device = self.centers.device();
        if config.distance != CenterDistance::Euclidean || config.radius > 0.0 || !run_on(&device) {
            return None;
        }
        let (dtype, [batch_size, _]) = (features.dtype(), features.dims());
        let weights = match weights {
            Some(weights) => weights.clone().without_autodiff().cast(dtype),
            None => Tensor::ones([batch_size], (&device, dtype)),
        };
        let labels = labels.clone().without_autodiff();
        let (known, index) = (
            KnownLabels::new(config, labels.dtype()),
            device.settings().int_dtype.into(),
        );
        let (offsets, numbers, marks) = Dispatch::center_measure(
            features.clone().without_autodiff().into_dispatch(),
            self.centers.constant().into_dispatch(),
            labels.into_dispatch(),
            weights.into_dispatch(),
            known,
            index,
        );
        let measured = Measured {
            offsets: Tensor::from_dispatch(offsets),
            numbers: Tensor::from_dispatch(numbers),
            marks: Tensor::from_dispatch(marks),
        };
        let offsets = measured.offsets.clone();
        let (values, coefficients, samples) = match config.checking {
            Checking::Strict => self.weigh_on_host(measured, &device)?,
            Checking::Deferred => self.weigh_on_device(measured),
        };
        let values = match is_autodiff {
            true => with_gradient_of_rows(features.clone(), values, offsets.clone(), coefficients),
            false => values,
        };
        Some((values, CenterUpdate::new(offsets, samples)))
    }

    /// Loss, coefficients and samples; `None` if a sample is not as it should be.
    fn weigh_on_host(
        &self,
        measured: Measured,
        device: &Device,
    ) -> Option<(Tensor<1>, Tensor<1>, Samples)> {
        let dtype = measured.numbers.dtype();
        let data = Transaction::default()
            .register(measured.numbers)
            .register(measured.marks)
            .try_execute()
            .ok()?;
        let numbers: Vec<f64> = data[0].iter::<f64>().collect();
        let marks: Vec<i64> = data[1].iter::<i64>().collect();
        let batch_size = marks.len() / 2;
        let (host_classes, states) = marks.split_at(batch_size);
        let good = |state: &i64| {
            [State::READABLE, State::IGNORED]
                .map(i64::from)
                .contains(state)
        };
        if !states.iter().all(good) {
            return None;
        }
        let (one, rest) = numbers.split_at(batch_size);
        let (other, weights) = rest.split_at(batch_size);
        let half_squares = || one.iter().zip(other).map(|(one, other)| one * other);
        let samples = Samples::Host(HostSamples {
            classes: host_classes.iter().map(|class| *class as usize).collect(),
            weights: weights.to_vec(),
            // No entry is longer than its row.
            reach: (2.0 * half_squares().fold(0.0, f64::max)).sqrt(),
        });
        let PerSample::Host(coefficients) = self.coefficients(&samples) else {
            return None;
        };
        let losses = coefficients
            .iter()
            .zip(half_squares())
            .map(|(coefficient, half_square)| coefficient * half_square);
        let values: Vec<f64> = match self.config.reduction {
            Reduction::None => losses.collect(),
            Reduction::Mean | Reduction::Sum => alloc::vec![losses.sum()],
        };
        let upload = |values: Vec<f64>| {
            let shape = [values.len()];
            Tensor::from_data(TensorData::new(values, shape), (device, dtype))
        };
        Some((upload(values), upload(coefficients), samples))
    }

    /// The same without a read: what is not as it should be is counted.
    fn weigh_on_device(&self, measured: Measured) -> (Tensor<1>, Tensor<1>, Samples) {
        self.shared.count(left_out(measured.states()));
        let samples = Samples::Device(Box::new(DeviceSamples {
            classes: measured.classes(),
            weights: measured.number(2),
        }));
        let coefficients = self
            .coefficients(&samples)
            .column(&measured.numbers.device(), measured.numbers.dtype())
            .squeeze_dim::<1>(1);
        let losses = coefficients.clone() * measured.number(0) * measured.number(1);
        let values = match self.config.reduction {
            Reduction::None => losses,
            Reduction::Mean | Reduction::Sum => losses.sum(),
        };
        (values, coefficients, samples)
    }
}

/// How many samples have a bad label, bad features and a bad weight.
fn left_out(states: Tensor<1, Int>) -> Tensor<1, Int> {
    let bad = [State::BAD_LABEL, State::BAD_FEATURES, State::BAD_WEIGHT].map(i64::from);
    let shape = [bad.len(), states.dims()[0]];
    let bad = Tensor::<1, Int>::from_data(bad, (&states.device(), states.dtype()));
    let states = states.unsqueeze_dim::<2>(0).expand(shape);
    let found = states.equal(bad.unsqueeze_dim::<2>(1).expand(shape));
    found.int().sum_dim(1).squeeze_dim(1)
}

/// For each sample the total weight of its class, `[batch_size]`; `None` where the tensor operations must see to it.
pub(super) fn class_totals(classes: &Tensor<1, Int>, weights: &Tensor<1>) -> Option<Tensor<1>> {
    run_on(&weights.device()).then(|| {
        Tensor::from_dispatch(Dispatch::center_totals(
            classes.clone().into_dispatch(),
            weights.clone().into_dispatch(),
        ))
    })
}

fn run_on(device: &Device) -> bool {
    are_available() && matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

/// What all the tensors can be indexed with.
fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors
        .iter()
        .map(|tensor| tensor.required_address_type())
        .max()
        .unwrap_or_default()
}
