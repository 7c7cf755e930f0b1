//! What every part of the crate says of a setting that it cannot use.

use thiserror::Error;

/// A setting that is outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{name} is {value}: {rule}")]
pub struct SettingError {
    /// The setting's name.
    pub name: &'static str,
    /// The refused value.
    pub value: f64,
    /// The range that the value must be in.
    pub rule: &'static str,
}

/// The value, if it is finite and not negative.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<f64, SettingError> {
    let rule = "it must be finite and not negative";
    within(name, value, value.is_finite() && value >= 0.0, rule)
}

/// The value, if it is between 0 and 1, both included.
pub(crate) fn fraction(name: &'static str, value: f64) -> Result<f64, SettingError> {
    within(
        name,
        value,
        (0.0..=1.0).contains(&value),
        "it must be in 0..=1",
    )
}

/// The value, if it is not zero.
pub(crate) fn at_least_one(name: &'static str, value: u64) -> Result<u64, SettingError> {
    within(name, value as f64, value > 0, "it must be at least 1")?;
    Ok(value)
}

/// The value, if it is an angle from 0 to below pi.
pub(crate) fn radians(name: &'static str, value: f64) -> Result<f64, SettingError> {
    within(
        name,
        value,
        (0.0..core::f64::consts::PI).contains(&value),
        "it must be at least 0 and below pi, in radians (degrees times pi / 180)",
    )
}

/// The value, if it is greater than 0 and finite.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<f64, SettingError> {
    within(
        name,
        value,
        value.is_finite() && value > 0.0,
        "it must be finite and greater than 0",
    )
}

/// The value, if it is within the range that the rule describes.
pub(crate) fn within(
    name: &'static str,
    value: f64,
    is_within: bool,
    rule: &'static str,
) -> Result<f64, SettingError> {
    if is_within {
        Ok(value)
    } else {
        Err(SettingError { name, value, rule })
    }
}
