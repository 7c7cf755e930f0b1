//! What is trained: the network, and the loss that has vectors of its own.

#[cfg(feature = "flex")]
mod convolutions;
mod kernel;
mod lenet;
#[cfg(feature = "flex")]
mod maps;
mod model;
mod objective;
#[cfg(feature = "flex")]
mod trunk;

pub use lenet::LeNetPlusPlusConfig;
pub use model::{CENTER_LOSS, CLASS_VECTORS, Model};
pub use objective::{Objective, Softmax};
