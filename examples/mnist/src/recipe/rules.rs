//! What the values of options must be.

use std::str::FromStr;

use burn_center_loss::ClassBalance;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Half the side of the smallest images.
const MAX_SHIFT: usize = 4;

pub fn count(text: &str) -> Result<usize, String> {
    number(
        text,
        |&value| value > 0,
        "it must be a whole number from 1 on",
    )
}

pub fn classes(text: &str) -> Result<usize, String> {
    let rule = "it must be a whole number from 2 to 256";
    number(text, |value| (2..=256).contains(value), rule)
}

pub fn pixels(text: &str) -> Result<usize, String> {
    let rule = format!("it must be a whole number from 0 to {MAX_SHIFT}");
    number(text, |&value| value <= MAX_SHIFT, &rule)
}

pub fn side(text: &str) -> Result<usize, String> {
    let rule = "it must be a whole number from 1 to 4";
    number(text, |value| (1..=4).contains(value), rule)
}

/// A learning rate, or what one is multiplied by.
pub fn rate(text: &str) -> Result<f64, String> {
    number(
        text,
        |&value| value > 0.0 && value <= 1.0,
        "it must be above 0 and at most 1",
    )
}

pub fn part(text: &str) -> Result<f64, String> {
    number(
        text,
        |value| (0.0..=1.0).contains(value),
        "it must be from 0 to 1",
    )
}

pub fn penalty(text: &str) -> Result<f64, String> {
    number(
        text,
        |value| (0.0..1.0).contains(value),
        "it must be from 0 to below 1",
    )
}

pub fn not_negative(text: &str) -> Result<f64, String> {
    let rule = "it must be a finite number from 0 on";
    number(text, |&value: &f64| value.is_finite() && value >= 0.0, rule)
}

pub fn positive(text: &str) -> Result<f64, String> {
    let rule = "it must be a finite number above 0";
    number(text, |&value: &f64| value.is_finite() && value > 0.0, rule)
}

fn number<T: FromStr>(text: &str, holds: impl Fn(&T) -> bool, rule: &str) -> Result<T, String> {
    match text.parse() {
        Ok(value) if holds(&value) => Ok(value),
        _ => Err(rule.to_owned()),
    }
}

/// The library's choices by name. The library knows nothing of command lines.
const CLASS_BALANCES: [(&str, ClassBalance); 2] = [
    ("none", ClassBalance::None),
    ("histogram", ClassBalance::Histogram),
];

pub fn class_balance() -> impl TypedValueParser<Value = ClassBalance> {
    PossibleValuesParser::new(CLASS_BALANCES.map(|(name, _)| name)).map(|given| {
        let choice = CLASS_BALANCES.iter().find(|(name, _)| *name == given);
        choice.expect("the parser knows the same names").1
    })
}
