//! Classification by distance: to the k nearest references, or to one center per class.

mod classifier;
mod error;
mod lift;
mod metric;
mod nearest_center;
mod rows;
mod score;
mod search;
mod vote;

pub use classifier::{KnnClassifier, KnnClassifierConfig, Neighbors};
pub use error::KnnError;
pub use metric::KnnMetric;
pub use nearest_center::NearestCenter;
pub use vote::KnnVotes;
