//! Rows of values of any size, and the messages of errors.

use burn::tensor::DType;
use proptest::prelude::*;
use std::fmt::Display;

/// Values of every size that a float type has, zeros, and its limits.
pub fn any_finite(dtype: DType) -> BoxedStrategy<f64> {
    let (max, least) = match dtype {
        DType::F64 => (f64::MAX, f64::from_bits(1)),
        _ => (f64::from(f32::MAX), f64::from(f32::from_bits(1))),
    };
    let (lowest, highest) = (least.log2() as i32, max.log2() as i32);
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(max),
        Just(-max),
        Just(max / 2.0),
        Just(least),
        Just(-least),
        (-1.0..1.0, lowest..highest).prop_map(|(value, exponent)| value * 2.0_f64.powi(exponent)),
        -1.0..1.0,
    ]
    .boxed()
}

/// Two matrices of as many columns, up to 12, so that every way of searching answers some.
pub fn extreme_rows(
    dtype: DType,
    rows: impl Strategy<Value = usize> + Clone,
) -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<Vec<f64>>)> {
    (1_usize..=12, rows, 1_usize..20).prop_flat_map(move |(columns, rows, queries)| {
        let row = prop::collection::vec(any_finite(dtype), columns);
        (
            prop::collection::vec(row.clone(), rows),
            prop::collection::vec(row, queries),
        )
    })
}

/// Asserts that each result is an error with this message.
macro_rules! assert_messages {
    ($($result:expr => $message:expr;)*) => {
        $($crate::messages::assert_message($result, $message);)*
    };
}
pub(crate) use assert_messages;

/// Asserts that the result is an error with this message.
pub fn assert_message<T, E: Display>(result: Result<T, E>, message: impl AsRef<str>) {
    match result {
        Ok(_) => panic!("no error, expected: {}", message.as_ref()),
        Err(error) => assert_eq!(error.to_string(), message.as_ref()),
    }
}
