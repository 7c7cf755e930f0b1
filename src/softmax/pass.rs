use burn::tensor::{DType, Int, Tensor};

use super::blocks::Blocks;
#[cfg(feature = "flex")]
use super::host::{self, HostLoops};
use super::operations::{Operations, sum_on_graph};
use super::problem::Softmax;
use super::target_angles::{TargetAngles, pairs, to_closest};
#[cfg(feature = "flex")]
use crate::backward::custom_backward;
use crate::batch::Weights;
use crate::device::computes_in;
#[cfg(feature = "flex")]
use crate::device::is_flex;

/// The angles between features and the vectors of their classes: with rows `u` and `w` of unit length,
///
/// ```text
/// angle = 2 atan2(|u - w|, |u + w|)            loops on flex
/// angle = atan2(|w - (u.w) u|, u.w)            tensor operations
/// ```
///
/// Both are exact at 0 and pi too (W. Kahan, How Futile are Mindless Assessments of Roundoff in
/// Floating-Point Computation?, 2006, section 12), and the second takes fewer operations. The gradients are
/// projections, so that no angle loses its derivative. Sums and roots are in `f64` where the device computes in it.
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

impl Softmax {
    /// The losses, and all that their gradients need.
    pub fn forward(self) -> SoftmaxPass {
        self.forward_in_blocks(None)
    }

    /// [`forward`](Self::forward) with a given number of classes in a block.
    pub(super) fn forward_in_blocks(self, classes: Option<usize>) -> SoftmaxPass {
        let inputs = [self.features.clone(), self.centers.clone()];
        #[cfg(feature = "flex")]
        if host::serves(&self.features) {
            let (losses, blocks) = Blocks::forward(self, classes);
            let engine = Engine::Host(Box::new(blocks));
            return SoftmaxPass {
                inputs,
                losses,
                engine,
            };
        }
        let (losses, blocks) = Blocks::forward(self, classes);
        let engine = Engine::Operations(Box::new(blocks));
        SoftmaxPass {
            inputs,
            losses,
            engine,
        }
    }
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
    Host(Box<Blocks<HostLoops>>),
    Operations(Box<Blocks<Operations>>),
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
        match engine {
            #[cfg(feature = "flex")]
            Engine::Host(blocks) => weights.apply(custom_backward(inputs, losses, *blocks)),
            Engine::Operations(blocks) => attached(*blocks, inputs, losses, weights),
        }
    }
}

/// The weighed losses on the graph, with gradients by tensor operations.
fn attached(
    blocks: Blocks<Operations>,
    inputs: [Tensor<2>; 2],
    losses: Tensor<1>,
    weights: &Weights,
) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if is_flex(&losses.device()) {
        return weights.apply(custom_backward(inputs, losses, blocks));
    }
    if weights.is_reduced {
        let gradients = |upstream, wanted| blocks.gradients_of(upstream, wanted);
        sum_on_graph(inputs, losses, weights, gradients)
    } else {
        let coefficients = weights.coefficients(&losses);
        weights.apply(losses + blocks.each_on_graph(inputs, coefficients))
    }
}
