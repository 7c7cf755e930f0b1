//! What the values of options must be.

use std::ops::Bound::{Excluded, Included};
use std::ops::RangeBounds;
use std::str::FromStr;

use burn_center_loss::ClassBalance;
use clap::builder::{PossibleValuesParser, TypedValueParser};

pub fn count(text: &str) -> Result<usize, String> {
    number(text, 1.., "a whole number from 1 on")
}

pub fn classes(text: &str) -> Result<usize, String> {
    number(text, 2..=256, "a whole number from 2 to 256")
}

/// At most half the side of the smallest images.
pub fn pixels(text: &str) -> Result<usize, String> {
    number(text, 0..=4, "a whole number from 0 to 4")
}

pub fn side(text: &str) -> Result<usize, String> {
    number(text, 1..=4, "a whole number from 1 to 4")
}

pub fn rate(text: &str) -> Result<f64, String> {
    let values = (Excluded(0.0), Included(1.0));
    number(text, values, "above 0 and at most 1")
}

pub fn part(text: &str) -> Result<f64, String> {
    number(text, 0.0..=1.0, "from 0 to 1")
}

pub fn not_negative(text: &str) -> Result<f64, String> {
    number(text, 0.0..=f64::MAX, "a finite number from 0 on")
}

pub fn positive(text: &str) -> Result<f64, String> {
    let values = (Excluded(0.0), Included(f64::MAX));
    number(text, values, "a finite number above 0")
}

fn number<T>(text: &str, values: impl RangeBounds<T>, rule: &str) -> Result<T, String>
where
    T: FromStr + PartialOrd,
{
    let value = text.parse().ok().filter(|value| values.contains(value));
    value.ok_or_else(|| format!("it must be {rule}"))
}

/// The library's choices by name. The library knows nothing of command lines.
pub fn class_balance() -> impl TypedValueParser<Value = ClassBalance> {
    PossibleValuesParser::new(["none", "histogram"]).map(|name| match name.as_str() {
        "histogram" => ClassBalance::Histogram,
        _ => ClassBalance::None,
    })
}
