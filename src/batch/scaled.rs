use alloc::vec::Vec;
use burn::tensor::{DType, Int, Tensor};
use core::ops::{Div, Mul};

use crate::distance::no_zero;

/// Numbers on the device that are finite and not negative, with more exponent than their data type has:
/// `mantissas * 2^exponents`.
///
/// Nothing is read from the device.
#[derive(Clone)]
pub(crate) struct Scaled {
    /// `[samples]`
    mantissas: Tensor<1>,
    /// `[samples]`: whole numbers; `None` if all are 0.
    exponents: Option<Tensor<1>>,
}

impl Scaled {
    /// Numbers of ordinary size.
    pub fn ordinary(numbers: Tensor<1>) -> Self {
        Self {
            mantissas: numbers,
            exponents: None,
        }
    }

    /// Numbers of any size.
    pub fn any(numbers: Tensor<1>) -> Self {
        Self::ordinary(numbers).narrowed().narrowed()
    }

    /// The same numbers with mantissas nearer to 1. Twice is enough for any number of the data type.
    fn narrowed(self) -> Self {
        let Self {
            mantissas,
            exponents,
        } = self;
        let step = step(mantissas.dtype());
        let (least, most) = (power_of_two(-step), power_of_two(step));
        let small = mantissas.clone().lower_elem(power_of_two(-step / 2.0));
        let large = mantissas.clone().greater_elem(power_of_two(step / 2.0));
        let shifts = mantissas
            .zeros_like()
            .mask_fill(small.clone(), -step)
            .mask_fill(large.clone(), step);
        Self {
            mantissas: mantissas
                .clone()
                .mask_where(small, mantissas.clone().mul_scalar(most))
                .mask_where(large, mantissas.mul_scalar(least)),
            exponents: Some(match exponents {
                Some(exponents) => exponents + shifts,
                None => shifts,
            }),
        }
    }

    /// `mantissas * 2^exponents` of numbers that were taken apart before.
    pub fn from_parts(mantissas: Tensor<1>, exponents: Tensor<1>) -> Self {
        Self {
            mantissas,
            exponents: Some(exponents),
        }
    }

    /// The sums that `sum` makes of weights of any size, one sum per sample. Sums of small weights are
    /// made of multiples of them, and so are sums of large weights.
    pub fn sums(weights: &Tensor<1>, sum: impl Fn(Tensor<1>) -> Tensor<1>) -> Self {
        let step = step(weights.dtype());
        let up = sum(weights.clone().mul_scalar(power_of_two(step)));
        let down = sum(weights.clone().mul_scalar(power_of_two(-step)));
        let large = up.clone().greater_elem(power_of_two(1.5 * step));
        let sums = Self {
            exponents: Some(up.full_like(-step).mask_fill(large.clone(), step)),
            mantissas: up.mask_where(large, down),
        };
        sums.narrowed()
    }

    pub fn sqrt(self) -> Self {
        Self {
            mantissas: self.mantissas.sqrt(),
            exponents: self.exponents.map(|exponents| exponents.mul_scalar(0.5)),
        }
    }

    /// 1 more than each number that [`sums`](Self::sums) or [`ordinary`](Self::ordinary) gave.
    pub fn plus_one(self) -> Self {
        let Self {
            mantissas,
            exponents,
        } = self;
        let more = mantissas.clone().add_scalar(1.0);
        let Some(exponents) = exponents else {
            return Self::ordinary(more);
        };
        // A number with an exponent is far from 1: the smaller of the two is nothing beside the larger.
        let small = exponents.clone().lower_elem(0.0);
        let large = exponents.clone().greater_elem(0.0);
        Self {
            mantissas: more
                .mask_where(large, mantissas)
                .mask_fill(small.clone(), 1.0),
            exponents: Some(exponents.mask_fill(small, 0.0)),
        }
    }

    /// The numbers divided by the root of the sum of their squares; zeros stay zeros.
    pub fn normalized(self) -> Self {
        let (exponents, relative) = match self.exponents {
            Some(exponents) => {
                // The exponent of a zero must not be the largest.
                let zero = self.mantissas.clone().equal_elem(0.0);
                let largest = exponents.clone().mask_fill(zero, -LEAST_EXPONENT).max();
                let exponents = exponents - largest;
                let relative = self.mantissas.clone() * powers_of_two(exponents.clone());
                (Some(exponents), relative)
            }
            None => (None, self.mantissas.clone()),
        };
        let root = no_zero((relative.clone() * relative).sum()).sqrt();
        Self {
            mantissas: self.mantissas / root,
            exponents,
        }
    }

    /// The numbers times `2^exponent`.
    pub fn shifted(self, exponent: f64) -> Self {
        let shifted = match self.exponents {
            Some(exponents) => exponents.add_scalar(exponent),
            None => self.mantissas.full_like(exponent),
        };
        Self {
            exponents: Some(shifted),
            ..self
        }
    }

    pub fn mul_scalar(self, factor: f64) -> Self {
        Self {
            mantissas: self.mantissas.mul_scalar(factor),
            ..self
        }
    }

    /// The numbers in their data type: its largest for those beyond, 0 for those below.
    pub fn into_tensor(self) -> Tensor<1> {
        let Some(exponents) = self.exponents else {
            return self.mantissas;
        };
        // In two steps, since the power alone may be beyond the type.
        let half = exponents.clone().mul_scalar(0.5).floor();
        let most = largest(self.mantissas.dtype());
        let numbers = self.mantissas * powers_of_two(half.clone());
        (numbers * powers_of_two(exponents - half)).clamp_max(most)
    }
}

impl Mul for Scaled {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self {
            mantissas: self.mantissas * other.mantissas,
            exponents: match (self.exponents, other.exponents) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            },
        }
    }
}

impl Div for Scaled {
    type Output = Self;

    /// The quotients; a divisor of 0 counts as a mantissa of 1, since all that is divided by it is 0.
    fn div(self, divisor: Self) -> Self {
        Self {
            mantissas: self.mantissas / no_zero(divisor.mantissas),
            exponents: match (self.exponents, divisor.exponents) {
                (Some(one), Some(other)) => Some(one - other),
                (None, Some(other)) => Some(other.neg()),
                (one, None) => one,
            },
        }
    }
}

/// Below the exponent of any number that is made here.
const LEAST_EXPONENT: f64 = 1e4;

/// About half of the exponents that a data type has on either side of 1.
fn step(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 512.0,
        _ => 64.0,
    }
}

fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}

fn power_of_two(exponent: f64) -> f64 {
    num_traits::Float::powi(2.0, exponent as i32)
}

/// 2 to each exponent, or to the nearest exponent that the data type has. From a table, since powers
/// are not exact on every device.
fn powers_of_two(exponents: Tensor<1>) -> Tensor<1> {
    let (device, dtype) = (exponents.device(), exponents.dtype());
    let (least, most) = match dtype {
        DType::F64 => (-1022, 1023),
        _ => (-126, 127),
    };
    let table: Vec<f64> = (least..=most)
        .map(|exponent| power_of_two(f64::from(exponent)))
        .collect();
    let table = Tensor::<1>::from_data(table.as_slice(), (&device, dtype));
    let places: Tensor<1, Int> = exponents
        .clamp(least, most)
        .sub_scalar(least)
        .int()
        .cast(device.settings().int_dtype);
    table.select(0, places)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn on_device(values: &[f64], dtype: DType) -> Tensor<1> {
        Tensor::from_data(values, (&Device::flex(), dtype))
    }

    fn host(tensor: Tensor<1>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    /// From the smallest number of `f32` to the largest, zero included.
    fn numbers() -> impl Strategy<Value = f64> {
        (0..f32::INFINITY.to_bits()).prop_map(|bits| f64::from(f32::from_bits(bits)))
    }

    proptest! {
        #[test]
        fn every_number_comes_back(values in prop::collection::vec(numbers(), 1..5)) {
            let tensor = on_device(&values, DType::F32);
            prop_assert_eq!(host(Scaled::any(tensor.clone()).into_tensor()), values.clone());
            let one = Scaled::ordinary(tensor.clone().ones_like());
            let there = Scaled::any(tensor.clone()) * Scaled::any(tensor.clone());
            let back = there / Scaled::any(tensor) / one;
            for (back, value) in host(back.into_tensor()).iter().zip(&values) {
                approx::assert_relative_eq!(*back, *value, max_relative = 1e-6, epsilon = 1e-44);
            }
        }

        /// Shares of a total are right whatever the sizes of the others.
        #[test]
        fn shares_of_the_sum(values in prop::collection::vec(numbers(), 1..5)) {
            let tensor = on_device(&values, DType::F32);
            let sum = |weights: Tensor<1>| weights.clone().sum().expand(weights.shape());
            let totals = Scaled::sums(&tensor, sum);
            let total: f64 = values.iter().sum();
            let shares = host((Scaled::any(tensor.clone()) / totals.clone()).into_tensor());
            let beside_one = host((Scaled::any(tensor) / totals.plus_one()).into_tensor());
            for i in 0..values.len() {
                let share = if total > 0.0 { values[i] / total } else { 0.0 };
                approx::assert_relative_eq!(shares[i], share, max_relative = 1e-6, epsilon = 1e-44);
                let share = values[i] / (1.0 + total);
                approx::assert_relative_eq!(beside_one[i], share, max_relative = 1e-6, epsilon = 1e-44);
            }
        }
    }

    #[test]
    fn normalized_numbers_have_length_one() {
        for values in [
            vec![3e-40, 4e-40],
            vec![3e38, 2.5e38, 0.0],
            vec![1e-45, 1e38],
        ] {
            let numbers = Scaled::any(on_device(&values, DType::F32)).normalized();
            let squares = host(numbers.into_tensor()).into_iter().map(|x| x * x);
            approx::assert_relative_eq!(squares.sum::<f64>(), 1.0, max_relative = 1e-5);
        }
        let none = Scaled::any(on_device(&[0.0, 0.0], DType::F32)).normalized();
        assert_eq!(host(none.into_tensor()), [0.0, 0.0]);
    }

    #[test]
    fn numbers_beyond_the_type() {
        for (dtype, most) in [(DType::F32, f64::from(f32::MAX)), (DType::F64, f64::MAX)] {
            let values = on_device(&[1.0, 0.0], dtype);
            let huge = Scaled::any(values.clone()).shifted(5000.0);
            assert_eq!(host(huge.into_tensor()), [most, 0.0]);
            let tiny = Scaled::any(values).shifted(-5000.0);
            assert_eq!(host(tiny.into_tensor()), [0.0, 0.0]);
        }
    }
}
