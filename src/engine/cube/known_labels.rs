use burn::tensor::DType;

use crate::batch::{BatchRules, least_and_largest};

/// What a kernel finds a sample to be.
pub(super) struct State;

impl State {
    pub const GOOD: u32 = 0;
    pub const BAD_LABEL: u32 = 1;
    pub const BAD_FEATURES: u32 = 2;
    pub const BAD_WEIGHT: u32 = 3;
    pub const BAD_DISTANCE: u32 = 4;
    pub const IGNORED: u32 = 5;
}

/// The largest class and the ignored label, in numbers that fit into the labels' type.
#[derive(Clone, Copy, Debug)]
pub struct KnownLabels {
    pub(super) last: i64,
    pub(super) ignored: Option<i64>,
}

impl KnownLabels {
    pub(super) fn new(rules: &BatchRules, dtype: DType) -> Self {
        let (least, largest) = least_and_largest(dtype);
        let last = i64::try_from(rules.num_classes - 1).unwrap_or(i64::MAX);
        Self {
            last: last.min(largest),
            ignored: rules
                .ignore_label
                .filter(|label| (least..=largest).contains(label)),
        }
    }
}
