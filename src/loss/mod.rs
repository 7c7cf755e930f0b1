//! Losses that hold a center, prototype or proxy per class. None of them uses another one.

mod center;

pub use center::{
    CenterLoss, CenterLossConfig, CenterLossError, CenterStatistics, CenterUpdate, DirectRule,
    Normalization, Precision, UpdateRule, UpdateTiming,
};
