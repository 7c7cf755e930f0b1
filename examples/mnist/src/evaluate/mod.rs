//! What a trained network makes of a set of samples, and how much of it is right.

mod confusion;
mod embedding;
mod open_set;
mod scores;
mod separation;
mod verification;

pub use confusion::Confusion;
pub use embedding::{DEFAULT_K, Embedding};
pub use open_set::detections;
pub use scores::Scores;
pub use separation::Separation;
pub use verification::{pairs, verification_lines};
