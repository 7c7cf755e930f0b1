//! Softmax losses over the cosines between features and class vectors, with a score of the target class that
//! the loss chooses, such as one with a margin.
//!
//! The work is in two steps. [`target_angles`] gives the angle between each feature and the vector of its
//! class. The loss turns the angles into [`TargetScores`], and [`Softmax::forward`] does the rest: class after
//! class in blocks, so that no matrix of all scores exists beyond a budget.

mod blocks;
#[cfg(feature = "flex")]
mod host;
#[cfg(feature = "flex")]
mod host_gradients;
mod logits;
#[cfg(feature = "flex")]
mod score_rows;
mod target_angles;
#[cfg(all(test, feature = "flex"))]
mod tests;

use std::ops::Range;

use burn::tensor::{Bool, Int, Tensor};

#[cfg(feature = "flex")]
use crate::backward::{Derivative, custom_backward};
use crate::batch::Weights;
#[cfg(feature = "flex")]
use crate::device::is_flex;
use blocks::Blocks;
#[cfg(feature = "flex")]
use host::HostSoftmax;
pub(crate) use logits::logits;
pub(crate) use target_angles::{TargetAngles, target_angles};

/// The factor `r_i` that turns the cosines of a sample into scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// The same number for all samples.
    Fixed(f64),
    /// A number times the norm of the feature.
    Length(f64),
}

/// The score that takes the place of the cosine of the target class, `[batch_size]` each, without autodiff.
#[derive(Clone, Debug)]
pub(crate) struct TargetScores {
    /// In place of the cosine.
    pub value: Tensor<1>,
    /// Minus the derivative of the value by the angle: the sine if the value is the cosine.
    pub slope: Tensor<1>,
}

/// Features, class vectors, and the rule that makes losses of their cosines.
///
/// ```text
/// z_ij = r_i * cos(x_i, w_j)    other classes; w_j the sub-center of class j with the largest cosine
/// z_iy = r_i * value_i          the target class
/// l_i  = log sum_j exp(z_ij) - (1 - smoothing) z_iy - smoothing / num_classes * sum_j z_ij
/// ```
#[derive(Debug)]
pub(crate) struct Softmax {
    /// `[batch_size, feature_dim]`; on the autodiff graph if they receive gradients.
    pub features: Tensor<2>,
    /// `[num_classes * sub_centers, feature_dim]`, the sub-centers of a class one after the other; on the
    /// autodiff graph if they receive gradients.
    pub centers: Tensor<2>,
    /// `[batch_size]`
    pub classes: Tensor<1, Int>,
    pub sub_centers: usize,
    pub scale: Scale,
    /// Cosines of other classes are limited to `-bound..=bound`, and receive no gradient beyond.
    pub bound: Option<f64>,
    pub smoothing: f64,
    pub angles: TargetAngles,
    pub target: TargetScores,
    /// The largest size in bytes of scores that are kept for the backward pass.
    pub budget: usize,
}

impl Softmax {
    /// The losses, and all that their gradients need.
    pub fn forward(self) -> SoftmaxPass {
        let inputs = [self.features.clone(), self.centers.clone()];
        #[cfg(feature = "flex")]
        if host::serves(&self) {
            let (losses, pass) = HostSoftmax::forward(self);
            return SoftmaxPass {
                inputs,
                losses,
                gone_through: GoneThrough::Host(pass),
            };
        }
        let (losses, pass) = Blocks::forward(self, None);
        SoftmaxPass {
            inputs,
            losses,
            gone_through: GoneThrough::Blocks(pass),
        }
    }

    /// The same without autodiff, all floats in the data type of the features.
    fn without_autodiff(self) -> Self {
        let dtype = self.features.dtype();
        Self {
            features: self.features.without_autodiff(),
            centers: self.centers.without_autodiff(),
            target: TargetScores {
                value: self.target.value.without_autodiff().cast(dtype),
                slope: self.target.slope.without_autodiff().cast(dtype),
            },
            ..self
        }
    }

    fn num_classes(&self) -> usize {
        self.centers.dims()[0] / self.sub_centers
    }

    /// The part of each score that smoothing demands.
    fn smoothing_per_class(&self) -> f64 {
        self.smoothing / self.num_classes() as f64
    }

    /// The factor of the cosines of each sample, `[batch_size, 1]`, without autodiff.
    fn scales(&self) -> Tensor<2> {
        let norms = self.angles.norms.clone().cast(self.features.dtype());
        let scales = match self.scale {
            Scale::Fixed(scale) => norms.full_like(scale),
            Scale::Length(scale) => norms.mul_scalar(scale),
        };
        scales.unsqueeze_dim(1)
    }

    /// The place of the target class of each sample among some classes, `[batch_size, classes]`.
    fn is_target(&self, classes: &Range<usize>) -> Tensor<2, Bool> {
        let shape = [self.classes.dims()[0], classes.len()];
        let columns = classes.start as i64..classes.end as i64;
        let columns = Tensor::<1, Int>::arange(columns, &self.classes.device())
            .cast(self.classes.dtype())
            .unsqueeze_dim::<2>(0)
            .expand(shape);
        let targets = self.classes.clone().unsqueeze_dim::<2>(1).expand(shape);
        targets.equal(columns)
    }

    /// Whether all scores are kept for the backward pass, given the size of one in bytes.
    fn keeps_scores(&self, bytes: usize) -> bool {
        let scores = self.features.dims()[0].saturating_mul(self.num_classes());
        let has_gradients = self.features.is_autodiff() || self.centers.is_autodiff();
        has_gradients && scores.saturating_mul(bytes) <= self.budget
    }
}

/// Parts of `0..num_classes` that follow each other, each of `step` classes but the last one.
fn class_ranges(num_classes: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..num_classes)
        .step_by(step)
        .map(move |first| first..(first + step).min(num_classes))
}

/// A softmax after its forward pass.
pub(crate) struct SoftmaxPass {
    /// Features and class vectors, on the graph.
    inputs: [Tensor<2>; 2],
    losses: Tensor<1>,
    gone_through: GoneThrough,
}

/// The way that the forward pass went, with all that the way back needs.
enum GoneThrough {
    #[cfg(feature = "flex")]
    Host(HostSoftmax),
    Blocks(Blocks),
}

impl SoftmaxPass {
    /// The losses, `[batch_size]`, without autodiff.
    pub fn losses(&self) -> Tensor<1> {
        self.losses.clone()
    }

    /// The scores of all classes without the margin, `[batch_size, num_classes]`, without autodiff.
    pub fn logits(&self) -> Tensor<2> {
        let (softmax, kept) = match &self.gone_through {
            #[cfg(feature = "flex")]
            GoneThrough::Host(pass) => (&pass.softmax, pass.kept_cosines()),
            GoneThrough::Blocks(pass) => (&pass.softmax, pass.kept_cosines()),
        };
        // Kept cosines are limited to the bound.
        if let (Some(cosines), None) = (kept, softmax.bound) {
            let target = softmax.angles.cosine.clone().cast(cosines.dtype());
            let target = target.unsqueeze_dim::<2>(1).expand(cosines.dims());
            let is_target = softmax.is_target(&(0..softmax.num_classes()));
            return cosines.mask_where(is_target, target) * softmax.scales();
        }
        let (features, centers) = (softmax.features.clone(), softmax.centers.clone());
        logits(features, centers, softmax.sub_centers, softmax.scale)
    }

    /// The weighed losses, `[batch_size]`, or their sum, `[1]`, on the graph of features and class vectors.
    ///
    /// On flex the gradients are computed in the backward pass. Other backends take no gradients from outside
    /// their graph. There the gradients of a sum are computed at once, and those of single losses need a
    /// matrix of all scores.
    pub fn finish(self, weights: &Weights) -> Tensor<1> {
        let Self {
            inputs,
            losses,
            gone_through,
        } = self;
        if !inputs.iter().any(Tensor::is_autodiff) {
            return weights.apply(losses);
        }
        let pass = match gone_through {
            #[cfg(feature = "flex")]
            GoneThrough::Host(pass) => return weights.apply(custom_backward(inputs, losses, pass)),
            GoneThrough::Blocks(pass) => pass,
        };
        #[cfg(feature = "flex")]
        if is_flex(&losses.device()) {
            return weights.apply(custom_backward(inputs, losses, pass));
        }
        let coefficients = weights.coefficients(&losses);
        if weights.is_reduced {
            weights.apply(losses) + pass.sum_on_graph(inputs, coefficients)
        } else {
            weights.apply(losses + pass.each_on_graph(inputs, coefficients))
        }
    }
}

#[cfg(feature = "flex")]
impl Derivative for Blocks {
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        self.gradients_of(upstream, wanted)
    }
}
