//! Softmax losses over the cosines between features and class vectors, with a changed score of the own
//! class.
//!
//! Which change it is, a margin, is not known here: it comes as a value and a slope for each sample,
//! found from the angles between features and the vectors of their classes. So the work is in two
//! steps: [`own_angles`], and with what became of them [`losses`].

mod angles;
mod arithmetic;
mod blocks;
#[cfg(all(test, feature = "flex"))]
mod comparison;
mod losses;
mod plain;
mod problem;

pub(crate) use angles::own_angles;
#[cfg(feature = "_kernels")]
pub(crate) use arithmetic::Arithmetic;
pub(crate) use losses::{Losses, losses};
pub(crate) use plain::logits;
pub(crate) use problem::{Angles, OwnScores, Scale, Softmax};
