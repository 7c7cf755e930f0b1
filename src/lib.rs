//! Center loss for Burn.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(missing_docs, unsafe_code)]

extern crate alloc;

mod distance;
mod knn;

pub use knn::{
    KnnClassifier, KnnClassifierConfig, KnnError, KnnMetric, KnnVotes, NearestCenter, Neighbors,
};
