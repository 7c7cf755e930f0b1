//! Losses that hold a center, prototype or proxy per class. None of them uses another one.

mod center;
mod margin;
mod proxy;

pub use center::{
    CenterLoss, CenterLossConfig, CenterLossError, CenterStatistics, CenterUpdate, DirectRule,
    Normalization, UpdateRule, UpdateTiming,
};
pub use margin::{
    AdaFace, ArcFace, BeyondPi, CombinedMargin, CosFace, Margin, MarginGradient, MarginSoftmax,
    MarginSoftmaxConfig, MarginSoftmaxError, NormStatistics, Outliers, SphereFace,
    class_margins_from_counts,
};
pub use proxy::{
    Denominator, ProxyAnchor, ProxyAnchorConfig, ProxyError, ProxyNca, ProxyNcaConfig, SoftTriple,
    SoftTripleConfig,
};
