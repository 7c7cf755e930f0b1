//! The losses, one file each, and what they have alike.

pub(crate) mod display;
pub(crate) mod logits;
pub(crate) mod surface;

pub(crate) mod center;
pub(crate) mod margin;
pub(crate) mod proxy;
pub(crate) mod statistics;
