//! The public API, checked from outside: every test runs on each backend the crate was built with.

mod angle_statistics;
mod center_accumulation;
mod center_errors;
mod center_golden;
#[cfg(feature = "train")]
mod center_metric;
mod center_plain;
mod center_rules;
mod center_updates;
mod center_weights;
mod checkpoints;
mod contract;
mod devices;
mod distance_golden;
mod distance_numbers;
mod distance_softmax;
mod evaluation_calibration;
mod evaluation_clustering;
#[cfg(feature = "train")]
mod evaluation_metric;
mod evaluation_open_set;
mod evaluation_retrieval;
mod evaluation_score_norm;
mod evaluation_verification;
mod fixtures;
mod integers;
mod knn;
mod margin_golden;
mod margin_numbers;
mod margin_outliers;
mod margin_plain;
mod margin_scales;
mod margin_softmax;
mod messages;
#[path = "../models/mod.rs"]
mod models;
mod nearest_center;
mod pk_batches;
#[cfg(feature = "train")]
mod pk_data_loader;
mod plain;
mod proxy_golden;
mod proxy_losses;
mod proxy_numbers;
mod proxy_plain;
mod relatives;
mod relatives_golden;
mod relatives_numbers;
mod statistics;
mod tensors;
mod training;
