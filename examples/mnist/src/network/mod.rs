//! What is trained: the network, and the loss that has vectors of its own.

mod lenet;
mod model;
mod objective;
mod softmax;

pub use lenet::LeNetPlusPlusConfig;
pub use model::{CENTER_LOSS, Model};
pub use objective::Objective;
pub use softmax::SoftmaxConfig;
