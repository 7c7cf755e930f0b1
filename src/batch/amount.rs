//! A number that all samples have in common, or one for each.

use core::ops::{Add, Mul, Sub};
use num_traits::Float;

use super::per_sample::PerSample;

/// A number that all samples have in common, which costs nothing to compute with, or one for each.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which backends are on decides how large it is"
)]
pub(crate) enum Amount {
    Same(f64),
    Each(PerSample),
}

impl Amount {
    pub fn cos(self) -> Self {
        self.map(Float::cos, PerSample::cos)
    }

    pub fn sin(self) -> Self {
        self.map(Float::sin, PerSample::sin)
    }

    fn map(self, same: impl Fn(f64) -> f64, each: impl FnOnce(PerSample) -> PerSample) -> Self {
        match self {
            Self::Same(number) => Self::Same(same(number)),
            Self::Each(numbers) => Self::Each(each(numbers)),
        }
    }
}

impl Add<f64> for Amount {
    type Output = Self;

    fn add(self, other: f64) -> Self {
        self.map(|x| x + other, |x| x + other)
    }
}

impl Mul<f64> for Amount {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        self.map(|x| x * factor, |x| x * factor)
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Same(one), other) => other + one,
            (Self::Each(one), other) => Self::Each(one + other),
        }
    }
}

impl Mul for Amount {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        match (self, other) {
            (Self::Same(one), other) => other * one,
            (Self::Each(one), other) => Self::Each(one * other),
        }
    }
}

impl Add<Amount> for PerSample {
    type Output = Self;

    fn add(self, other: Amount) -> Self {
        match other {
            Amount::Same(other) => self + other,
            Amount::Each(other) => self + other,
        }
    }
}

impl Sub<Amount> for PerSample {
    type Output = Self;

    fn sub(self, other: Amount) -> Self {
        match other {
            Amount::Same(other) => self + -other,
            Amount::Each(other) => self - other,
        }
    }
}

impl Mul<Amount> for PerSample {
    type Output = Self;

    fn mul(self, other: Amount) -> Self {
        match other {
            Amount::Same(other) => self * other,
            Amount::Each(other) => self * other,
        }
    }
}
