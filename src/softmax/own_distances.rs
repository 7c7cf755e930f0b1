use burn::tensor::{Bool, Int, Tensor};

use super::pairs::{Positions, Upstream};
use crate::distance::{SoftmaxDistance, no_zero};
use crate::reduce::{fusion_barrier, max_dim, sum_dim, sum_then};

/// Distances between features and the centers of their classes, of direct differences, and the scores of these
/// classes. All without autodiff.
#[derive(Debug)]
pub(super) struct OwnDistances {
    /// The rows of the centers, `[batch_size * sub_centers]`.
    pub rows: Tensor<1, Int>,
    /// From the centers to the features, `[batch_size, sub_centers, feature_dim]`.
    differences: Tensor<3>,
    /// The centers less the origin, of the same shape.
    centers: Tensor<3>,
    /// `[batch_size, sub_centers]`, if they count beside the score.
    distances: Option<Tensor<2>>,
    /// The place of the nearest center among those of the class, `[batch_size, sub_centers]`, if it has several.
    is_nearest: Option<Tensor<2, Bool>>,
    /// The distance to the nearest center, `[batch_size, 1]`, if it pulls.
    pub nearest: Option<Tensor<2>>,
    /// The share of each center in the score of its class, `[batch_size, sub_centers]`, if it has several.
    shares: Option<Tensor<2>>,
    /// The score, `[batch_size, 1]`.
    pub score: Tensor<2>,
    margin: f64,
}

impl OwnDistances {
    /// Of samples of the given classes, `[batch_size]`.
    pub fn new(positions: &Positions, classes: &Tensor<1, Int>, margin: f64, pulls: bool) -> Self {
        let [batch_size, feature_dim] = positions.features.dims();
        let sub_centers = positions.sub_centers;
        let rows = positions.rows_of(classes);
        let centers = positions.centers.clone().select(0, rows.clone());
        let centers = centers.reshape([batch_size, sub_centers, feature_dim]);
        let features = positions.features.clone().unsqueeze_dim::<3>(1);
        let origin = positions.origin.clone().unsqueeze_dim::<3>(0);
        let differences = features.clone() - centers.clone();
        let centers = centers - origin.clone();
        let squared = differences.clone() * differences.clone();
        let (distances, scores) = match positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let along = features - origin - centers.clone().mul_scalar(0.5);
                let scores = sum_then(centers.clone() * along, 2, |sum| {
                    sum.mul_scalar(positions.scale)
                });
                let distances = (margin > 0.0 || pulls).then(|| sum_dim(squared, 2));
                (distances, scores)
            }
            SoftmaxDistance::Euclidean => {
                let (distances, scores) = sum_then(squared, 2, |squared| {
                    let distances = squared.sqrt();
                    (distances.clone(), distances.mul_scalar(-positions.scale))
                });
                (Some(distances), scores)
            }
        };
        let distances = distances.map(|distances| distances.squeeze_dim::<2>(2));
        let scores = scores.squeeze_dim::<2>(2);
        let scores = match &distances {
            Some(distances) if margin > 0.0 => {
                scores - distances.clone().mul_scalar(positions.rate() * margin)
            }
            _ => scores,
        };
        let nearest = distances.as_ref().filter(|_| pulls);
        let (nearest, is_nearest) = nearest
            .map(|distances| nearest_of(distances, classes))
            .unzip();
        let (score, shares) = if sub_centers == 1 {
            (scores, None)
        } else {
            let largest = max_dim(scores.clone(), 1);
            let shares = (scores - largest.clone()).exp();
            let total = sum_dim(shares.clone(), 1);
            (total.clone().log() + largest, Some(shares / total))
        };
        Self {
            rows,
            differences,
            centers,
            is_nearest: is_nearest.flatten(),
            nearest,
            distances,
            shares,
            // Under squared distances the origin is in the score.
            score: match positions.distance {
                SoftmaxDistance::SquaredEuclidean => score,
                SoftmaxDistance::Euclidean => score + positions.zero_if_finite(),
            },
            margin,
        }
    }

    /// The place, less the origin, that a feature comes from as the scores of other classes draw it to their centers:
    /// under squared distances the center of its own class, and else the feature itself.
    pub fn from(&self, positions: &Positions) -> Tensor<2> {
        match positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let centers = self.centers.clone();
                match self.shares.clone() {
                    Some(shares) => sum_dim(centers * shares.unsqueeze_dim(2), 1).squeeze_dim(1),
                    None => centers.squeeze_dim(1),
                }
            }
            SoftmaxDistance::Euclidean => positions.features.clone() - positions.origin.clone(),
        }
    }

    /// The gradients by the features, `[batch_size, feature_dim]`, if there are any, and by the centers of their
    /// classes, `[batch_size * sub_centers, feature_dim]`, of losses with these derivatives, `[batch_size, 1]`:
    /// `upstream` by minus the score, and `by_nearest` by the distance to the nearest center, if it counts. The part of
    /// the score that is linear in the features is in [`from`](Self::from).
    pub fn gradients(
        &self,
        positions: &Positions,
        upstream: &Upstream,
        by_nearest: Option<Tensor<2>>,
    ) -> (Option<Tensor<2>>, Tensor<2>) {
        let [batch_size, sub_centers, feature_dim] = self.differences.dims();
        let shares = match self.shares.clone() {
            Some(shares) => shares * upstream.gradient.clone(),
            None => upstream.gradient.clone(),
        };
        let by_difference = self.distances.clone().map(|distances| {
            let margin = match positions.distance {
                SoftmaxDistance::SquaredEuclidean => self.margin,
                SoftmaxDistance::Euclidean => 1.0 + self.margin,
            };
            // The factor of the distances.
            let mut by_distance = shares.clone().mul_scalar(positions.rate() * margin);
            if let Some(mut by_nearest) = by_nearest {
                if let Some(is_nearest) = self.is_nearest.clone() {
                    let each = by_nearest.expand(shares.dims());
                    by_nearest = each.mask_fill(is_nearest.bool_not(), 0.0);
                }
                by_distance = by_distance + by_nearest;
            }
            match positions.distance {
                SoftmaxDistance::SquaredEuclidean => by_distance.mul_scalar(2.0),
                SoftmaxDistance::Euclidean => {
                    let is_zero = distances.clone().equal_elem(0.0);
                    (by_distance / no_zero(distances)).mask_fill(is_zero, 0.0)
                }
            }
        });
        let to_centers = by_difference.clone().map(Tensor::neg);
        let to_centers = match positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let by_product = shares.mul_scalar(-positions.scale);
                match to_centers {
                    Some(to_centers) => by_product + to_centers,
                    None => by_product,
                }
            }
            SoftmaxDistance::Euclidean => to_centers.expect("the score is a distance"),
        };
        let steps = |factors: Tensor<2>| {
            self.differences.clone() * fusion_barrier(factors).unsqueeze_dim::<3>(2)
        };
        let by_features = by_difference.map(|by_difference| match sub_centers {
            1 => steps(by_difference).squeeze_dim(1),
            _ => sum_dim(steps(by_difference), 1).squeeze_dim(1),
        });
        let rests = upstream.is_zero.clone().unsqueeze_dim::<3>(2);
        let rests = rests.expand([batch_size, sub_centers, feature_dim]);
        let by_centers = steps(to_centers).mask_fill(rests, 0.0);
        let by_centers = by_centers.reshape([batch_size * sub_centers, feature_dim]);
        (by_features, by_centers)
    }
}

/// The smallest of the distances of a row, `[batch_size, 1]`, and the place of the first of several.
fn nearest_of(
    distances: &Tensor<2>,
    classes: &Tensor<1, Int>,
) -> (Tensor<2>, Option<Tensor<2, Bool>>) {
    let [_, count] = distances.dims();
    if count == 1 {
        return (distances.clone(), None);
    }
    let mut nearest = distances.clone().narrow(1, 0, 1);
    let mut place = classes.zeros_like().unsqueeze_dim::<2>(1);
    for other in 1..count {
        let distance = distances.clone().narrow(1, other, 1);
        let is_nearer = distance.clone().lower(nearest.clone());
        nearest = nearest.mask_where(is_nearer.clone(), distance);
        place = place.mask_fill(is_nearer, other as i64);
    }
    let places = (0..count as i64).map(|other| place.clone().equal_elem(other));
    (nearest, Some(Tensor::cat(places.collect(), 1)))
}
