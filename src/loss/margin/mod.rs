//! Softmax with a margin: one driver, and for each margin what it does to the cosine of the own class.

mod adaface;
mod angular;
mod arcface;
mod class_margins;
mod combined;
mod config;
mod cosface;
mod error;
mod init;
#[allow(
    clippy::module_inception,
    reason = "the room and the one idea in it share a name"
)]
mod margin;
mod margin_softmax;
mod nearest_center;
mod norm_statistics;
mod outliers;
mod sphereface;

pub use adaface::AdaFace;
pub use angular::{BeyondPi, MarginGradient};
pub use arcface::ArcFace;
pub use class_margins::class_margins_from_counts;
pub use combined::CombinedMargin;
pub use config::MarginSoftmaxConfig;
pub use cosface::CosFace;
pub use error::MarginSoftmaxError;
pub use margin::Margin;
pub use margin_softmax::MarginSoftmax;
pub use norm_statistics::NormStatistics;
pub use outliers::Outliers;
pub use sphereface::SphereFace;
