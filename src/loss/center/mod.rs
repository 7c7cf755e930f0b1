//! Center loss: its configuration, its rules, and when the centers move.

mod center_loss;
mod config;
mod error;
mod init;
mod nearest_center;
mod pending;
mod rule;
mod statistics;
mod update;
#[cfg(feature = "std")]
mod workers;

pub use center_loss::CenterLoss;
pub use config::CenterLossConfig;
pub use error::CenterLossError;
pub use rule::{DirectRule, Normalization, UpdateRule, UpdateTiming};
pub use statistics::CenterStatistics;
pub use update::CenterUpdate;
