use alloc::boxed::Box;
use burn::tensor::{Int, Tensor};

use crate::batch::{BatchRules, FittedBatch, Weighing};
use crate::centers::Pulls;
use crate::distance::CenterDistance;

/// A batch, centers, and what is asked of them.
pub(crate) struct Problem<'a> {
    pub batch: FittedBatch,
    /// `[num_classes, feature_dim]`: a constant without autodiff, unless [`tracked`](Self::tracked).
    pub centers: Tensor<2>,
    /// Whether the centers receive gradients.
    pub tracked: bool,
    pub rules: &'a BatchRules,
    pub weighing: Weighing<'a>,
    pub distance: CenterDistance,
    pub radius: f64,
    pub wants: Wants,
}

/// What is asked of an engine besides the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Nothing,
    /// The pulls on the centers, as a value.
    Pulls,
    /// Pulls for a step that is taken before anything else moves the centers. An engine may leave out
    /// the pulls of single samples, see [`Singles`](crate::centers::Singles).
    Step,
}

/// What an engine finds.
pub(crate) struct Measured {
    /// The loss, `[1]`, or one value per sample, `[batch_size]`, without reduction. It belongs to the
    /// autodiff graph of the features.
    pub value: Tensor<1>,
    /// There if asked for.
    pub pulls: Option<Box<Pulls>>,
    /// `[4]`, under deferred checking: how many samples were left out for their label, features, weight
    /// and distance.
    pub left_out: Option<Box<Tensor<1, Int>>>,
}
