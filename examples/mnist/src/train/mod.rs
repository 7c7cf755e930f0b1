//! Training: the loop, what is measured after every epoch, and checkpoints.

pub mod checkpoint;
mod history;
mod snapshot;
mod tally;
mod training;

pub use history::{EpochMetrics, State};
pub use snapshot::Snapshot;
pub use training::{Trained, Training};
