//! The pictures: feature maps and curves.

mod canvas;
mod curves;
mod feature_map;
mod matrix;
mod palette;
mod projection;

pub use canvas::save_gif;
pub use curves::{Curves, Series, curves};
pub use feature_map::{Axes, FeatureMap};
pub use matrix::confusion_matrix;
pub use projection::Projection;
