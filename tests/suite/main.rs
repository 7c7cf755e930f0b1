//! The public API, checked from outside: every test runs on each backend the crate was built with.

mod devices;
mod fixtures;
mod knn;
mod nearest_center;
mod tensors;
