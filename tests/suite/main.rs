//! The public API, checked from outside: every test runs on each backend the crate was built with.

mod center_accumulation;
mod center_contract;
mod center_errors;
mod center_golden;
mod center_labels;
mod center_masked;
#[cfg(feature = "train")]
mod center_metric;
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
mod margin_contract;
mod margin_errors;
mod margin_golden;
mod margin_numbers;
mod margin_outliers;
mod margin_plain;
mod messages;
#[path = "../models/mod.rs"]
mod models;
mod nearest_center;
mod numbers;
mod proxy_contract;
mod proxy_errors;
mod proxy_golden;
mod proxy_numbers;
mod proxy_plain;
mod several_devices;
mod statistics;
mod storage;
mod tensors;
mod training;
mod workers;
