//! What every loss does, whatever its kind: one suite over [`LossUnderTest`].

mod case;
mod changes;
mod classes;
mod copies;
mod errors;
mod labels;
mod losses;
mod not_finite;
mod records;
mod resting;
mod values;
mod weights;

use burn_center_loss::margin::{AdaFace, ArcFace, BeyondPi, CombinedMargin};
use burn_center_loss::proxy::Denominator;
use burn_center_loss::relatives::TripletDistance;
use burn_center_loss::{
    CenterDType, CenterDistance, CenterLossConfig, ContrastiveCenterLossConfig,
    DistanceSoftmaxConfig, IslandLossConfig, Margin, MarginSoftmaxConfig, ProxyAnchorConfig,
    ProxyNcaConfig, SoftTripleConfig, SoftmaxDistance, TripletCenterLossConfig, UpdateRule,
};

pub use case::{Case, Found};
pub use changes::{Change, centers_id, changed};
pub use losses::{AnyLoss, LossUnderTest};

use crate::plain::weighings;

/// Every loss in single precision, each with its options.
pub fn all_losses(num_classes: usize, feature_dim: usize) -> Vec<Case> {
    let center = CenterLossConfig::new(num_classes, feature_dim).with_lambda(0.7);
    let cosine = center.clone().with_distance(CenterDistance::Cosine);
    let margin = |margin| {
        let config = MarginSoftmaxConfig::new(num_classes, feature_dim).with_scale(4.0);
        config.with_margin(margin)
    };
    let arcface = ArcFace::new().with_beyond_pi(BeyondPi::Continuous);
    let adaface = AdaFace::new().with_t_alpha(0.6).with_h(1.5);
    let squared = DistanceSoftmaxConfig::new(num_classes, feature_dim);
    let euclidean = squared.clone().with_distance(SoftmaxDistance::Euclidean);
    let nca = ProxyNcaConfig::new(num_classes, feature_dim);
    let triplet_center = TripletCenterLossConfig::new(num_classes, feature_dim);
    // Gradients of the ratio are small beside those of others, and half precision must hold them.
    let contrastive = ContrastiveCenterLossConfig::new(num_classes, feature_dim).with_lambda(1e3);
    let soft_triple = SoftTripleConfig::new(num_classes, feature_dim).with_sub_centers(2);
    vec![
        Case::new(center.clone()),
        Case::new(center.clone().with_update_rule(UpdateRule::mean())),
        Case::new(
            center
                .clone()
                .with_update_rule(UpdateRule::sum())
                .with_radius(0.75),
        ),
        Case::new(center.clone().with_update_rule(UpdateRule::Gradient)),
        Case::new(center.with_update_rule(UpdateRule::Frozen)),
        Case::new(cosine.clone()),
        Case::new(
            cosine
                .with_update_rule(UpdateRule::Gradient)
                .with_radius(0.1),
        ),
        Case::new(margin(Margin::None).with_label_smoothing(0.2)),
        Case::new(margin(Margin::ArcFace(arcface)).with_score_budget(0)),
        Case::new(margin(Margin::arcface(0.5)).with_sub_centers(2)),
        Case::new(
            margin(Margin::cosface(0.35))
                .with_sub_centers(3)
                .with_score_budget(0),
        ),
        Case::new(margin(Margin::Combined(CombinedMargin::new(1.3, 0.4, 0.1)))),
        Case::new(margin(Margin::sphereface(4)).with_scale(1.0)),
        Case::new(margin(Margin::AdaFace(adaface))),
        Case::new(squared.clone().with_scale(0.7)),
        Case::new(squared.with_margin(0.3).with_pull(0.2).with_sub_centers(2)),
        Case::new(
            euclidean
                .clone()
                .with_margin(0.5)
                .with_pull(0.1)
                .with_score_budget(0),
        ),
        Case::new(euclidean.clone().with_sub_centers(3)),
        Case::new(euclidean.with_trained_centers(false)),
        Case::new(ProxyAnchorConfig::new(num_classes, feature_dim).with_scale(8.0)),
        Case::new(nca.clone().with_scale(2.5)),
        Case::new(nca.with_denominator(Denominator::OtherClasses)),
        Case::new(soft_triple.with_scale(5.0).with_gamma(0.4)),
        Case::new(contrastive.with_delta(0.5)),
        Case::new(triplet_center.clone()),
        Case::new(
            triplet_center
                .with_distance(TripletDistance::Euclidean)
                .with_margin(1.5),
        ),
        Case::new(IslandLossConfig::new(num_classes, feature_dim).with_lambda(0.7)),
    ]
}

/// Every loss with every way of weighing and reducing, in `f64`, for four classes of three columns.
pub fn every_case() -> Vec<Case> {
    let losses = all_losses(4, 3).into_iter();
    let cases = losses.flat_map(|case| {
        let case = case.in_type(CenterDType::F64);
        let is_per_sample = case.weighing().is_some();
        // A loss that weighs the samples itself only knows of the ignored label.
        let ways = weighings()
            .into_iter()
            .take(if is_per_sample { 16 } else { 2 });
        ways.map(move |weighing| case.weighed(&weighing))
    });
    cases.collect()
}
