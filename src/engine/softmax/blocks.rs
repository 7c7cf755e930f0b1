//! The losses of a softmax and their gradients, one block of classes after the other.

use alloc::vec::Vec;
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor};
use core::ops::Range;

use super::plain::columns;
use super::problem::{Angles, OwnScores, Scale, Softmax};
use crate::distance::{Directions, no_zero};
use crate::engine::late_gradients::Derivative;
use crate::reduce::{max_dim, sum_dim};

/// How many scores are worked on at one time.
const BLOCK_SCORES: usize = 1 << 20;

/// A softmax after its forward pass. All tensors are without autodiff.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Of the features.
    directions: Directions,
    centers: Tensor<2>,
    classes: Tensor<1, Int>,
    sub_centers: usize,
    block_scores: usize,
    scale: Scale,
    bound: Option<f64>,
    smoothing: f64,
    angles: Angles,
    own: Own,
    /// `[batch_size, 1]`: the logarithm of the sum of the exponentials of all scores.
    log_sum: Tensor<2>,
    /// What there is of the blocks, if their scores are within the budget.
    kept: Option<Vec<Kept>>,
}

/// What is kept of a block of classes.
#[derive(Debug)]
struct Kept {
    scores: Scores,
    /// Of the class vectors, if they are within the budget too.
    centers: Option<Directions>,
}

/// [`OwnScores`] in the data type of the features, `[batch_size, 1]` each.
#[derive(Debug)]
struct Own {
    value: Tensor<2>,
    slope: Tensor<2>,
}

/// The cosines of a block of classes.
#[derive(Clone, Debug)]
struct Scores {
    /// `[batch_size, classes]`; the place of the own class holds its changed score.
    cosines: Tensor<2>,
    /// Which of the sub-centers gave the cosine, `[batch_size, classes]`, if there are several.
    closest: Option<Tensor<2, Int>>,
    /// Where the own class is, `[batch_size, classes]`.
    is_own: Tensor<2, Bool>,
    /// Where the cosine was limited, `[batch_size, classes]`.
    is_limited: Option<Tensor<2, Bool>>,
}

impl Scores {
    fn bytes_per_score(problem: &Softmax) -> usize {
        let float = problem.features.dtype().size();
        let closest = if problem.sub_centers > 1 {
            problem.classes.dtype().size()
        } else {
            0
        };
        float + closest + 1 + usize::from(problem.bound.is_some())
    }
}

impl Blocks {
    /// The losses, `[batch_size]`, and what their gradients need.
    pub fn forward(problem: Softmax) -> (Tensor<1>, Self) {
        Self::forward_by(problem, BLOCK_SCORES)
    }

    /// With at most as many scores in a block, unless a single class has more.
    pub(super) fn forward_by(problem: Softmax, block_scores: usize) -> (Tensor<1>, Self) {
        let dtype = problem.features.dtype();
        let device = problem.classes.device();
        let [batch_size, _] = problem.features.dims();
        let OwnScores { value, slope } = problem.own.clone();
        let column = |numbers: crate::batch::PerSample| numbers.column(&device, dtype).cast(dtype);
        let num_classes = problem.centers.dims()[0] / problem.sub_centers;
        let scores = (batch_size * num_classes).saturating_mul(Scores::bytes_per_score(&problem));
        let has_gradients = problem.features.is_autodiff() || problem.centers.is_autodiff();
        let keeps = has_gradients && scores <= problem.budget;
        let [rows, feature_dim] = problem.centers.dims();
        let directions = rows * (feature_dim + 1) * dtype.size();
        let keeps_directions = scores.saturating_add(directions) <= problem.budget;
        let mut blocks = Self {
            log_sum: Tensor::zeros([batch_size, 1], (&device, dtype)),
            directions: Directions::of(problem.features),
            centers: problem.centers.without_autodiff(),
            classes: problem.classes,
            sub_centers: problem.sub_centers,
            block_scores,
            scale: problem.scale,
            bound: problem.bound,
            smoothing: problem.smoothing,
            own: Own {
                value: column(value),
                slope: column(slope),
            },
            angles: problem.angles,
            kept: None,
        };
        let mut kept = Vec::new();
        let scale = blocks.scales();
        let mut sums: Option<Sums> = None;
        for block in blocks.ranges() {
            let centers = Directions::of(blocks.centers_of(&block));
            let scores = blocks.scores(&block, &centers.units);
            let found = Sums::of(scores.cosines.clone() * scale.clone(), blocks.smoothing);
            sums = Some(match sums {
                Some(sums) => sums.and(found),
                None => found,
            });
            if keeps {
                kept.push(Kept {
                    scores,
                    centers: keeps_directions.then_some(centers),
                });
            }
        }
        let Sums {
            largest,
            exponentials,
            scores,
        } = sums.expect("there is at least one class");
        blocks.log_sum = exponentials.log() + largest;
        let own = (blocks.own.value.clone() * scale).mul_scalar(1.0 - blocks.smoothing);
        let losses = blocks.log_sum.clone() - own;
        let losses = match scores {
            Some(scores) => losses - scores.mul_scalar(blocks.smoothing / num_classes as f64),
            None => losses,
        };
        blocks.kept = keeps.then_some(kept);
        (losses.squeeze_dim(1), blocks)
    }

    fn num_classes(&self) -> usize {
        self.centers.dims()[0] / self.sub_centers
    }

    /// The classes of each block.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let [batch_size, _] = self.directions.units.dims();
        let num_classes = self.num_classes();
        let step = (self.block_scores / (batch_size * self.sub_centers)).max(1);
        (0..num_classes)
            .step_by(step)
            .map(move |first| first..(first + step).min(num_classes))
    }

    /// `[classes * sub_centers, feature_dim]`
    fn centers_of(&self, block: &Range<usize>) -> Tensor<2> {
        let count = block.len() * self.sub_centers;
        self.centers
            .clone()
            .narrow(0, block.start * self.sub_centers, count)
    }

    /// What a cosine is multiplied by, `[batch_size, 1]`.
    fn scales(&self) -> Tensor<2> {
        match self.scale {
            Scale::Fixed(scale) => self.own.value.full_like(scale),
            Scale::Length(scale) => self.directions.norms.clone().mul_scalar(scale),
        }
    }

    /// `centers` are the directions of the class vectors of the block.
    fn scores(&self, block: &Range<usize>, centers: &Tensor<2>) -> Scores {
        let directions = self.directions.units.clone();
        let [batch_size, _] = directions.dims();
        let shape = [batch_size, block.len()];
        let cosines = directions.matmul(centers.clone().transpose());
        let (cosines, closest) = if self.sub_centers == 1 {
            (cosines, None)
        } else {
            let (cosines, closest) = cosines
                .reshape([batch_size, block.len(), self.sub_centers])
                .max_dim_with_indices(2);
            (cosines.squeeze_dim(2), Some(closest.squeeze_dim(2)))
        };
        let (cosines, is_limited) = match self.bound {
            Some(bound) => {
                let is_limited = cosines.clone().abs().greater_elem(bound);
                (cosines.clamp(-bound, bound), Some(is_limited))
            }
            None => (cosines, None),
        };
        let is_own = self
            .classes
            .clone()
            .unsqueeze_dim::<2>(1)
            .expand(shape)
            .equal(columns(block.start, batch_size, block.len(), &self.classes));
        Scores {
            cosines: cosines.mask_where(is_own.clone(), self.own.value.clone().expand(shape)),
            closest,
            is_own,
            is_limited,
        }
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
        let brought = |sums: Tensor<2>, from: Tensor<2>| sums * (from - largest.clone()).exp();
        Self {
            exponentials: brought(self.exponentials, self.largest)
                + brought(other.exponentials, other.largest),
            scores: self
                .scores
                .zip(other.scores)
                .map(|(one, other)| one + other),
            largest,
        }
    }
}

impl Derivative for Blocks {
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let [wants_features, wants_centers] = wanted;
        let upstream = upstream.unsqueeze_dim::<2>(1);
        let (directions, scale) = (&self.directions.units, self.scales());
        let evenly = self.smoothing / self.num_classes() as f64;
        let mut by_features: Option<Tensor<2>> = None;
        let mut by_centers: Option<Tensor<2>> = None;
        // What the losses change by with the scale of their scores, for a scale that is a length.
        let mut by_scale = upstream.zeros_like();
        for (nth, block) in self.ranges().enumerate() {
            let kept = self.kept.as_ref().map(|kept| &kept[nth]);
            let centers = match kept.and_then(|kept| kept.centers.clone()) {
                Some(centers) => centers,
                None => Directions::of(self.centers_of(&block)),
            };
            let scores = match kept {
                Some(kept) => kept.scores.clone(),
                None => self.scores(&block, &centers.units),
            };
            let probabilities =
                (scores.cosines.clone() * scale.clone() - self.log_sum.clone()).exp();
            let slopes = probabilities.sub_scalar(evenly) * upstream.clone();
            if matches!(self.scale, Scale::Length(_)) {
                by_scale = by_scale + sum_dim(slopes.clone() * scores.cosines.clone(), 1);
            }
            // The own class has a slope of its own, below.
            let slopes = (slopes * scale.clone()).mask_fill(scores.is_own, 0.0);
            let slopes = match scores.is_limited {
                Some(is_limited) => slopes.mask_fill(is_limited, 0.0),
                None => slopes,
            };
            let slopes = self.by_sub_center(slopes, scores.closest);
            if wants_features {
                let by_block = slopes.clone().matmul(centers.units.clone());
                by_features = Some(match by_features {
                    Some(by_features) => by_features + by_block,
                    None => by_block,
                });
            }
            if wants_centers {
                let by_units = slopes.transpose().matmul(directions.clone());
                let rows = through_directions(by_units, &centers);
                by_centers = Some(if block.len() == self.num_classes() {
                    rows
                } else {
                    // In place, since nothing else has a handle on it.
                    let all = by_centers.unwrap_or_else(|| self.centers.zeros_like());
                    let first = block.start * self.sub_centers;
                    all.slice_assign(first..first + rows.dims()[0], rows)
                });
            }
        }
        let own = self.own_slopes(&upstream, &scale, evenly);
        let features = by_features.map(|by_features| {
            let through = through_directions(by_features, &self.directions);
            let through =
                through + self.angles.by_features.clone() * own.clone() * self.own.slope.clone();
            match self.scale {
                Scale::Fixed(_) => through,
                Scale::Length(factor) => {
                    let own = self.own.value.clone() * upstream.mul_scalar(1.0 - self.smoothing);
                    through + directions.clone() * (by_scale - own).mul_scalar(factor)
                }
            }
        });
        let centers = by_centers.map(|by_centers| {
            let rows = self.angles.by_centers.clone() * own * self.own.slope.clone();
            by_centers.select_assign(0, self.angles.rows.clone(), rows, IndexingUpdateOp::Add)
        });
        [features, centers]
    }
}

impl Blocks {
    /// What each loss changes by with the changed cosine of its class, `[batch_size, 1]`.
    fn own_slopes(&self, upstream: &Tensor<2>, scale: &Tensor<2>, evenly: f64) -> Tensor<2> {
        let scores = self.own.value.clone() * scale.clone();
        let probabilities = (scores - self.log_sum.clone()).exp();
        let slopes = probabilities.sub_scalar(1.0 - self.smoothing + evenly);
        slopes * upstream.clone() * scale.clone()
    }

    /// Slopes by the cosines of all sub-centers, `[batch_size, classes * sub_centers]`, from those by the
    /// largest cosine of each class.
    fn by_sub_center(&self, slopes: Tensor<2>, closest: Option<Tensor<2, Int>>) -> Tensor<2> {
        let Some(closest) = closest else {
            return slopes;
        };
        let [batch_size, classes] = slopes.dims();
        let shape = [batch_size, classes, self.sub_centers];
        Tensor::<3>::zeros(shape, (&slopes.device(), slopes.dtype()))
            .scatter(
                2,
                closest.unsqueeze_dim(2),
                slopes.unsqueeze_dim(2),
                IndexingUpdateOp::Add,
            )
            .reshape([batch_size, classes * self.sub_centers])
    }
}

/// The gradient by rows, from that by their directions. A zero row gets none.
fn through_directions(by_units: Tensor<2>, rows: &Directions) -> Tensor<2> {
    let Directions { units, norms } = rows.clone();
    let is_zero = norms.clone().equal_elem(0.0).expand(units.dims());
    let along = sum_dim(by_units.clone() * units.clone(), 1);
    ((by_units - units * along) / no_zero(norms)).mask_fill(is_zero, 0.0)
}
