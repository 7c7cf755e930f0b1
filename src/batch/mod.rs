//! Batches as the losses take them: labels, weights, and what happens to bad samples.
//!
//! A [`LabelledBatch`] holds features, labels and sample weights. [`Checking`] says whether a bad sample is an error at once
//! or is skipped and counted ([`SkippedSamples`]). [`ClassBalance`] says whether frequent classes of a batch weigh less.
//! [`guide::batches`](crate::guide::batches) and [`guide::checking`](crate::guide::checking) have examples.

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
