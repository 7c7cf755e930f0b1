//! Relatives of center loss: losses beside a softmax that compare a feature with its center and with other centers.

mod contrastive_center;
mod island;
mod triplet_center;
mod value;

pub use contrastive_center::{ContrastiveCenterLoss, ContrastiveCenterLossConfig};
pub use island::{IslandLoss, IslandLossConfig};
pub use triplet_center::{TripletCenterLoss, TripletCenterLossConfig, TripletDistance};
