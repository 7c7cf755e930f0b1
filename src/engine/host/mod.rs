//! Loss and steps without tensor operations in between, on the backend whose memory the host reaches.

mod angles;
mod counting;
mod dot;
mod exponential;
mod in_place;
mod measure;
mod memory;
mod pass;
mod samples;
mod score_rows;
mod softmax;
#[cfg(test)]
mod tests;

pub(super) use counting::count;
pub(crate) use in_place::InPlace;
pub(super) use measure::measure;
pub(super) use softmax::{losses, own_angles};
