//! Softmax losses over distances between features and centers, one block of classes after the other.

use std::ops::Range;

use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use burn_std::sync::Mutex;

use super::blocks::Sums;
#[cfg(feature = "flex")]
use super::host;
#[cfg(feature = "flex")]
use super::host_pairs::HostPairs;
use super::operations::{sum_on_graph, zeros_of};
use super::own_distances::OwnDistances;
use super::pairs::{PairOperations, Pairs, Positions, Upstream};
#[cfg(feature = "flex")]
use crate::backward::{Derivative, custom_backward};
use crate::batch::Weights;
#[cfg(feature = "flex")]
use crate::device::is_flex;
use crate::device::{is_host, runs_shaders};
use crate::distance::{SoftmaxDistance, no_zero};
use crate::reduce::{fusion_barrier, max_dim, sum_dim};

/// Features, centers, and the rule that makes losses of their distances.
///
/// ```text
/// d_ijk = |x_i - c_jk|^2, or |x_i - c_jk|
/// z_ij  = log sum_k exp(-scale d_ijk)                   other classes
/// z_iy  = log sum_k exp(-scale (1 + margin) d_iyk)      the class of the sample
/// l_i   = log sum_j exp(z_ij) - z_iy + pull min_k d_iyk
/// ```
#[derive(Debug)]
pub(crate) struct Distances {
    /// `[batch_size, feature_dim]`; on the autodiff graph if they receive gradients.
    pub features: Tensor<2>,
    /// `[num_classes * sub_centers, feature_dim]`, the centers of a class one after the other; on the autodiff
    /// graph if they receive gradients.
    pub centers: Tensor<2>,
    /// `[batch_size]`
    pub classes: Tensor<1, Int>,
    pub sub_centers: usize,
    pub distance: SoftmaxDistance,
    pub scale: f64,
    pub margin: f64,
    pub pull: f64,
    /// The largest size in bytes of scores that are kept for the backward pass.
    pub budget: usize,
}

/// The scores of classes without margin, `[batch_size, num_classes]`, on the graph of the features: the logarithm of
/// their sums of exponentials. Under squared distances up to a number of the row.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - centers: `[num_classes * sub_centers, feature_dim]`
pub(crate) fn distance_logits(
    features: Tensor<2>,
    centers: &Tensor<2>,
    distance: SoftmaxDistance,
    sub_centers: usize,
    scale: f64,
) -> Tensor<2> {
    let positions = Positions::new(&features, centers, distance, sub_centers, scale);
    let classes = Tensor::zeros([features.dims()[0]], &centers.device().without_autodiff());
    let pairs = pairs(&positions, &classes);
    let blocks = ranges(positions.num_classes(), classes_at_once(&positions));
    let scores = Tensor::cat(blocks.map(|block| pairs.scores(&block)).collect(), 1);
    logits(&positions, on_graph(&positions, scores, features))
}

/// Scores of all centers with the gradients of the features.
fn on_graph(positions: &Positions, scores: Tensor<2>, features: Tensor<2>) -> Tensor<2> {
    if !features.is_autodiff() {
        return scores;
    }
    let centers = positions.centers.clone() - positions.origin.clone();
    let zeros = zeros_of(features);
    let products = zeros.clone().matmul(centers.transpose());
    scores.clone()
        + match positions.distance {
            SoftmaxDistance::SquaredEuclidean => products,
            SoftmaxDistance::Euclidean => {
                let features = positions.features.clone() - positions.origin.clone();
                let is_zero = scores.clone().equal_elem(0.0);
                let along = products - sum_dim(zeros * features, 1);
                (along / no_zero(scores.neg())).mask_fill(is_zero, 0.0)
            }
        }
}

/// The scores of classes from those of their centers.
fn logits(positions: &Positions, scores: Tensor<2>) -> Tensor<2> {
    let exponents = scores.mul_scalar(positions.scale);
    if positions.sub_centers == 1 {
        return exponents;
    }
    let [batch_size, _] = exponents.dims();
    let shape = [batch_size, positions.num_classes(), positions.sub_centers];
    let exponents = exponents.reshape(shape);
    let largest = max_dim(exponents.clone().without_autodiff(), 2);
    let sums = sum_dim((exponents - largest.clone()).exp(), 2);
    (sums.log() + largest).squeeze_dim(2)
}

/// `log(1 + x)` for `x` in `0..=1`, with the digits of a small `x`. Shaders take the logarithm of a rounded sum.
fn log_1p(x: Tensor<2>) -> Tensor<2> {
    let logarithm = x.clone().log1p();
    if !runs_shaders(&x.device()) {
        return logarithm;
    }
    let is_small = x.clone().lower_elem(0.03);
    let series = [1.0 / 3.0, 0.5, 1.0]
        .into_iter()
        .fold(x.full_like(0.25), |sum, coefficient| {
            (x.clone() * sum).neg().add_scalar(coefficient)
        });
    logarithm.mask_where(is_small, x * series)
}

/// The paths that serve a device.
fn pairs(positions: &Positions, classes: &Tensor<1, Int>) -> Box<dyn Pairs> {
    let positions = positions.clone();
    #[cfg(feature = "flex")]
    if host::serves(&positions.features) {
        return Box::new(HostPairs::new(positions, classes));
    }
    Box::new(PairOperations::new(positions, classes))
}

/// The number of classes of a block.
fn classes_at_once(positions: &Positions) -> usize {
    let [batch_size, feature_dim] = positions.features.dims();
    let rows = if is_host(&positions.features.device()) {
        // A few copies of scores and centers stay in the caches.
        ((1 << 20) / batch_size).min((1 << 19) / feature_dim)
    } else {
        (1 << 25) / batch_size
    };
    // Distances that are not squared are differences of whole rows, but in the loops on flex.
    let values = match positions.distance {
        SoftmaxDistance::Euclidean if !has_loops(positions) => feature_dim,
        _ => 1,
    };
    (rows / (positions.sub_centers * values)).max(1)
}

/// Whether the loops over host memory serve the features.
fn has_loops(positions: &Positions) -> bool {
    #[cfg(feature = "flex")]
    return host::serves(&positions.features);
    #[cfg(not(feature = "flex"))]
    {
        let _ = positions;
        false
    }
}

fn ranges(num_classes: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    let firsts = (0..num_classes).step_by(step);
    firsts.map(move |first| first..num_classes.min(first + step))
}

impl Distances {
    /// The losses, and all that their gradients need.
    pub fn forward(self) -> DistancePass {
        self.forward_in_blocks(None)
    }

    /// [`forward`](Self::forward) with a given number of classes in a block.
    pub(super) fn forward_in_blocks(self, step: Option<usize>) -> DistancePass {
        let inputs = [self.features, self.centers];
        let [features, centers] = &inputs;
        let dtype = features.dtype();
        let positions = Positions::new(
            features,
            centers,
            self.distance,
            self.sub_centers,
            self.scale,
        );
        let size = features.dims()[0] * centers.dims()[0] * dtype.size();
        let keeps = inputs.iter().any(Tensor::is_autodiff) && size <= self.budget;
        let own = OwnDistances::new(&positions, &self.classes, self.margin, self.pull > 0.0);
        let pairs = pairs(&positions, &self.classes);
        let step = step.unwrap_or_else(|| classes_at_once(&positions));
        let mut kept = Vec::new();
        let mut sums: Option<Sums> = None;
        for block in ranges(positions.num_classes(), step) {
            let scores = pairs.scores(&block);
            let (scores, found) = pairs.sums(scores, &block);
            sums = Some(match sums {
                Some(sums) => sums.and(found),
                None => found,
            });
            if keeps {
                kept.push(scores);
            }
        }
        let sums = sums.expect("there is at least one class");
        let log_sum = sums.log_sum;
        // How far the other classes lead.
        let wide = log_sum.dtype();
        let lead = log_sum.clone() - own.score.clone().cast(wide);
        let small = lead.clone().abs().neg().exp();
        let mut losses = lead.clone().clamp_min(0.0) + log_1p(small.clone());
        if let Some(nearest) = own.nearest.clone() {
            losses = losses + nearest.cast(wide).mul_scalar(self.pull);
        }
        let leads = lead.greater_elem(0.0);
        let share = small.clone().mask_fill(leads, 1.0) / (small + 1.0);
        let blocks = DistanceBlocks {
            classes: self.classes,
            pairs,
            own,
            step,
            log_sum: log_sum.cast(dtype),
            others: share.cast(dtype),
            pull: self.pull,
            kept: Mutex::new(kept),
            positions,
        };
        DistancePass {
            losses: losses.squeeze_dim(1).cast(dtype),
            inputs,
            blocks,
        }
    }
}

/// A softmax over distances after its forward pass. All tensors are without autodiff.
#[derive(Debug)]
struct DistanceBlocks {
    positions: Positions,
    classes: Tensor<1, Int>,
    pairs: Box<dyn Pairs>,
    own: OwnDistances,
    /// The number of classes of each block but the last one.
    step: usize,
    /// The logarithm of the sum of the exponentials of all other classes, `[batch_size, 1]`.
    log_sum: Tensor<2>,
    /// The probability of all other classes, `[batch_size, 1]`.
    others: Tensor<2>,
    pull: f64,
    /// The scores of the blocks, if they are within the budget, until the backward pass takes them.
    kept: Mutex<Vec<Tensor<2>>>,
}

#[cfg(feature = "flex")]
impl Derivative for DistanceBlocks {
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        self.gradients_of(upstream.unsqueeze_dim(1), wanted)
    }
}

impl DistanceBlocks {
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        ranges(self.positions.num_classes(), self.step)
    }

    /// The derivatives by the logarithm of the sum of the other classes.
    fn upstream(&self, gradient: &Tensor<2>) -> Upstream {
        let is_zero = gradient.clone().equal_elem(0.0);
        let gradient = gradient.clone() * self.others.clone();
        Upstream {
            gradient: gradient.mask_fill(is_zero.clone(), 0.0),
            is_zero,
            log_sum: self.log_sum.clone(),
            from: self.own.from(&self.positions),
        }
    }

    /// The gradients by features and by the centers of their classes, through the distances between them.
    fn own_gradients(
        &self,
        gradient: Tensor<2>,
        upstream: &Upstream,
    ) -> (Option<Tensor<2>>, Tensor<2>) {
        let by_nearest = (self.pull > 0.0).then(|| gradient.mul_scalar(self.pull));
        self.own.gradients(&self.positions, upstream, by_nearest)
    }

    /// The gradients by features and centers, each if it is wanted, from that by the losses, `[batch_size, 1]`.
    fn gradients_of(&self, gradient: Tensor<2>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let upstream = self.upstream(&gradient);
        let (of_features, of_centers) = self.own_gradients(gradient, &upstream);
        let rests = upstream.is_zero.clone();
        let rests = rests.expand(self.positions.features.dims());
        let mut kept = std::mem::take(&mut *self.kept.lock()).into_iter();
        let mut by_features: Option<Tensor<2>> = None;
        let mut by_centers: Option<Tensor<2>> = None;
        for block in self.ranges() {
            let scores = kept.next().unwrap_or_else(|| self.pairs.scores(&block));
            let [features, centers] = self.pairs.gradients(scores, &block, &upstream, wanted);
            by_features = match (by_features, features) {
                (Some(sum), Some(here)) => Some(sum + here),
                (sum, here) => sum.or(here),
            };
            if let Some(here) = centers {
                by_centers = Some(if block.len() == self.positions.num_classes() {
                    here
                } else {
                    // In place, since nothing else has a handle on it. Flex aligns `zeros` for bytes, and copies
                    // them at the first assignment.
                    let all = by_centers.unwrap_or_else(|| self.positions.centers.full_like(0.0));
                    all.slice_assign(self.positions.rows(&block), here)
                });
            }
        }
        let by_features = by_features.map(|by_features| {
            let sum = match of_features {
                Some(of_features) => by_features + of_features,
                None => by_features,
            };
            fusion_barrier(sum.mask_fill(rests, 0.0))
        });
        let by_centers = by_centers.map(|by_centers| {
            let rows = self.own.rows.clone();
            by_centers.select_assign(0, rows, of_centers, IndexingUpdateOp::Add)
        });
        [by_features, by_centers]
    }

    /// Zeros, `[batch_size]`, with the gradients of the losses whose coefficient is not zero. Keeps a matrix of all
    /// scores.
    fn each_on_graph(&self, inputs: [Tensor<2>; 2], coefficients: Tensor<2>) -> Tensor<1> {
        let [features, centers] = inputs;
        let is_zero = coefficients.clone().equal_elem(0.0);
        let ones = coefficients.ones_like().mask_fill(is_zero.clone(), 0.0);
        let mut zeros = coefficients.zeros_like();
        if features.is_autodiff()
            && let [Some(gradient), _] = self.gradients_of(ones.clone(), [true, false])
        {
            zeros = zeros + sum_dim(zeros_of(features) * gradient, 1);
        }
        if centers.is_autodiff() {
            let (gradient, all) = (ones, 0..self.positions.num_classes());
            let upstream = self.upstream(&gradient);
            let operations = PairOperations::new(self.positions.clone(), &self.classes);
            let slopes = operations.slopes(operations.scores(&all), &all, &upstream);
            let changes = zeros_of(centers);
            let Positions { origin, .. } = &self.positions;
            let from = self.positions.features.clone() - origin.clone();
            let to = self.positions.centers.clone() - origin.clone();
            let along = sum_dim(to * changes.clone(), 1);
            let products = from.matmul(changes.clone().transpose());
            let others = sum_dim(products * slopes.clone(), 1) - slopes.matmul(along);
            let (_, of_centers) = self.own_gradients(gradient, &upstream);
            let [batch_size, _] = zeros.dims();
            let own = changes.select(0, self.own.rows.clone()) * of_centers;
            let [rows, columns] = own.dims();
            let own = own.reshape([batch_size, rows / batch_size * columns]);
            zeros = zeros + others + sum_dim(own, 1);
        }
        zeros.mask_fill(is_zero, 0.0).squeeze_dim(1)
    }
}

/// A softmax over distances after its forward pass.
pub(crate) struct DistancePass {
    /// Features and centers, on the graph.
    inputs: [Tensor<2>; 2],
    losses: Tensor<1>,
    blocks: DistanceBlocks,
}

impl DistancePass {
    /// The losses, `[batch_size]`, without autodiff.
    pub fn losses(&self) -> Tensor<1> {
        self.losses.clone()
    }

    /// The [`distance_logits`] without autodiff, from the kept blocks if there are any.
    pub fn logits(&self) -> Tensor<2> {
        let kept = self.blocks.kept.lock().clone();
        let scores = match kept.is_empty() {
            true => {
                let blocks = self.blocks.ranges();
                blocks
                    .map(|block| self.blocks.pairs.scores(&block))
                    .collect()
            }
            false => kept,
        };
        logits(&self.blocks.positions, Tensor::cat(scores, 1))
    }

    /// The weighed losses, `[batch_size]`, or their sum, `[1]`, on the graph of features and centers.
    ///
    /// On flex the gradients are computed in the backward pass. Other backends take no gradients from outside
    /// their graph. There the gradients of a sum are computed at once, and those of single losses need a matrix of
    /// all scores.
    pub fn finish(self, weights: &Weights) -> Tensor<1> {
        let Self {
            inputs,
            losses,
            blocks,
        } = self;
        if !inputs.iter().any(Tensor::is_autodiff) {
            return weights.apply(losses);
        }
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
}
