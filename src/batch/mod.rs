//! A labelled batch, checked once.

mod check;
mod labels;
mod skipped;
mod weigh;

pub(crate) use check::{BatchRules, CheckedBatch, largest_if_not_finite, row_magnitudes};
pub use check::{Checking, LabelledBatch};
pub(crate) use labels::index;
#[cfg(feature = "flex")]
pub(crate) use labels::{LabelKind, read_labels};
pub(crate) use skipped::SkippedCounter;
pub use skipped::SkippedSamples;
pub use weigh::ClassBalance;
pub(crate) use weigh::{
    Weighing, Weights, check_class_weights, check_finite, class_totals, class_weights,
};
