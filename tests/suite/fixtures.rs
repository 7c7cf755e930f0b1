//! Reads the golden numbers under `tests/fixtures`, or under `CENTER_LOSS_FIXTURES` if that is set.

use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::path::PathBuf;

/// Numbers of a fixture by their names.
pub type Named = HashMap<String, f64>;

/// The cases of one fixture file, whatever their names and however many there are.
///
/// Panics where the file is missing, is not of the expected form or holds no case: a golden test that compares nothing
/// must not pass.
pub fn cases<C: DeserializeOwned>(file: &str) -> Vec<C> {
    #[derive(serde::Deserialize)]
    struct Fixture<C> {
        cases: Vec<C>,
    }
    let path = directory().join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("fixture {}: {error}", path.display()));
    let fixture: Fixture<C> = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("fixture {}: {error}", path.display()));
    assert!(
        !fixture.cases.is_empty(),
        "fixture {} has no cases",
        path.display()
    );
    fixture.cases
}

fn directory() -> PathBuf {
    match std::env::var_os("CENTER_LOSS_FIXTURES") {
        Some(directory) => directory.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
    }
}

/// Asserts that each value is within `tolerance`, relative to the largest absolute expected value, or to a
/// multiple of the smallest normal number of `f32`, whose subnormal numbers have few digits.
pub fn assert_close(name: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{name}: length");
    let least = f64::from(f32::MIN_POSITIVE) / tolerance.max(f64::EPSILON);
    let scale = expected.iter().fold(least, |scale, v| scale.max(v.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            approx::abs_diff_eq!(*a, *e, epsilon = tolerance * scale),
            "{name}[{i}]: {a} is not {e} within {tolerance} of {scale}"
        );
    }
}

/// As [`assert_close`], against the numbers of the same names.
pub fn assert_named(name: &str, actual: &[(&str, f64)], expected: &Named, tolerance: f64) {
    let (names, actual): (Vec<&str>, Vec<f64>) = actual.iter().copied().unzip();
    let expected: Vec<f64> = names.into_iter().map(|name| expected[name]).collect();
    assert_close(name, &actual, &expected, tolerance);
}
