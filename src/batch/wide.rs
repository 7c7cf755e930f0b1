use core::ops::{Add, Div, Mul};

/// A number that is finite and not negative, with more exponent than `f64` has.
///
/// Products and quotients of a few such numbers neither overflow nor vanish on the way to a result
/// that `f64` can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wide {
    /// In `1..2`, or 0.
    mantissa: f64,
    exponent: i64,
}

const MANTISSA_BITS: u32 = 52;
const ONE_EXPONENT: i64 = 1023;

impl Wide {
    pub const ZERO: Self = Self {
        mantissa: 0.0,
        exponent: 0,
    };

    pub fn is_zero(self) -> bool {
        self.mantissa == 0.0
    }

    /// The nearest `f64`: infinity above the largest, 0 below the smallest.
    pub fn to_f64(self) -> f64 {
        let Self {
            mut mantissa,
            mut exponent,
        } = self;
        // In steps that are powers of two, so that only the last one can round.
        while exponent > ONE_EXPONENT && mantissa.is_finite() {
            mantissa *= power_of_two(ONE_EXPONENT);
            exponent -= ONE_EXPONENT;
        }
        if exponent < -ONE_EXPONENT + 1 {
            // What is below 2^-1100 is 0 anyway.
            let rest = exponent.max(-1100) + ONE_EXPONENT - 1;
            return mantissa * power_of_two(rest) * power_of_two(-ONE_EXPONENT + 1);
        }
        mantissa * power_of_two(exponent)
    }
}

/// 2 to a power between -1022 and 1023.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + ONE_EXPONENT) as u64) << MANTISSA_BITS)
}

impl From<f64> for Wide {
    fn from(value: f64) -> Self {
        if value == 0.0 {
            return Self::ZERO;
        }
        let (value, shift) = if value < f64::MIN_POSITIVE {
            (value * power_of_two(64), 64)
        } else {
            (value, 0)
        };
        let exponent = (value.to_bits() >> MANTISSA_BITS) as i64 - ONE_EXPONENT;
        Self {
            mantissa: f64::from_bits(
                value.to_bits() & ((1 << MANTISSA_BITS) - 1)
                    | (ONE_EXPONENT as u64) << MANTISSA_BITS,
            ),
            exponent: exponent - shift,
        }
    }
}

impl Mul for Wide {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let product = Self::from(self.mantissa * other.mantissa);
        Self {
            exponent: product.exponent + self.exponent + other.exponent,
            ..product
        }
    }
}

impl Div for Wide {
    type Output = Self;

    /// The quotient; 0 if the divisor is 0, since all that is divided by it is 0 as well.
    fn div(self, divisor: Self) -> Self {
        if divisor.is_zero() {
            return Self::ZERO;
        }
        let quotient = Self::from(self.mantissa / divisor.mantissa);
        Self {
            exponent: quotient.exponent + self.exponent - divisor.exponent,
            ..quotient
        }
    }
}

impl Add for Wide {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (large, small) = match (self.is_zero(), other.is_zero()) {
            (true, _) => return other,
            (_, true) => return self,
            _ if self.exponent < other.exponent => (other, self),
            _ => (self, other),
        };
        // Beyond 100 places nothing is left of the smaller one.
        let places = (large.exponent - small.exponent).min(100);
        let sum = Self::from(large.mantissa + small.mantissa * power_of_two(-places));
        Self {
            exponent: sum.exponent + large.exponent,
            ..sum
        }
    }
}

impl core::iter::Sum for Wide {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>()
                .prop_map(f64::abs)
                .prop_filter("finite", |value| value.is_finite()),
            Just(0.0),
            Just(f64::from_bits(1)),
            Just(f64::MIN_POSITIVE),
            Just(f64::MAX),
        ]
    }

    proptest! {
        #[test]
        fn every_number_comes_back(value in numbers()) {
            prop_assert_eq!(Wide::from(value).to_f64().to_bits(), value.to_bits());
        }

        /// Where `f64` neither overflows nor vanishes, the results are those of `f64`.
        #[test]
        fn arithmetic_is_that_of_f64(a in 1e-70..1e70_f64, b in 1e-70..1e70_f64) {
            let (x, y) = (Wide::from(a), Wide::from(b));
            prop_assert_eq!((x * y).to_f64(), a * b);
            prop_assert_eq!((x / y).to_f64(), a / b);
            prop_assert_eq!((x + y).to_f64(), a + b);
        }

        #[test]
        fn what_is_multiplied_can_be_divided_again(a in numbers(), b in numbers(), c in numbers()) {
            // Rounding may carry the very largest number beyond the last one.
            prop_assume!(a <= f64::MAX / 2.0 && b > 0.0 && c > 0.0);
            let there = Wide::from(a) * b.into() * c.into() * b.into();
            let back = (there / b.into() / c.into() / b.into()).to_f64();
            prop_assert!((back - a).abs() <= 8.0 * f64::EPSILON * a + f64::from_bits(8), "{back} and {a}");
        }
    }

    #[test]
    fn what_f64_cannot_hold() {
        let (most, least) = (Wide::from(f64::MAX), Wide::from(f64::from_bits(1)));
        assert_eq!((most * most).to_f64(), f64::INFINITY);
        assert_eq!((most + most).to_f64(), f64::INFINITY);
        assert_eq!((least * least).to_f64(), 0.0);
        assert_eq!((most / least).to_f64(), f64::INFINITY);
        assert_eq!((least / most).to_f64(), 0.0);
        assert_eq!((least / Wide::ZERO).to_f64(), 0.0);
        assert_eq!((most + least).to_f64(), f64::MAX);
        assert_eq!(
            (Wide::ZERO + least + Wide::ZERO).to_f64(),
            f64::from_bits(1)
        );
    }
}
