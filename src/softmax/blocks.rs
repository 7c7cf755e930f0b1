//! The losses of a softmax and their gradients by tensor operations, one block of classes after the other.

use std::ops::Range;

use burn::tensor::{Bool, DType, IndexingUpdateOp, Int, Tensor};

use super::logits::{cosines, every};
use super::{Scale, Softmax, class_ranges};
use crate::device::is_host;
use crate::distance::{Directions, no_zero};
use crate::reduce::{max_dim, sum_dim};

/// A softmax after its forward pass. All tensors are without autodiff.
#[derive(Debug)]
pub(super) struct Blocks {
    pub softmax: Softmax,
    /// The largest number of scores of a block, unless a single class has more.
    block_scores: usize,
    /// Of the features.
    directions: Directions,
    /// The logarithm of the sum of the exponentials of all scores of a sample, `[batch_size, 1]`.
    log_sum: Tensor<2>,
    /// The blocks, if their scores are within the budget.
    kept: Option<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    cosines: Cosines,
    /// Of the class vectors, if they are within the budget too.
    centers: Option<Directions>,
}

/// The cosines of a block of classes, `[batch_size, classes]` each.
#[derive(Clone, Debug)]
struct Cosines {
    /// Limited to the bound. The place of the target class holds its value.
    values: Tensor<2>,
    /// The sub-center that gave the cosine, if there are several.
    closest: Option<Tensor<2, Int>>,
    is_target: Tensor<2, Bool>,
}

impl Blocks {
    /// The losses, `[batch_size]`, and all that their gradients need. `block_scores` is chosen by the device if
    /// it is not given.
    pub fn forward(softmax: Softmax, block_scores: Option<usize>) -> (Tensor<1>, Self) {
        let device = softmax.classes.device();
        let float = softmax.features.dtype().size();
        let closest = if softmax.sub_centers > 1 { 4 } else { 0 };
        let bytes = float + closest + 1;
        let keeps = softmax.keeps_scores(bytes);
        let [rows, feature_dim] = softmax.centers.dims();
        let scores = softmax.features.dims()[0] * softmax.num_classes() * bytes;
        let directions = rows * (feature_dim + 1) * float;
        let keeps_directions = scores.saturating_add(directions) <= softmax.budget;
        let softmax = softmax.without_autodiff();
        let mut blocks = Self {
            block_scores: block_scores.unwrap_or(if is_host(&device) { 1 << 20 } else { 1 << 25 }),
            directions: Directions::of(softmax.features.clone()),
            log_sum: softmax.scales().zeros_like(),
            softmax,
            kept: None,
        };
        let scales = blocks.softmax.scales();
        let mut kept = Vec::new();
        let mut sums: Option<Sums> = None;
        for range in blocks.ranges() {
            let centers = Directions::of(blocks.centers_of(&range));
            let cosines = blocks.cosines(&range, &centers.units);
            let mut found = Sums::of(
                cosines.values.clone() * scales.clone(),
                blocks.softmax.smoothing,
            );
            // Comparisons may drop NaN.
            if blocks.softmax.sub_centers > 1 || blocks.softmax.bound.is_some() {
                let is_nan = centers.units.clone().sum().is_nan().unsqueeze_dim::<2>(1);
                let is_nan = is_nan.expand(scales.dims());
                found.exponentials = found.exponentials.mask_fill(is_nan, f64::NAN);
            }
            sums = Some(match sums {
                Some(sums) => sums.and(found),
                None => found,
            });
            if keeps {
                kept.push(Kept {
                    cosines,
                    centers: keeps_directions.then_some(centers),
                });
            }
        }
        let sums = sums.expect("there is at least one class");
        blocks.log_sum = sums.exponentials.log() + sums.largest;
        let target = blocks.target_scores();
        let target = target.mul_scalar(1.0 - blocks.softmax.smoothing);
        let losses = blocks.log_sum.clone() - target;
        let losses = match sums.scores {
            Some(scores) => losses - scores.mul_scalar(blocks.softmax.smoothing_per_class()),
            None => losses,
        };
        blocks.kept = keeps.then_some(kept);
        (losses.squeeze_dim(1), blocks)
    }

    /// The kept cosines of all classes, `[batch_size, num_classes]`, with the value of the target class in its
    /// place.
    pub fn kept_cosines(&self) -> Option<Tensor<2>> {
        let kept = self.kept.as_ref()?.iter();
        Some(Tensor::cat(
            kept.map(|kept| kept.cosines.values.clone()).collect(),
            1,
        ))
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let [batch_size, _] = self.softmax.features.dims();
        let step = self.block_scores / (batch_size * self.softmax.sub_centers);
        class_ranges(self.softmax.num_classes(), step.max(1))
    }

    /// `[classes * sub_centers, feature_dim]`
    fn centers_of(&self, range: &Range<usize>) -> Tensor<2> {
        let sub_centers = self.softmax.sub_centers;
        let (first, count) = (range.start * sub_centers, range.len() * sub_centers);
        self.softmax.centers.clone().narrow(0, first, count)
    }

    /// `[batch_size, 1]`
    fn target_scores(&self) -> Tensor<2> {
        column(&self.softmax.target.value) * self.softmax.scales()
    }

    /// `centers` are the class vectors of the block with unit length.
    fn cosines(&self, range: &Range<usize>, centers: &Tensor<2>) -> Cosines {
        let softmax = &self.softmax;
        let (values, closest) = cosines(&self.directions.units, centers, softmax.sub_centers);
        let values = match softmax.bound {
            Some(bound) => values.clamp(-bound, bound),
            None => values,
        };
        let is_target = softmax.is_target(range);
        let target = column(&softmax.target.value).expand(values.dims());
        Cosines {
            values: values.mask_where(is_target.clone(), target),
            closest,
            is_target,
        }
    }

    /// The cosines of a block, kept or computed anew, and the directions of its class vectors.
    fn block(&self, nth: usize, range: &Range<usize>) -> (Cosines, Directions) {
        let kept = self.kept.as_ref().map(|kept| &kept[nth]);
        let centers = match kept.and_then(|kept| kept.centers.clone()) {
            Some(centers) => centers,
            None => Directions::of(self.centers_of(range)),
        };
        let cosines = match kept {
            Some(kept) => kept.cosines.clone(),
            None => self.cosines(range, &centers.units),
        };
        (cosines, centers)
    }
}

/// Sums over the scores of some classes, `[batch_size, 1]` each.
struct Sums {
    largest: Tensor<2>,
    /// Of the scores less the largest one.
    exponentials: Tensor<2>,
    /// If labels are smoothed.
    scores: Option<Tensor<2>>,
}

impl Sums {
    fn of(scores: Tensor<2>, smoothing: f64) -> Self {
        let largest = max_dim(scores.clone(), 1);
        Self {
            exponentials: sum_dim((scores.clone() - largest.clone()).exp(), 1),
            scores: (smoothing > 0.0).then(|| sum_dim(scores, 1)),
            largest,
        }
    }

    fn and(self, other: Self) -> Self {
        let largest = self.largest.clone().max_pair(other.largest.clone());
        let shifted = |sums: Tensor<2>, from: Tensor<2>| sums * (from - largest.clone()).exp();
        let scores = self.scores.zip(other.scores);
        Self {
            exponentials: shifted(self.exponentials, self.largest)
                + shifted(other.exponentials, other.largest),
            scores: scores.map(|(one, other)| one + other),
            largest,
        }
    }
}

/// The gradient that arrives for the losses, and the numbers of the samples that go with it, `[batch_size, 1]`
/// each.
struct Upstream {
    gradient: Tensor<2>,
    /// The samples without any gradient. They take no part, whatever their scores are.
    is_zero: Tensor<2, Bool>,
    /// Where the gradient is zero, so large that all probabilities are zero.
    log_sum: Tensor<2>,
    scales: Tensor<2>,
}

impl Blocks {
    fn upstream(&self, gradient: Tensor<1>) -> Upstream {
        let gradient = gradient.unsqueeze_dim::<2>(1);
        let is_zero = gradient.clone().equal_elem(0.0);
        Upstream {
            gradient,
            log_sum: self.log_sum.clone().mask_fill(is_zero.clone(), 1e30),
            is_zero,
            scales: self.softmax.scales(),
        }
    }

    /// The gradients by features and class vectors, each if it is wanted, from that by the losses,
    /// `[batch_size]`.
    pub fn gradients_of(
        &self,
        upstream: Tensor<1>,
        [wants_features, wants_centers]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        let upstream = self.upstream(upstream);
        let mut by_units: Option<Tensor<2>> = None;
        let mut by_centers: Option<Tensor<2>> = None;
        let mut by_scale = upstream.gradient.zeros_like();
        for (nth, range) in self.ranges().enumerate() {
            let (cosines, centers) = self.block(nth, &range);
            let (slopes, by_scale_of_block) = self.slopes(cosines, &upstream);
            if let Some(by_scale_of_block) = by_scale_of_block {
                by_scale = by_scale + by_scale_of_block;
            }
            if wants_features {
                let all = by_units
                    .into_iter()
                    .chain([self.times_centers(&slopes, &centers.units)]);
                by_units = all.reduce(|one, other| one + other);
            }
            if wants_centers {
                let by_units = self.times_features(slopes);
                let rows = through_directions(by_units, &centers);
                by_centers = Some(if range.len() == self.softmax.num_classes() {
                    rows
                } else {
                    // In place, since nothing else has a handle on it.
                    let all = by_centers.unwrap_or_else(|| self.softmax.centers.zeros_like());
                    let first = range.start * self.softmax.sub_centers;
                    all.slice_assign(first..first + rows.dims()[0], rows)
                });
            }
        }
        let by_angle = self.slopes_by_angle(&upstream);
        let by_features = by_units.map(|by_units| {
            let is_zero = upstream.is_zero.clone().expand(by_units.dims());
            let through = through_directions(by_units, &self.directions)
                + self.softmax.angles.by_features.clone() * by_angle.clone();
            let all = match self.softmax.scale {
                Scale::Fixed(_) => through,
                Scale::Length(factor) => {
                    let target = column(&self.softmax.target.value) * upstream.gradient.clone();
                    let by_scale = by_scale - target.mul_scalar(1.0 - self.softmax.smoothing);
                    through + self.directions.units.clone() * by_scale.mul_scalar(factor)
                }
            };
            all.mask_fill(is_zero, 0.0)
        });
        let by_centers = by_centers.map(|by_centers| {
            let rows = self.softmax.angles.by_centers.clone() * by_angle;
            let places = self.softmax.angles.rows.clone();
            by_centers.select_assign(0, places, rows, IndexingUpdateOp::Add)
        });
        [by_features, by_centers]
    }

    /// The derivatives by the cosines of each sub-center of a block, `[batch_size, classes]` each, and if
    /// scores grow with the norm, those by the scale, `[batch_size, 1]`. The target class has none among the
    /// former.
    fn slopes(&self, block: Cosines, upstream: &Upstream) -> (Vec<Tensor<2>>, Option<Tensor<2>>) {
        let cosines = block.values;
        let scores = cosines.clone() * upstream.scales.clone();
        let probabilities = (scores - upstream.log_sum.clone()).exp();
        let slopes = probabilities.sub_scalar(self.softmax.smoothing_per_class())
            * upstream.gradient.clone();
        let by_scale = match self.softmax.scale {
            Scale::Fixed(_) => None,
            Scale::Length(_) => Some(sum_dim(slopes.clone() * cosines.clone(), 1)),
        };
        let is_constant = match self.softmax.bound {
            Some(bound) => {
                let is_limited = cosines.abs().greater_equal_elem(bound);
                block.is_target.bool_or(is_limited)
            }
            None => block.is_target,
        };
        let slopes = (slopes * upstream.scales.clone()).mask_fill(is_constant, 0.0);
        let slopes = match block.closest {
            None => vec![slopes],
            Some(closest) => (0..self.softmax.sub_centers as i64)
                .map(|sub_center| {
                    let is_other = closest.clone().not_equal_elem(sub_center);
                    slopes.clone().mask_fill(is_other, 0.0)
                })
                .collect(),
        };
        (slopes, by_scale)
    }

    /// The derivatives by the angles of the target classes, with the sign turned, `[batch_size, 1]`.
    fn slopes_by_angle(&self, upstream: &Upstream) -> Tensor<2> {
        let softmax = &self.softmax;
        let probabilities = (self.target_scores() - upstream.log_sum.clone()).exp();
        let wanted = 1.0 - softmax.smoothing + softmax.smoothing_per_class();
        let by_value = probabilities.sub_scalar(wanted) * upstream.scales.clone();
        let slopes = by_value * column(&softmax.target.slope) * upstream.gradient.clone();
        slopes.mask_fill(upstream.is_zero.clone(), 0.0)
    }

    /// Sums of the vectors of a block, `[batch_size, feature_dim]`, with the given factors.
    fn times_centers(&self, factors: &[Tensor<2>], centers: &Tensor<2>) -> Tensor<2> {
        let products = factors.iter().enumerate().map(|(sub_center, factors)| {
            let centers = every(centers, self.softmax.sub_centers, sub_center);
            factors.clone().matmul(centers)
        });
        let sum = products.reduce(|one, other| one + other);
        sum.expect("there is at least one sub-center")
    }

    /// Sums of the directions of the features, `[classes * sub_centers, feature_dim]`, with the given factors.
    fn times_features(&self, factors: Vec<Tensor<2>>) -> Tensor<2> {
        let features = &self.directions.units;
        let products = factors
            .into_iter()
            .map(|factors| factors.transpose().matmul(features.clone()));
        if self.softmax.sub_centers == 1 {
            return products.last().expect("there is a sub-center");
        }
        let products = Tensor::stack::<3>(products.collect(), 1);
        let [classes, sub_centers, feature_dim] = products.dims();
        products.reshape([classes * sub_centers, feature_dim])
    }

    /// Zero, `[1]`, with the gradients of the sum of the losses times the coefficients, `[batch_size]`.
    /// `inputs` are features and class vectors on the graph.
    pub fn sum_on_graph(&self, inputs: [Tensor<2>; 2], coefficients: Tensor<1>) -> Tensor<1> {
        let wanted = inputs.each_ref().map(Tensor::is_autodiff);
        let gradients = self.gradients_of(coefficients, wanted);
        let mut sum = self.log_sum.zeros_like().sum();
        for (input, gradient) in inputs.into_iter().zip(gradients) {
            if let Some(gradient) = gradient {
                sum = sum + (zeros_of(input) * finite(gradient)).sum();
            }
        }
        sum
    }

    /// Zeros, `[batch_size]`, with the gradients of the losses whose coefficient is not zero. Keeps a matrix of
    /// all scores.
    pub fn each_on_graph(self, inputs: [Tensor<2>; 2], coefficients: Tensor<1>) -> Tensor<1> {
        let [features, centers] = inputs;
        let is_zero = coefficients.clone().equal_elem(0.0);
        let ones = coefficients.ones_like().mask_fill(is_zero, 0.0);
        let mut zeros = self.log_sum.zeros_like();
        if features.is_autodiff() {
            let [gradient, _] = self.gradients_of(ones.clone(), [true, false]);
            let gradient = gradient.expect("it is wanted");
            zeros = zeros + sum_dim(zeros_of(features) * finite(gradient), 1);
        }
        if centers.is_autodiff() {
            let all = Self {
                block_scores: usize::MAX,
                kept: self.kept.filter(|kept| kept.len() == 1),
                ..self
            };
            let upstream = all.upstream(ones);
            let (cosines, directions) = all.block(0, &(0..all.softmax.num_classes()));
            let (slopes, _) = all.slopes(cosines, &upstream);
            let changes = zeros_of(centers);
            // The projection of gradients is that of changes too.
            let turns = through_directions(changes.clone(), &directions);
            let turns = all.times_centers(&slopes, &turns);
            let targets = changes.select(0, all.softmax.angles.rows.clone());
            let by_angle = all.slopes_by_angle(&upstream);
            zeros = zeros
                + sum_dim(turns * all.directions.units.clone(), 1)
                + sum_dim(targets * all.softmax.angles.by_centers.clone(), 1) * by_angle;
        }
        zeros.squeeze_dim(1)
    }
}

fn column(numbers: &Tensor<1>) -> Tensor<2> {
    numbers.clone().unsqueeze_dim(1)
}

/// The gradient by rows, from that by their directions. A row that is zero or not finite gets none.
fn through_directions(by_units: Tensor<2>, rows: &Directions) -> Tensor<2> {
    let Directions { units, norms } = rows.clone();
    let along = sum_dim(by_units.clone() * units.clone(), 1);
    let has_none = norms
        .clone()
        .equal_elem(0.0)
        .bool_or(along.clone().is_nan());
    let has_none = has_none.expand(units.dims());
    ((by_units - units * along) / no_zero(norms)).mask_fill(has_none, 0.0)
}

/// Zeros that pass their gradients on to the tensor.
fn zeros_of(tensor: Tensor<2>) -> Tensor<2> {
    let zeros = tensor.clone() - tensor.without_autodiff();
    let is_nan = zeros.clone().is_nan();
    zeros.mask_fill(is_nan, 0.0)
}

/// Infinite values as the largest ones, so that their products with zero are zero.
fn finite(gradient: Tensor<2>) -> Tensor<2> {
    let most = match gradient.dtype() {
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    };
    gradient.clamp(-most, most)
}
