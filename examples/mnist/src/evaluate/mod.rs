//! What a trained network makes of a set of samples, and how much of it is right.

mod confusion;
mod embedding;
mod measures;

pub use confusion::Confusion;
pub use embedding::{DEFAULT_K, Embedding, Scores, classes};
pub use measures::{Separation, detections, pairs, verification_lines};
