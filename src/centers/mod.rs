//! The class centers, and steps that move them in place.

#[allow(
    clippy::module_inception,
    reason = "the room and the one idea in it share a name"
)]
mod centers;
mod error;
mod finite;
mod precision;
mod pulls;
mod start;
mod step;

pub(crate) use centers::{Centers, with_autodiff_of};
pub use error::CentersError;
pub(crate) use finite::check_finite;
pub use precision::Precision;
#[cfg(feature = "flex")]
pub(crate) use pulls::Singles;
pub(crate) use pulls::{Entries, OnDevice, Pulls};
pub(crate) use start::{accepted, drawn};
pub(crate) use step::{Classes, Step, Target, largest_step};
