//! How a network is trained: everything that decides the result, the recipes by name, and what a recipe makes.

mod changes;
mod loss;
mod model;
mod optimizer;
mod options;
mod presets;
pub mod rules;

pub use changes::{Changes, value};
pub use loss::{Loss, with_joint};
pub use options::Recipe;
pub use presets::Preset;
