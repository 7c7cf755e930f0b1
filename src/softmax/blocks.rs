//! The losses of a softmax and their gradients, one block of classes after the other.

use std::fmt::Debug;
use std::ops::Range;

use burn::tensor::{Bool, IndexingUpdateOp, Tensor};
use burn_std::sync::Mutex;

use super::logits::{Cosines, cosines, every, logits};
use super::problem::{Scale, Softmax, TargetScores, column};
use crate::device::is_host;
use crate::distance::{Directions, no_zero};

/// The work on all scores or class vectors of a block, where the time goes. All without autodiff.
pub(super) trait Kernels: Debug + Send + Sync {
    fn of(softmax: &Softmax) -> Self;

    fn directions(&self, rows: Tensor<2>) -> Directions;

    /// The cosines of a block, `[batch_size, classes]`, limited to the bound and with the values of the target
    /// classes in their places, and sums over them.
    fn sums(
        &self,
        softmax: &Softmax,
        cosines: Tensor<2>,
        range: &Range<usize>,
    ) -> (Tensor<2>, Sums);

    /// The derivatives of the losses by the cosines of a block, `[batch_size, classes]`, which are those that
    /// [`sums`](Self::sums) took or gave. That by the target class is zero here.
    fn slopes(
        &self,
        softmax: &Softmax,
        cosines: Tensor<2>,
        range: &Range<usize>,
        upstream: &Upstream,
    ) -> Tensor<2>;

    /// The gradient by rows, from that by their directions. A row that is zero or not finite gets none.
    fn through_directions(&self, by_units: Tensor<2>, rows: &Directions) -> Tensor<2>;
}

/// Sums over some classes, `[batch_size, 1]` each, in one data type.
pub(super) struct Sums {
    /// The logarithm of the sum of the exponentials of the scores.
    pub log_sum: Tensor<2>,
    /// If labels are smoothed.
    pub cosines: Option<Tensor<2>>,
}

impl Sums {
    pub fn and(self, other: Self) -> Self {
        let largest = self.log_sum.clone().max_pair(other.log_sum.clone());
        let exponential = |log_sum: Tensor<2>| (log_sum - largest.clone()).exp();
        let sum = exponential(self.log_sum) + exponential(other.log_sum);
        let cosines = self.cosines.zip(other.cosines);
        Self {
            log_sum: sum.log() + largest,
            cosines: cosines.map(|(one, other)| one + other),
        }
    }
}

/// The gradient that arrives for the losses, `[batch_size, 1]` each.
pub(super) struct Upstream {
    pub gradient: Tensor<2>,
    /// The samples without any gradient. They take no part, whatever their scores are.
    is_zero: Tensor<2, Bool>,
    /// The logarithm of the sum of the exponentials of all scores. Where the gradient is zero, it is so large
    /// that all probabilities are zero.
    pub log_sum: Tensor<2>,
}

/// A softmax after its forward pass. All tensors are without autodiff.
#[derive(Debug)]
pub(super) struct Blocks<K> {
    pub softmax: Softmax,
    pub kernels: K,
    /// Of the features.
    pub directions: Directions,
    /// The number of classes of each block but the last one.
    step: usize,
    /// The values of the target classes and their slopes, `[batch_size, 1]`.
    pub target: [Tensor<2>; 2],
    /// `[batch_size, 1]`, in the data type of the sums.
    log_sum: Tensor<2>,
    /// The blocks, if their scores are within the budget, until the backward pass takes them.
    kept: Mutex<Vec<(Cosines, Option<Directions>)>>,
}

impl<K: Kernels> Blocks<K> {
    /// The losses, `[batch_size]`, and all that their gradients need. `step` is chosen by the device if it is
    /// not given.
    pub fn forward(softmax: Softmax, step: Option<usize>) -> (Tensor<1>, Self) {
        let [keeps_scores, keeps_directions] = keeps(&softmax);
        let dtype = softmax.features.dtype();
        let softmax = Softmax {
            features: softmax.features.without_autodiff(),
            centers: softmax.centers.without_autodiff(),
            target: TargetScores {
                value: softmax.target.value.cast(dtype),
                slope: softmax.target.slope.cast(dtype),
            },
            ..softmax
        };
        let kernels = K::of(&softmax);
        let mut blocks = Self {
            step: step.unwrap_or_else(|| classes_at_once(&softmax)),
            directions: match softmax.angles.directions.clone() {
                Some(directions) => directions,
                None => kernels.directions(softmax.features.clone()),
            },
            log_sum: column(&softmax.target.value),
            target: [&softmax.target.value, &softmax.target.slope].map(column),
            kept: Mutex::new(Vec::new()),
            kernels,
            softmax,
        };
        let mut kept = Vec::new();
        let mut sums: Option<Sums> = None;
        for range in blocks.ranges() {
            let centers = blocks.directions_of(&range);
            let (cosines, closest) = blocks.cosines(&centers);
            let (cosines, mut found) = blocks.kernels.sums(&blocks.softmax, cosines, &range);
            // Comparisons may drop NaN.
            if blocks.softmax.sub_centers > 1 || blocks.softmax.bound.is_some() {
                let is_nan = centers.units.clone().sum().is_nan().unsqueeze_dim::<2>(1);
                let is_nan = is_nan.expand(found.log_sum.dims());
                found.log_sum = found.log_sum.mask_fill(is_nan, f64::NAN);
            }
            sums = Some(match sums {
                Some(sums) => sums.and(found),
                None => found,
            });
            if keeps_scores {
                kept.push(((cosines, closest), keeps_directions.then_some(centers)));
            }
        }
        blocks.kept = Mutex::new(kept);
        let sums = sums.expect("there is at least one class");
        blocks.log_sum = sums.log_sum;
        let target = blocks
            .target_scores()
            .mul_scalar(1.0 - blocks.softmax.smoothing);
        let mut losses = blocks.log_sum.clone() - target;
        if let Some(cosines) = sums.cosines {
            let scores = blocks.softmax.scaled(cosines);
            losses = losses - scores.mul_scalar(blocks.softmax.smoothing_per_class());
        }
        (losses.squeeze_dim(1).cast(dtype), blocks)
    }

    /// The scores without margin, from the kept blocks if there are any.
    pub fn logits(&self) -> Tensor<2> {
        let softmax = &self.softmax;
        let kept = self.kept.lock();
        // Kept cosines are limited to the bound.
        if kept.is_empty() || softmax.bound.is_some() {
            let (features, centers) = (softmax.features.clone(), softmax.centers.clone());
            return logits(features, centers, softmax.sub_centers, softmax.scale);
        }
        let cosines = kept.iter().map(|((cosines, _), _)| cosines.clone());
        let cosines = Tensor::cat(cosines.collect(), 1);
        let target = column(&softmax.angles.cosine).cast(cosines.dtype());
        let target = target.expand(cosines.dims());
        let is_target = softmax.is_target(softmax.columns());
        softmax.scaled(cosines.mask_where(is_target, target))
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<K> {
        let (num_classes, step) = (self.softmax.num_classes(), self.step);
        let firsts = (0..num_classes).step_by(step);
        firsts.map(move |first| first..num_classes.min(first + step))
    }

    /// The directions of the class vectors of a block.
    pub fn directions_of(&self, range: &Range<usize>) -> Directions {
        let sub_centers = self.softmax.sub_centers;
        let (first, count) = (range.start * sub_centers, range.len() * sub_centers);
        let centers = self.softmax.centers.clone().narrow(0, first, count);
        self.kernels.directions(centers)
    }

    /// The cosines with the class vectors of a block.
    pub fn cosines(&self, centers: &Directions) -> Cosines {
        let sub_centers = self.softmax.sub_centers;
        cosines(&self.directions.units, &centers.units, sub_centers)
    }

    /// The scores of the target classes, `[batch_size, 1]`, rounded as they are in the sums, so that they cancel
    /// where they are nearly all of them.
    fn target_scores(&self) -> Tensor<2> {
        let [values, _] = self.target.clone();
        let scores = self.softmax.scaled(values);
        scores.cast(self.log_sum.dtype())
    }

    pub fn upstream(&self, gradient: Tensor<2>) -> Upstream {
        let is_zero = gradient.clone().equal_elem(0.0);
        let log_sum = self.log_sum.clone().mask_fill(is_zero.clone(), 1e30);
        Upstream {
            log_sum: log_sum.cast(gradient.dtype()),
            gradient,
            is_zero,
        }
    }

    /// The gradients by features and class vectors, each if it is wanted, from that by the losses,
    /// `[batch_size, 1]`.
    pub fn gradients_of(
        &self,
        upstream: Tensor<2>,
        [wants_features, wants_centers]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        let upstream = self.upstream(upstream);
        let [values, slopes] = self.target.clone();
        let by_value = self.slopes_by_value(&upstream);
        let by_angle = by_value.clone() * slopes;
        let mut kept = std::mem::take(&mut *self.kept.lock()).into_iter();
        let mut by_units: Option<Tensor<2>> = None;
        let mut by_centers: Option<Tensor<2>> = None;
        for range in self.ranges() {
            let (cosines, centers) = kept.next().unzip();
            let centers = centers
                .flatten()
                .unwrap_or_else(|| self.directions_of(&range));
            let cosines = cosines.unwrap_or_else(|| self.cosines(&centers));
            let slopes = self.slopes(cosines, &range, &upstream);
            if wants_features {
                let here = self.times_centers(&slopes, &centers.units);
                by_units = Some(match by_units {
                    Some(sum) => sum + here,
                    None => here,
                });
            }
            if wants_centers {
                let here = self.times_features(slopes);
                let here = self.kernels.through_directions(here, &centers);
                by_centers = Some(if range.len() == self.softmax.num_classes() {
                    here
                } else {
                    // In place, since nothing else has a handle on it. Flex aligns `zeros` for bytes, and copies
                    // them at the first assignment.
                    let all = by_centers.unwrap_or_else(|| self.softmax.centers.full_like(0.0));
                    let first = range.start * self.softmax.sub_centers;
                    all.slice_assign(first..first + here.dims()[0], here)
                });
            }
        }
        let by_centers = by_centers.map(|by_centers| {
            let targets = self.softmax.angles.by_centers.clone() * by_angle.clone();
            let rows = self.softmax.angles.rows.clone();
            by_centers.select_assign(0, rows, targets, IndexingUpdateOp::Add)
        });
        let by_features = by_units.map(|by_units| {
            let sum = match self.softmax.scale {
                Scale::Fixed(_) => self.kernels.through_directions(by_units, &self.directions),
                // The scores of the other classes are linear in the feature, that of the target class in its norm.
                Scale::Length(_) => {
                    let Directions { units, norms } = self.directions.clone();
                    let by_norm = by_value * values;
                    (by_units + units * by_norm) / no_zero(norms)
                }
            };
            let sum = sum + self.softmax.angles.by_features.clone() * by_angle;
            let is_zero = upstream.is_zero.expand(sum.dims());
            sum.mask_fill(is_zero, 0.0)
        });
        [by_features, by_centers]
    }

    /// [`Kernels::slopes`], for each sub-center.
    pub fn slopes(
        &self,
        (cosines, closest): Cosines,
        range: &Range<usize>,
        upstream: &Upstream,
    ) -> Vec<Tensor<2>> {
        let slopes = self.kernels.slopes(&self.softmax, cosines, range, upstream);
        let Some(closest) = closest else {
            return vec![slopes];
        };
        let sub_centers = 0..self.softmax.sub_centers as i64;
        let others = sub_centers.map(|sub_center| closest.clone().not_equal_elem(sub_center));
        others
            .map(|others| slopes.clone().mask_fill(others, 0.0))
            .collect()
    }

    /// The derivatives by the values of the target classes, `[batch_size, 1]`.
    pub fn slopes_by_value(&self, upstream: &Upstream) -> Tensor<2> {
        let softmax = &self.softmax;
        let dtype = upstream.gradient.dtype();
        let probabilities = (self.target_scores() - self.log_sum.clone()).exp();
        let wanted = 1.0 - softmax.smoothing + softmax.smoothing_per_class();
        let by_score = probabilities.sub_scalar(wanted).cast(dtype) * upstream.gradient.clone();
        softmax
            .scaled(by_score)
            .mask_fill(upstream.is_zero.clone(), 0.0)
    }

    /// Sums of rows that belong to the class vectors of a block, `[batch_size, feature_dim]`, with the given
    /// factors for each sub-center.
    pub fn times_centers(&self, factors: &[Tensor<2>], rows: &Tensor<2>) -> Tensor<2> {
        let products = factors.iter().enumerate().map(|(sub_center, factors)| {
            let rows = every(rows, self.softmax.sub_centers, sub_center);
            factors.clone().matmul(rows)
        });
        let sum = products.reduce(|one, other| one + other);
        sum.expect("there is at least one sub-center")
    }

    /// Sums of the directions of the features, `[classes * sub_centers, feature_dim]`, with the given factors
    /// for each sub-center.
    fn times_features(&self, factors: Vec<Tensor<2>>) -> Tensor<2> {
        let features = &self.directions.units;
        let product = |factors: Tensor<2>| factors.transpose().matmul(features.clone());
        let mut products: Vec<_> = factors.into_iter().map(product).collect();
        if products.len() == 1 {
            return products.remove(0);
        }
        let products = Tensor::stack::<3>(products, 1);
        let [classes, sub_centers, feature_dim] = products.dims();
        products.reshape([classes * sub_centers, feature_dim])
    }
}

/// Whether scores, and whether directions of class vectors, are kept for the backward pass.
fn keeps(softmax: &Softmax) -> [bool; 2] {
    let float = softmax.features.dtype().size();
    let closest = if softmax.sub_centers > 1 { 8 } else { 0 };
    let [rows, feature_dim] = softmax.centers.dims();
    let scores = softmax.features.dims()[0] * softmax.num_classes() * (float + closest);
    let directions = rows * (feature_dim + 1) * float;
    let has_gradients = softmax.features.is_autodiff() || softmax.centers.is_autodiff();
    let keeps_scores = has_gradients && scores <= softmax.budget;
    // On the host they are computed as fast as they are read.
    let is_apart = !is_host(&softmax.classes.device());
    let keeps_directions = is_apart && scores.saturating_add(directions) <= softmax.budget;
    [keeps_scores, keeps_scores && keeps_directions]
}

/// The number of classes of a block.
fn classes_at_once(softmax: &Softmax) -> usize {
    let [batch_size, feature_dim] = softmax.features.dims();
    let rows = if is_host(&softmax.classes.device()) {
        // A few copies of scores and class vectors stay in the caches.
        ((1 << 20) / batch_size).min((1 << 19) / feature_dim)
    } else {
        (1 << 25) / batch_size
    };
    (rows / softmax.sub_centers).max(1)
}
