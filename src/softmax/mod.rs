//! Softmax losses over the cosines between features and class vectors, with a score of the target class that
//! the loss chooses, such as one with a margin.
//!
//! The work is in two steps. [`target_angles`] gives the angle between each feature and the vector of its
//! class. The loss turns the angles into [`TargetScores`], and [`Softmax::forward`] does the rest, one block of
//! classes after the other, so that no matrix of all scores exists beyond a budget.
//!
//! [`Distances`] does the same for distances between features and centers.

mod blocks;
mod distances;
#[cfg(feature = "flex")]
mod host;
#[cfg(feature = "flex")]
mod host_pairs;
mod logits;
mod operations;
mod own_distances;
mod pairs;
mod pass;
mod problem;
#[cfg(feature = "flex")]
mod score_rows;
mod target_angles;
#[cfg(all(test, feature = "flex"))]
mod tests;

pub(crate) use distances::{Distances, distance_logits};
pub(crate) use logits::logits;
#[cfg(all(test, feature = "flex"))]
use pass::SoftmaxPass;
pub(crate) use pass::target_angles;
pub(crate) use problem::{Scale, Softmax, TargetScores};
pub(crate) use target_angles::TargetAngles;
