//! What a trained network makes of a set of samples, and how much of it is right.

mod confusion;
mod embedding;
mod open_set;
mod pairs;

pub use confusion::Confusion;
pub use embedding::{DEFAULT_K, Embedding, Scores, classes};
pub use open_set::detections;
pub use pairs::{Separation, pairs, verification_lines};
