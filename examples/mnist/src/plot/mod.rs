//! The pictures: feature maps, galleries of them, charts of lines, and confusion matrices.

mod canvas;
mod chart;
mod feature_map;
mod matrix;
mod points;
mod projection;

pub use canvas::save_gif;
pub use chart::{Chart, Series, charts};
pub use feature_map::{Axes, FeatureMap, gallery};
pub use matrix::confusion_matrix;
pub use projection::Projection;
