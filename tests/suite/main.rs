//! The public API, checked from outside: every test runs on each backend the crate was built with.

mod center_contract;
mod center_errors;
mod center_golden;
mod center_plain;
mod devices;
mod evaluation_clustering;
#[cfg(feature = "train")]
mod evaluation_metric;
mod evaluation_open_set;
mod evaluation_retrieval;
mod evaluation_verification;
mod fixtures;
mod integers;
mod knn;
mod nearest_center;
mod statistics;
mod storage;
mod tensors;
mod training;
