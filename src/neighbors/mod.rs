//! Exact search for nearest rows, and two classifiers on it: k nearest neighbors, and nearest center.

mod comparison;
mod error;
mod knn;
mod labels;
mod lift;
mod metric;
mod nearest;
mod nearest_center;
mod product;
mod rows;
mod sample_weights;
mod search;
mod tree;

pub(crate) use comparison::Comparison;
pub use error::KnnError;
pub use knn::{KnnClassifier, KnnClassifierConfig, KnnClassifierData, KnnWeights, Neighbors};
pub(crate) use labels::read_labels;
pub use metric::KnnMetric;
pub(crate) use nearest::Neighbor;
pub(crate) use nearest_center::class_means;
pub use nearest_center::{NearestCenter, NearestCenterData};
#[cfg(feature = "train")]
pub(crate) use rows::read_values;
pub(crate) use rows::{Rows, check_device};
pub(crate) use search::{DEFAULT_MAX_PAIRS, Search};
