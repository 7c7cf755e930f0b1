//! Center loss: the loss, the rules that move its centers, and the updates that wait.

mod center_loss;
mod pending;
mod rule;

pub use center_loss::{CenterLoss, CenterLossConfig};
pub use rule::{DirectRule, UpdateRule, UpdateTiming};
