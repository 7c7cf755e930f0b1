//! Classifiers by distance: k nearest neighbors and nearest center, by exact search.
//!
//! | you want | use |
//! |---|---|
//! | the class of most of the k nearest samples | [`KnnClassifierConfig::fit`] |
//! | the same with samples that count more or less | [`KnnClassifierConfig::fit_weighted`] |
//! | the k nearest samples and their distances | [`KnnClassifier::kneighbors`] |
//! | the class of the nearest center of a loss | `nearest_center` of the loss |
//! | the class of the nearest mean of samples | [`NearestCenter::fit`] |
//! | a classifier in a file | [`KnnClassifierData`], [`NearestCenterData`] |
//!
//! Results are exact: the search leaves no neighbor out, and of equally near ones the one with the lowest index is nearer.

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
