//! The class centers, and updates that move them in place.

#[allow(
    clippy::module_inception,
    reason = "the room and the one idea in it share a name"
)]
mod centers;
mod dtype;
mod normalization;
mod update;

pub(crate) use centers::Centers;
pub use dtype::CenterDType;
pub use normalization::Normalization;
pub use update::CenterUpdate;
