//! Loss and steps without tensor operations in between, on the backend whose memory the host reaches.

mod in_place;
mod measure;
mod pass;
#[cfg(test)]
mod tests;

pub(crate) use in_place::InPlace;
pub(super) use measure::measure;
