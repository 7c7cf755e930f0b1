//! The public API, checked from outside: every test runs on each backend the crate was built with.

mod center_accumulation;
mod center_contract;
mod center_errors;
mod center_golden;
mod center_labels;
mod center_masked;
mod center_not_finite;
mod center_oracle;
mod center_overflow;
mod center_plain;
mod center_updates;
mod center_weights;
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
mod numbers;
mod statistics;
mod storage;
mod tensors;
mod training;
