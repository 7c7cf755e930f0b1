//! The pictures: feature maps, galleries of them, charts of lines, and confusion matrices.

mod canvas;
mod chart;
mod feature_map;
mod projection;

pub use canvas::save_gif;
pub use chart::{Chart, Series, charts, confusion_matrix};
pub use feature_map::{Axes, FeatureMap, gallery};
pub use projection::Projection;
