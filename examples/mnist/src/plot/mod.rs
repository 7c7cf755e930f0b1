//! The pictures: feature maps, and galleries of them.

mod feature_map;
mod projection;
mod svg;

pub use feature_map::{Axes, FeatureMap, gallery};
pub use projection::Projection;
pub use svg::{DAY, NAMES, NIGHT, pixmap};
