//! Scores of all pairs of a feature and a center, larger for nearer ones, and what a softmax takes of them.

use std::fmt::Debug;
use std::ops::Range;

use burn::tensor::{Bool, Int, Tensor};

use super::blocks::Sums;
use super::problem::numbers_like;
use crate::distance::{SoftmaxDistance, no_zero, squared_euclidean};
use crate::reduce::{fusion_barrier, max_dim, sum_dim, sum_then};

/// The logarithm of a sum of no exponentials.
pub(super) const NO_SUM: f64 = -1e30;

/// The number of coordinate differences that exist at one time.
const MAX_ELEMENTS: usize = 1 << 22;

/// Features and centers without autodiff, and the scores of their pairs.
///
/// ```text
/// t_ij = (x_i - o).(c_j - o) - |c_j - o|^2 / 2    SquaredEuclidean: up to a number of the row -|x_i - c_j|^2 / 2
/// t_ij = -|x_i - c_j|                             Euclidean
/// ```
///
/// The origin `o` is the mean of the centers: distances stay, and products lose fewer digits.
#[derive(Clone, Debug)]
pub(super) struct Positions {
    /// `[batch_size, feature_dim]`
    pub features: Tensor<2>,
    /// `[num_classes * sub_centers, feature_dim]`
    pub centers: Tensor<2>,
    /// `[1, feature_dim]`
    pub origin: Tensor<2>,
    /// The columns in which all centers are finite, `[1, feature_dim]`.
    is_finite: Tensor<2, Bool>,
    pub distance: SoftmaxDistance,
    pub sub_centers: usize,
    /// The factor of the scores in the exponentials.
    pub scale: f64,
}

impl Positions {
    /// `scale` is the factor of the distances.
    pub fn new(
        features: &Tensor<2>,
        centers: &Tensor<2>,
        distance: SoftmaxDistance,
        sub_centers: usize,
        scale: f64,
    ) -> Self {
        let centers = centers.clone().without_autodiff();
        let [rows, _] = centers.dims();
        let parts = centers.clone().div_scalar(rows as f64);
        let (origin, is_finite) = sum_then(parts, 0, |origin| {
            let zeros = origin.clone() - origin.clone();
            (origin, zeros.equal_elem(0.0))
        });
        Self {
            features: features.clone().without_autodiff(),
            origin,
            is_finite,
            centers,
            distance,
            sub_centers,
            scale: match distance {
                SoftmaxDistance::SquaredEuclidean => 2.0 * scale,
                SoftmaxDistance::Euclidean => scale,
            },
        }
    }

    /// The factor of the distances.
    pub fn rate(&self) -> f64 {
        match self.distance {
            SoftmaxDistance::SquaredEuclidean => self.scale / 2.0,
            SoftmaxDistance::Euclidean => self.scale,
        }
    }

    /// The rows of the centers of classes, `[batch_size]`, in the centers: `[batch_size * sub_centers]`.
    pub fn rows_of(&self, classes: &Tensor<1, Int>) -> Tensor<1, Int> {
        if self.sub_centers == 1 {
            return classes.clone();
        }
        let first = classes.clone().mul_scalar(self.sub_centers as i64);
        let rows = (0..self.sub_centers as i64).map(|place| first.clone().add_scalar(place));
        Tensor::<1, Int>::stack::<2>(rows.collect(), 1).flatten(0, 1)
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.centers.dims()[0] / self.sub_centers
    }

    /// Zero, or NaN if a center is not finite, `[1, 1]`.
    pub fn zero_if_finite(&self) -> Tensor<2> {
        let origin = self.origin.clone();
        (origin.clone() - origin).sum().unsqueeze_dim(1)
    }

    /// The rows of the centers of some classes.
    pub fn rows(&self, classes: &Range<usize>) -> Range<usize> {
        classes.start * self.sub_centers..classes.end * self.sub_centers
    }

    /// The centers of some classes.
    pub fn centers_of(&self, classes: &Range<usize>) -> Tensor<2> {
        let rows = self.rows(classes);
        self.centers.clone().narrow(0, rows.start, rows.len())
    }
}

/// The gradient that arrives for the scores of other classes.
pub(super) struct Upstream {
    /// For the logarithm of the sum of their exponentials, `[batch_size, 1]`.
    pub gradient: Tensor<2>,
    /// The samples without any gradient, `[batch_size, 1]`.
    pub is_zero: Tensor<2, Bool>,
    /// That logarithm, `[batch_size, 1]`.
    pub log_sum: Tensor<2>,
    /// The place, less the origin, that features come from as they move towards the centers,
    /// `[batch_size, feature_dim]`.
    pub from: Tensor<2>,
}

/// The work on the pairs with the centers of a block of classes, where the time goes. All without autodiff.
pub(super) trait Pairs: Debug + Send + Sync {
    /// The scores, `[batch_size, rows]`.
    fn scores(&self, block: &Range<usize>) -> Tensor<2>;

    /// The scores, and sums over the exponentials of those of other classes.
    fn sums(&self, scores: Tensor<2>, block: &Range<usize>) -> (Tensor<2>, Sums);

    /// The gradients by the features and by the centers of the block, each if it is wanted, through the scores of
    /// other classes.
    fn gradients(
        &self,
        scores: Tensor<2>,
        block: &Range<usize>,
        upstream: &Upstream,
        wanted: [bool; 2],
    ) -> [Option<Tensor<2>>; 2];
}

/// The work by Burn's tensor operations.
#[derive(Debug)]
pub(super) struct PairOperations {
    positions: Positions,
    /// The features less the origin, `[batch_size, feature_dim]`.
    features: Tensor<2>,
    /// The classes of the samples, `[batch_size, 1]`, and of the centers, `[1, rows]`.
    classes: [Tensor<2, Int>; 2],
}

impl PairOperations {
    /// With the classes of the samples, `[batch_size]`.
    pub fn new(positions: Positions, classes: &Tensor<1, Int>) -> Self {
        let [rows, _] = positions.centers.dims();
        let mut rows = numbers_like(classes, rows);
        if positions.sub_centers > 1 {
            rows = rows.div_scalar(positions.sub_centers as i64);
        }
        Self {
            features: fusion_barrier(positions.features.clone() - positions.origin.clone()),
            classes: [classes.clone().unsqueeze_dim(1), rows],
            positions,
        }
    }

    /// The centers of the class of each sample among some classes, `[batch_size, rows]`.
    fn is_own(&self, block: &Range<usize>) -> Tensor<2, Bool> {
        let [of_samples, of_rows] = self.classes.clone();
        let rows = self.positions.rows(block);
        let shape = [of_samples.dims()[0], rows.len()];
        let of_rows = of_rows.narrow(1, rows.start, rows.len());
        of_samples.expand(shape).equal(of_rows.expand(shape))
    }

    /// How fast a loss falls as the features and the centers of a block come closer, over their distance:
    /// `[batch_size, rows]`.
    pub fn slopes(
        &self,
        scores: Tensor<2>,
        block: &Range<usize>,
        upstream: &Upstream,
    ) -> Tensor<2> {
        let Positions {
            distance, scale, ..
        } = self.positions;
        let exponents = scores.clone().mul_scalar(scale) - upstream.log_sum.clone();
        let rests = upstream.is_zero.clone().expand(scores.dims());
        // Burn's fusion knows no operation between masks, so that each mask fills on its own.
        let exponents = exponents.mask_fill(rests.clone(), NO_SUM);
        let shares = exponents.mask_fill(self.is_own(block), NO_SUM).exp();
        let slopes = (shares * upstream.gradient.clone()).mul_scalar(scale);
        if distance == SoftmaxDistance::SquaredEuclidean {
            return slopes;
        }
        // At a distance of zero there is no direction.
        let is_zero = scores.clone().equal_elem(0.0);
        let slopes = slopes / no_zero(scores.neg());
        slopes.mask_fill(rests, 0.0).mask_fill(is_zero, 0.0)
    }
}

impl Pairs for PairOperations {
    fn scores(&self, block: &Range<usize>) -> Tensor<2> {
        let Positions {
            features, origin, ..
        } = &self.positions;
        let centers = self.positions.centers_of(block);
        match self.positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let centers = centers - origin.clone();
                let squares = centers.clone() * centers.clone();
                let halves = sum_then(squares, 1, |sum| sum.mul_scalar(0.5));
                self.features.clone().matmul(centers.transpose()) - halves.transpose()
            }
            SoftmaxDistance::Euclidean => {
                let squared = squared_euclidean(features.clone(), centers, MAX_ELEMENTS);
                squared.sqrt().neg()
            }
        }
    }

    fn sums(&self, scores: Tensor<2>, block: &Range<usize>) -> (Tensor<2>, Sums) {
        let is_own = self.is_own(block);
        let exponents = scores.clone().mul_scalar(self.positions.scale);
        let exponents = exponents.mask_fill(is_own, NO_SUM);
        let largest = max_dim(exponents.clone(), 1);
        let exponentials = (exponents - largest.clone()).exp();
        let sums = Sums {
            log_sum: sum_then(exponentials, 1, |sum| sum.log() + largest),
            cosines: None,
        };
        (scores, sums)
    }

    fn gradients(
        &self,
        scores: Tensor<2>,
        block: &Range<usize>,
        upstream: &Upstream,
        [wants_features, wants_centers]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        let Positions {
            features, origin, ..
        } = &self.positions;
        let centers = self.positions.centers_of(block);
        // If a center is not finite, no sample has a loss. Burn fuses with a mask that is there before.
        let is_finite = self.positions.is_finite.clone().expand(centers.dims());
        let slopes = self.slopes(scores, block, upstream);
        let [by_features, by_centers] = match self.positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let less_total = sum_then(slopes.clone(), 1, Tensor::neg);
                let total = sum_dim(slopes.clone(), 0).transpose();
                let centers = centers - origin.clone();
                let by_features = wants_features.then(|| slopes.clone().matmul(centers.clone()));
                let features = self.features.clone();
                let by_centers = wants_centers.then(|| slopes.transpose().matmul(features));
                let products = [by_features, by_centers];
                let [by_features, by_centers] = products.map(|sum| sum.map(fusion_barrier));
                [
                    by_features.map(|sum| sum + upstream.from.clone() * less_total),
                    by_centers.map(|sum| sum - centers * total),
                ]
            }
            SoftmaxDistance::Euclidean => {
                let differences = features.clone().unsqueeze_dim::<3>(1) - centers.unsqueeze_dim(0);
                let steps = differences * slopes.unsqueeze_dim(2);
                [
                    wants_features.then(|| sum_dim(steps.clone(), 1).squeeze_dim(1).neg()),
                    wants_centers.then(|| sum_dim(steps, 0).squeeze_dim(0)),
                ]
            }
        };
        let by_centers =
            by_centers.map(|gradient| gradient.zeros_like().mask_where(is_finite, gradient));
        [by_features, by_centers]
    }
}
