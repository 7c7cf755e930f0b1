//! Training: the recorded run, the loop, what is measured after every epoch, and checkpoints.

mod checkpoint;
mod history;
mod job;
mod snapshot;
mod tally;
mod training;

pub use checkpoint::Checkpoint;
pub use job::{TRAIN, Trained, TrainingJob};
pub use snapshot::Snapshot;
