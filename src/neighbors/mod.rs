//! Exact search for nearest rows, and two classifiers on it: k nearest neighbors, and nearest center.

mod blocks;
mod class_means;
mod classifier;
mod classifier_data;
mod config;
mod direct;
mod error;
mod host_values;
mod indices;
mod inner_product;
mod labels;
mod length;
mod lift;
mod metric;
mod nearest;
mod nearest_center;
mod nearest_center_data;
mod placement;
mod precision;
mod product;
mod rows;
mod score;
mod search;
mod softmin;
mod tree;
mod vote;

pub use classifier::{KnnClassifier, Neighbors};
pub use classifier_data::KnnClassifierData;
pub use config::KnnClassifierConfig;
pub use error::KnnError;
pub use metric::KnnMetric;
pub use nearest_center::NearestCenter;
pub use nearest_center_data::NearestCenterData;
pub use vote::KnnVotes;
