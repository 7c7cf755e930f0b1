//! One number per sample, on the host or on the device, and arithmetic that is the same on both.

use alloc::vec::Vec;
use burn::tensor::{DType, Device, Tensor, TensorData};
use core::ops::{Add, Mul, Sub};
use num_traits::Float;

use super::error::BatchError;
use super::read::read_values;

/// One number per sample.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which backends are on decides how large it is"
)]
pub(crate) enum PerSample {
    Host(Vec<f64>),
    /// `[batch_size]`
    Device(Tensor<1>),
}

impl PerSample {
    /// The numbers as a column, `[batch_size, 1]`.
    pub fn column(self, device: &Device, dtype: DType) -> Tensor<2> {
        self.tensor(device, dtype).unsqueeze_dim(1)
    }

    /// The numbers as a tensor, `[batch_size]`, in the given type if they were on the host.
    pub fn tensor(self, device: &Device, dtype: DType) -> Tensor<1> {
        match self {
            Self::Host(values) => {
                let rows = values.len();
                Tensor::from_data(TensorData::new(values, [rows]), (device, dtype))
            }
            Self::Device(values) => values,
        }
    }

    /// The numbers on the host.
    pub fn into_values(self) -> Result<Vec<f64>, BatchError> {
        match self {
            Self::Host(values) => Ok(values),
            Self::Device(values) => read_values(values),
        }
    }

    pub fn cos(self) -> Self {
        self.map(Float::cos, Tensor::cos)
    }

    pub fn sin(self) -> Self {
        self.map(Float::sin, Tensor::sin)
    }

    pub fn floor(self) -> Self {
        self.map(Float::floor, Tensor::floor)
    }

    /// The nearest numbers in a range.
    pub fn clamp(self, least: f64, most: f64) -> Self {
        self.map(|x| x.clamp(least, most), |x| x.clamp(least, most))
    }

    /// For each sample `then` if its number is below the limit, `otherwise` if not.
    pub fn if_below(self, limit: f64, then: Self, otherwise: Self) -> Self {
        match (self, then, otherwise) {
            (Self::Host(values), Self::Host(then), Self::Host(otherwise)) => {
                let choices = then.into_iter().zip(otherwise);
                let choose = |(value, (then, other))| if value < limit { then } else { other };
                Self::Host(values.into_iter().zip(choices).map(choose).collect())
            }
            (Self::Device(values), Self::Device(then), Self::Device(other)) => {
                Self::Device(other.mask_where(values.lower_elem(limit), then))
            }
            _ => mixed(),
        }
    }

    /// The numbers of the samples that have another one from `least` to `most`; 0 for the others.
    pub fn where_within(self, other: Self, least: f64, most: f64) -> Self {
        self.with(
            other,
            |number, other| {
                if other < least || other > most {
                    0.0
                } else {
                    number
                }
            },
            |numbers, others| {
                let is_below = others.clone().lower_elem(least);
                numbers.mask_fill(is_below.bool_or(others.greater_elem(most)), 0.0)
            },
        )
    }

    fn map(self, host: impl Fn(f64) -> f64, device: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        match self {
            Self::Host(values) => Self::Host(values.into_iter().map(host).collect()),
            Self::Device(values) => Self::Device(device(values)),
        }
    }

    fn with(
        self,
        other: Self,
        host: impl Fn(f64, f64) -> f64,
        device: impl FnOnce(Tensor<1>, Tensor<1>) -> Tensor<1>,
    ) -> Self {
        match (self, other) {
            (Self::Host(values), Self::Host(others)) => {
                let pairs = values.into_iter().zip(others);
                Self::Host(pairs.map(|(value, other)| host(value, other)).collect())
            }
            (Self::Device(values), Self::Device(others)) => Self::Device(device(values, others)),
            _ => mixed(),
        }
    }
}

fn mixed() -> ! {
    unreachable!("all numbers of one batch come from one engine")
}

impl Add for PerSample {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b, |a, b| a + b)
    }
}

impl Sub for PerSample {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b, |a, b| a - b)
    }
}

impl Mul for PerSample {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b, |a, b| a * b)
    }
}

impl Add<f64> for PerSample {
    type Output = Self;

    fn add(self, other: f64) -> Self {
        self.map(|x| x + other, |x| x.add_scalar(other))
    }
}

impl Mul<f64> for PerSample {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        self.map(|x| x * factor, |x| x.mul_scalar(factor))
    }
}
