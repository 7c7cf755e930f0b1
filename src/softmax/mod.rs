//! Softmax losses over the cosines between features and class vectors, with a score of the target class that
//! the loss chooses, such as one with a margin.
//!
//! The work is in two steps. [`target_angles`] gives the angle between each feature and the vector of its
//! class. The loss turns the angles into [`TargetScores`], and [`Softmax::forward`] does the rest, one block of
//! classes after the other, so that no matrix of all scores exists beyond a budget.

mod blocks;
#[cfg(feature = "flex")]
mod host;
mod logits;
mod operations;
#[cfg(feature = "flex")]
mod score_rows;
mod target_angles;
#[cfg(all(test, feature = "flex"))]
mod tests;

use std::ops::Range;

use burn::tensor::{Bool, DType, Int, Tensor};

#[cfg(feature = "flex")]
use crate::backward::custom_backward;
use crate::batch::Weights;
use crate::device::computes_in;
#[cfg(feature = "flex")]
use crate::device::is_flex;
use blocks::Blocks;
#[cfg(feature = "flex")]
use host::HostLoops;
pub(crate) use logits::logits;
use operations::Operations;
pub(crate) use target_angles::TargetAngles;
use target_angles::{pairs, to_closest};

/// The angles between features and the vectors of their classes: with rows `u` and `w` of unit length,
///
/// ```text
/// angle = 2 atan2(|u - w|, |u + w|)
/// ```
///
/// which is exact at 0 and pi too (W. Kahan, How Futile are Mindless Assessments of Roundoff in
/// Floating-Point Computation?, 2006, section 12). The gradients are projections, so that no angle loses its
/// derivative. Sums and roots are in `f64` where the device computes in it.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - centers: `[num_classes * sub_centers, feature_dim]`
/// - classes: `[batch_size]`
pub(crate) fn target_angles(
    features: &Tensor<2>,
    centers: &Tensor<2>,
    classes: &Tensor<1, Int>,
    sub_centers: usize,
) -> TargetAngles {
    #[cfg(feature = "flex")]
    if host::serves(features) {
        return to_closest(features, centers, classes, sub_centers, host::pairs);
    }
    let has_f64 = computes_in(&classes.device(), DType::F64);
    let wide = if has_f64 {
        DType::F64
    } else {
        features.dtype()
    };
    let pairs = |features, centers, rows| pairs(features, centers, rows, wide);
    to_closest(features, centers, classes, sub_centers, pairs)
}

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
    /// Cosines of other classes are limited to `-bound..=bound`, and receive no gradient beyond. Only under a
    /// fixed scale.
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
        self.forward_in_blocks(None)
    }

    /// [`forward`](Self::forward) with a given number of classes in a block.
    fn forward_in_blocks(self, classes: Option<usize>) -> SoftmaxPass {
        let inputs = [self.features.clone(), self.centers.clone()];
        #[cfg(feature = "flex")]
        if host::serves(&self.features) {
            let (losses, blocks) = Blocks::forward(self, classes);
            let engine = Engine::Host(blocks);
            return SoftmaxPass {
                inputs,
                losses,
                engine,
            };
        }
        let (losses, blocks) = Blocks::forward(self, classes);
        let engine = Engine::Operations(blocks);
        SoftmaxPass {
            inputs,
            losses,
            engine,
        }
    }

    fn num_classes(&self) -> usize {
        self.centers.dims()[0] / self.sub_centers
    }

    fn smoothing_per_class(&self) -> f64 {
        self.smoothing / self.num_classes() as f64
    }

    /// The factors of the cosines of each sample, `[batch_size, 1]`, without autodiff.
    fn scales(&self) -> Tensor<2> {
        let norms = column(&self.angles.norms).cast(self.features.dtype());
        match self.scale {
            Scale::Fixed(scale) => norms.full_like(scale),
            Scale::Length(scale) => norms.mul_scalar(scale),
        }
    }

    /// The place of the target class of each sample among some classes, `[batch_size, classes]`.
    fn is_target(&self, classes: &Range<usize>) -> Tensor<2, Bool> {
        let shape = [self.classes.dims()[0], classes.len()];
        let columns = classes.start as i64..classes.end as i64;
        let columns = Tensor::<1, Int>::arange(columns, &self.classes.device());
        let columns = columns.cast(self.classes.dtype()).unsqueeze_dim::<2>(0);
        let targets = self.classes.clone().unsqueeze_dim::<2>(1);
        targets.expand(shape).equal(columns.expand(shape))
    }
}

/// Numbers of the samples, `[batch_size]`, as `[batch_size, 1]`.
fn column(numbers: &Tensor<1>) -> Tensor<2> {
    numbers.clone().unsqueeze_dim(1)
}

/// A softmax after its forward pass.
pub(crate) struct SoftmaxPass {
    /// Features and class vectors, on the graph.
    inputs: [Tensor<2>; 2],
    losses: Tensor<1>,
    engine: Engine,
}

enum Engine {
    #[cfg(feature = "flex")]
    Host(Blocks<HostLoops>),
    Operations(Blocks<Operations>),
}

impl SoftmaxPass {
    /// The losses, `[batch_size]`, without autodiff.
    pub fn losses(&self) -> Tensor<1> {
        self.losses.clone()
    }

    /// The scores of all classes without the margin, `[batch_size, num_classes]`, without autodiff.
    pub fn logits(&self) -> Tensor<2> {
        match &self.engine {
            #[cfg(feature = "flex")]
            Engine::Host(blocks) => blocks.logits(),
            Engine::Operations(blocks) => blocks.logits(),
        }
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
            engine,
        } = self;
        if !inputs.iter().any(Tensor::is_autodiff) {
            return weights.apply(losses);
        }
        let blocks = match engine {
            #[cfg(feature = "flex")]
            Engine::Host(blocks) => return weights.apply(custom_backward(inputs, losses, blocks)),
            Engine::Operations(blocks) => blocks,
        };
        #[cfg(feature = "flex")]
        if is_flex(&losses.device()) {
            return weights.apply(custom_backward(inputs, losses, blocks));
        }
        let coefficients = weights.coefficients(&losses);
        if weights.is_reduced {
            weights.apply(losses) + blocks.sum_on_graph(inputs, coefficients)
        } else {
            weights.apply(losses + blocks.each_on_graph(inputs, coefficients))
        }
    }
}
