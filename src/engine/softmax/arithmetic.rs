use burn::tensor::{DType, Device};
use num_traits::Float;

use crate::device::computes_in;

/// The data type that angles are computed in, and what holds for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arithmetic {
    pub dtype: DType,
    /// Rows whose largest entry is neither above this nor below its reciprocal are taken as they are.
    pub usual: f64,
    /// What smaller rows are multiplied by, and larger ones divided by: a power of two. Squares then neither
    /// overflow nor vanish.
    pub power: f64,
    /// Up to this sine, feature and class vector are taken for exactly collinear: rounding leaves no direction.
    pub collinear: f64,
}

impl Arithmetic {
    /// In `f64` where the device has it.
    pub fn of(device: &Device, dtype: DType) -> Self {
        Self::new(if computes_in(device, DType::F64) {
            DType::F64
        } else {
            dtype
        })
    }

    pub fn new(dtype: DType) -> Self {
        let (usual, power, collinear) = match dtype {
            DType::F64 => (400, 700, -50),
            _ => (40, 80, -42),
        };
        let [usual, power, collinear] = [usual, power, collinear].map(|n| Float::powi(2.0_f64, n));
        Self {
            dtype,
            usual,
            power,
            collinear,
        }
    }
}
