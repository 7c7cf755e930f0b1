//! Batches that are drawn by class.

mod error;
#[cfg(feature = "train")]
mod loader;
mod passes;
mod pk_batches;

pub use error::SamplingError;
#[cfg(feature = "train")]
pub use loader::PkDataLoader;
pub use pk_batches::PkBatches;
