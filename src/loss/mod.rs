//! Losses that hold a center, prototype or proxy per class.

mod center;
#[cfg(any(feature = "flex", feature = "_kernels"))]
mod known_gradient;

pub use center::{
    CenterDistance, CenterLoss, CenterLossConfig, CenterLossError, CenterStatistics, CenterUpdate,
    Checking, ClassBalance, Precision, Reduction, Schedule, UpdateRule, UpdateTiming,
};
