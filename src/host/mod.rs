//! Loops over host memory, for the flex backend.

mod center_loss;

pub(crate) use center_loss::{Problem, center_loss};
