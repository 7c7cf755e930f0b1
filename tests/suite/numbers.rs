//! Numbers with more exponent than `f64` has, so that an expected value neither overflows nor vanishes on the way.

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `mantissa * 2^exponent`, where the mantissa is near 1 or the number is 0.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    mantissa: f64,
    exponent: i32,
}

impl Number {
    pub const ZERO: Self = Self {
        mantissa: 0.0,
        exponent: 0,
    };

    fn new(mantissa: f64, exponent: i32) -> Self {
        if mantissa == 0.0 {
            return Self::ZERO;
        }
        let shift = mantissa.abs().log2().floor() as i32;
        Self {
            mantissa: scaled(mantissa, -shift),
            exponent: exponent + shift,
        }
    }

    /// The nearest `f64`: an infinity beyond the largest, 0 below the smallest.
    pub fn to_f64(self) -> f64 {
        scaled(self.mantissa, self.exponent)
    }

    pub fn abs(self) -> Self {
        Self {
            mantissa: self.mantissa.abs(),
            ..self
        }
    }

    pub fn sqrt(self) -> Self {
        let odd = self.exponent.rem_euclid(2);
        let mantissa = scaled(self.mantissa, odd).sqrt();
        Self::new(mantissa, (self.exponent - odd) / 2)
    }

    pub fn max(self, other: Self) -> Self {
        if self < other { other } else { self }
    }

    pub fn is_zero(self) -> bool {
        self.mantissa == 0.0
    }
}

/// `value * 2^exponent` in two steps, since the power alone may be beyond `f64`.
fn scaled(value: f64, exponent: i32) -> f64 {
    let exponent = exponent.clamp(-2200, 2200);
    let half = exponent / 2;
    value * 2.0_f64.powi(half) * 2.0_f64.powi(exponent - half)
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        assert!(value.is_finite(), "{value} is no number");
        Self::new(value, 0)
    }
}

impl Neg for Number {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            mantissa: -self.mantissa,
            ..self
        }
    }
}

impl Add for Number {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (large, small) = match (self.is_zero(), other.is_zero()) {
            (true, _) => return other,
            (_, true) => return self,
            _ if self.exponent < other.exponent => (other, self),
            _ => (self, other),
        };
        let small = scaled(small.mantissa, small.exponent - large.exponent);
        Self::new(large.mantissa + small, large.exponent)
    }
}

impl Sub for Number {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Number {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self::new(
            self.mantissa * other.mantissa,
            self.exponent + other.exponent,
        )
    }
}

impl Div for Number {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        assert!(!other.is_zero(), "{self:?} is divided by 0");
        Self::new(
            self.mantissa / other.mantissa,
            self.exponent - other.exponent,
        )
    }
}

impl Sum for Number {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Add::add)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        (*self - *other).is_zero()
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (*self - *other).mantissa.partial_cmp(&0.0)
    }
}

#[test]
fn products_beyond_f64_come_back() {
    let (most, least) = (Number::from(f64::MAX), Number::from(f64::from_bits(1)));
    assert_eq!((most * most).to_f64(), f64::INFINITY);
    assert_eq!((least * least).to_f64(), 0.0);
    assert_eq!((most * most / most).to_f64(), f64::MAX);
    assert_eq!((least * least / least).to_f64(), f64::from_bits(1));
    assert_eq!((most * most).sqrt().to_f64(), f64::MAX);
    assert_eq!((most - most + least).to_f64(), f64::from_bits(1));
    assert!(least > Number::ZERO && -most < least && most * least < most);
}
