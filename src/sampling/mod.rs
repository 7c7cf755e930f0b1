//! Batches that are drawn by class: P classes with K samples each.
//!
//! [`PkBatches`] gives the numbers of the samples of each batch. With the feature `train`, `PkDataLoader` loads them for
//! Burn's `Learner`. [`guide::batches`](crate::guide::batches) has an example.

mod error;
#[cfg(feature = "train")]
mod loader;
mod passes;
mod pk_batches;

pub use error::SamplingError;
#[cfg(feature = "train")]
pub use loader::PkDataLoader;
pub use pk_batches::PkBatches;
