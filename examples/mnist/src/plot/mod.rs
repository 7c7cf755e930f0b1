//! The pictures: feature maps, galleries of them, and curves.

mod canvas;
mod curves;
mod feature_map;
mod gallery;
mod legend;
mod matrix;
mod palette;
mod projection;
mod roc;

pub use canvas::save_gif;
pub use curves::{Curves, Series, curves};
pub use feature_map::{Axes, FeatureMap};
pub use gallery::{Panel, gallery};
pub use matrix::confusion_matrix;
pub use projection::Projection;
pub use roc::{Roc, roc};
