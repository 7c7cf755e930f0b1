//! Loss and gradient of a batch, and steps of the centers, by the fastest means that a device has.
//!
//! `operations` works on every backend and is the readable reference. It alone makes errors: an engine
//! that does not support an input, or finds a bad sample in it, leaves the batch to `operations`.

mod accept;
mod addition;
#[cfg(any(feature = "flex", feature = "_kernels"))]
mod autodiff;
mod class_totals;
#[cfg(all(test, any(feature = "flex", feature = "wgpu", feature = "cuda")))]
mod comparison;
mod count;
mod counting;
#[cfg(feature = "_kernels")]
mod cube;
#[cfg(feature = "flex")]
mod host;
mod late_gradients;
mod measure;
mod operations;
mod overflow;
mod problem;
mod softmax;
mod strict;

pub(crate) use accept::{check_centers, check_losses};
pub(crate) use addition::prepare;
pub(crate) use class_totals::class_totals;
pub(crate) use count::count;
pub(crate) use counting::{Counted, Samples};
pub(crate) use measure::measure;
pub(crate) use operations::distances;
pub(crate) use problem::{Measured, Problem, Wants};
pub(crate) use softmax::{Angles, Losses, OwnScores, Scale, Softmax, logits, losses, own_angles};
pub(crate) use strict::Known;
