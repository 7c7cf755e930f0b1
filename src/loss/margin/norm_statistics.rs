use burn::module::{Module, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use core::fmt;

use super::adaface::{AdaFace, EPSILON};
use crate::batch::PerSample;
use crate::centers::{Centers, CentersError};
use crate::distance::no_zero;

/// Mean and standard deviation of the lengths of the features, as [`AdaFace`] keeps them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormStatistics {
    /// The running mean.
    pub mean: f64,
    /// The running standard deviation.
    pub std: f64,
}

impl fmt::Display for NormStatistics {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "mean {}, standard deviation {}", self.mean, self.std)
    }
}

/// The statistics on the device: mean and standard deviation, moved in place from `&self`.
#[derive(Module, Debug)]
pub(super) struct RunningNorms {
    /// `[1, 2]`
    values: Centers,
}

impl RunningNorms {
    /// Those of the authors before the first step.
    pub fn new(device: &Device, dtype: FloatDType) -> Self {
        let values = Tensor::<2>::from_data([[20.0, 100.0]], (device, DType::from(dtype)));
        Self {
            values: Centers::new(Param::from_tensor(values), false, dtype),
        }
    }

    /// Mean and standard deviation, `[1, 2]`, without autodiff.
    pub fn values(&self) -> Tensor<2> {
        self.values.constant()
    }

    pub fn replace(&self, values: Tensor<2>) -> Result<(), CentersError> {
        self.values.replace(|_| values)
    }

    /// The statistics after a batch with these lengths and weights, `[batch_size]`, `[1, 2]`.
    pub fn after(&self, lengths: Tensor<1>, weights: Tensor<1>, t_alpha: f64) -> Tensor<2> {
        let before = self.values();
        let total = weights.clone().sum();
        let mean = (lengths.clone() * weights.clone()).sum() / no_zero(total.clone());
        let offsets = lengths - mean.clone();
        let squares = (offsets.clone() * offsets * weights).sum();
        let is_too_few = total.clone().lower_elem(2.0);
        let others = total.sub_scalar(1.0).mask_fill(is_too_few.clone(), 1.0);
        let batch = Tensor::cat(alloc::vec![mean, (squares / others).sqrt()], 0);
        let moved = batch.unsqueeze_dim::<2>(0).mul_scalar(t_alpha)
            + before.clone().mul_scalar(1.0 - t_alpha);
        moved.mask_where(is_too_few.unsqueeze_dim::<2>(0).expand([1, 2]), before)
    }
}

/// The lengths as the statistics take them, `[batch_size]`.
pub(super) fn clipped(lengths: &PerSample, device: &Device, dtype: DType) -> Tensor<1> {
    let lengths = lengths.clone().clamp(EPSILON, 100.0);
    lengths.tensor(device, dtype).cast(dtype)
}

/// `q_i` of lengths as [`clipped`] gives them, for statistics `[1, 2]`; on the host if `like` is.
pub(super) fn qualities(
    margin: &AdaFace,
    lengths: Tensor<1>,
    statistics: Tensor<2>,
    like: &PerSample,
) -> PerSample {
    let statistics = statistics.squeeze_dim::<1>(0);
    let (mean, std) = (
        statistics.clone().narrow(0, 0, 1),
        statistics.narrow(0, 1, 1),
    );
    let qualities = (lengths - mean).mul_scalar(margin.h) / std.add_scalar(EPSILON);
    let qualities = qualities.clamp(-1.0, 1.0);
    match like {
        PerSample::Host(_) => PerSample::Host(qualities.into_data().iter::<f64>().collect()),
        PerSample::Device(angles) => PerSample::Device(qualities.cast(angles.dtype())),
    }
}
