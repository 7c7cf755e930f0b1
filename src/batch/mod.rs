//! A labelled batch, checked once.

mod check;
mod labelled_batch;
mod labels;
mod skipped;
mod weigh;

pub use check::Checking;
pub(crate) use check::{BatchRules, CheckedBatch, row_magnitudes};
pub use labelled_batch::LabelledBatch;
pub(crate) use labels::index;
#[cfg(feature = "flex")]
pub(crate) use labels::{LabelKind, read_labels};
pub(crate) use skipped::SkippedCounter;
pub use skipped::SkippedSamples;
pub use weigh::ClassBalance;
pub(crate) use weigh::{
    Weighing, Weights, check_class_weights, check_finite, class_totals, class_weights,
};
