//! Rates that change over the training steps.

mod rates;
#[allow(
    clippy::module_inception,
    reason = "the room and the one idea in it share a name"
)]
mod schedule;

pub(crate) use rates::{RateState, Rates};
pub use schedule::Schedule;
