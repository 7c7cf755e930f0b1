//! Classification by distance: to the k nearest references, or to one center per class.

mod blocks;
mod classifier;
mod direct;
mod error;
mod lift;
mod metric;
mod nearest;
mod nearest_center;
mod parts;
mod product;
mod rows;
mod score;
mod search;
mod tree;
mod vote;

pub use classifier::{KnnClassifier, KnnClassifierConfig, Neighbors};
pub use error::KnnError;
pub use metric::KnnMetric;
pub(crate) use nearest::Neighbor;
pub use nearest_center::NearestCenter;
pub(crate) use parts::{for_each_part, threads};
pub(crate) use rows::{Rows, check_device};
pub(crate) use search::{DEFAULT_MAX_PAIRS, Search};
pub use vote::KnnVotes;
