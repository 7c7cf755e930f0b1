//! The losses, one file each, and what they have alike.

mod class_means;
pub(crate) mod common;
pub(crate) mod display;
pub(crate) mod logits;
pub(crate) mod statistics;
pub(crate) mod surface;

pub(crate) mod center;
pub(crate) mod distance_softmax;
pub(crate) mod margin;
pub(crate) mod proxy;
pub(crate) mod relatives;
