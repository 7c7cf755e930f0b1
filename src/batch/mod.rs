//! A labelled batch: its labels, its weights, and how the losses of its samples become one value.

mod amount;
#[allow(
    clippy::module_inception,
    reason = "the room and the one idea in it share a name"
)]
mod batch;
mod class_weights;
mod error;
mod groups;
mod labels;
mod left_out;
mod per_sample;
mod read;
mod rules;
mod samples;
mod scaled;
mod weighing;
mod wide;

pub(crate) use amount::Amount;
pub use batch::Batch;
pub(crate) use class_weights::ClassWeights;
pub use class_weights::ClassWeightsError;
pub use error::BatchError;
#[cfg(feature = "flex")]
pub(crate) use groups::{Groups, NO_CLASS};
#[cfg(feature = "_kernels")]
pub(crate) use labels::least_and_largest;
pub(crate) use labels::{Meaning, read_labels};
pub use left_out::LeftOut;
pub(crate) use left_out::LeftOutCounter;
pub(crate) use per_sample::PerSample;
pub(crate) use read::read_values;
pub use rules::Checking;
pub(crate) use rules::{BatchRules, FittedBatch};
pub(crate) use samples::{DeviceSamples, HostSamples, index};
pub(crate) use scaled::Scaled;
pub use weighing::ClassBalance;
pub(crate) use weighing::{PerGroup, Weighing, totals_and_shares};
