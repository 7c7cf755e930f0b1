//! The public API, checked from outside: every test runs on each backend the crate was built with.

mod center_contract;
mod center_errors;
mod center_golden;
mod center_plain;
mod devices;
mod fixtures;
mod integers;
mod knn;
mod margin_contract;
mod margin_errors;
mod margin_golden;
mod margin_numbers;
mod margin_plain;
mod nearest_center;
mod proxy_contract;
mod proxy_errors;
mod proxy_golden;
mod proxy_numbers;
mod proxy_plain;
mod statistics;
mod storage;
mod tensors;
mod training;
