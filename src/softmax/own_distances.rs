use burn::tensor::{Bool, Int, Tensor};

use super::pairs::Positions;
use crate::distance::{SoftmaxDistance, no_zero};
use crate::reduce::{max_dim, sum_dim};

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
    /// `[batch_size, sub_centers]`
    distances: Tensor<2>,
    /// The place of the nearest center among those of the class, `[batch_size, sub_centers]`, if it has several.
    is_nearest: Option<Tensor<2, Bool>>,
    /// The distance to the nearest center, `[batch_size, 1]`.
    pub nearest: Tensor<2>,
    /// The share of each center in the score of its class, `[batch_size, sub_centers]`, if it has several.
    shares: Option<Tensor<2>>,
    /// The score, `[batch_size, 1]`.
    pub score: Tensor<2>,
    margin: f64,
}

impl OwnDistances {
    /// Of samples of the given classes, `[batch_size]`.
    pub fn new(positions: &Positions, classes: &Tensor<1, Int>, margin: f64) -> Self {
        let [batch_size, feature_dim] = positions.features.dims();
        let sub_centers = positions.sub_centers;
        let rows = positions.rows_of(classes);
        let centers = positions.centers.clone().select(0, rows.clone());
        let centers = centers.reshape([batch_size, sub_centers, feature_dim]);
        let features = positions.features.clone().unsqueeze_dim::<3>(1);
        let origin = positions.origin.clone().unsqueeze_dim::<3>(0);
        let differences = features.clone() - centers.clone();
        let centers = centers - origin.clone();
        let sum = |products: Tensor<3>| sum_dim(products, 2).squeeze_dim::<2>(2);
        let squared = sum(differences.clone() * differences.clone());
        let (distances, scores) = match positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let along = features - origin - centers.clone().mul_scalar(0.5);
                let scores = sum(centers.clone() * along).mul_scalar(positions.scale);
                (squared, scores)
            }
            SoftmaxDistance::Euclidean => {
                let distances = squared.sqrt();
                (distances.clone(), distances.mul_scalar(-positions.scale))
            }
        };
        let scores = if margin > 0.0 {
            scores - distances.clone().mul_scalar(positions.rate() * margin)
        } else {
            scores
        };
        let (nearest, is_nearest) = nearest_of(&distances, classes);
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
            is_nearest,
            nearest,
            distances,
            shares,
            score: score + positions.zero_if_finite(),
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

    /// The gradients by the features, `[batch_size, feature_dim]`, and by the centers of their classes,
    /// `[batch_size * sub_centers, feature_dim]`, of losses with these derivatives, `[batch_size, 1]`: `by_score` by
    /// minus the score, and `by_nearest` by the distance to the nearest center, if it counts. The part of the score
    /// that is linear in the features is in [`from`](Self::from).
    pub fn gradients(
        &self,
        positions: &Positions,
        by_score: &Tensor<2>,
        by_nearest: Option<Tensor<2>>,
    ) -> [Tensor<2>; 2] {
        let [batch_size, sub_centers, feature_dim] = self.differences.dims();
        let shares = match self.shares.clone() {
            Some(shares) => shares * by_score.clone(),
            None => by_score.clone(),
        };
        let rate = positions.rate();
        // The factor of the distances.
        let mut by_distance = match positions.distance {
            SoftmaxDistance::SquaredEuclidean => shares.clone().mul_scalar(rate * self.margin),
            SoftmaxDistance::Euclidean => shares.clone().mul_scalar(rate * (1.0 + self.margin)),
        };
        if let Some(by_nearest) = by_nearest {
            by_distance = by_distance
                + match self.is_nearest.clone() {
                    Some(is_nearest) => {
                        let by_nearest = by_nearest.expand(shares.dims());
                        by_nearest.mask_fill(is_nearest.bool_not(), 0.0)
                    }
                    None => by_nearest,
                };
        }
        let (by_difference, by_product) = match positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let by_product = shares.mul_scalar(-positions.scale);
                (by_distance.mul_scalar(2.0), Some(by_product))
            }
            SoftmaxDistance::Euclidean => {
                let distances = self.distances.clone();
                let is_zero = distances.clone().equal_elem(0.0);
                let by_difference = by_distance / no_zero(distances);
                (by_difference.mask_fill(is_zero, 0.0), None)
            }
        };
        let steps = |factors: Tensor<2>| self.differences.clone() * factors.unsqueeze_dim::<3>(2);
        let by_features = steps(by_difference.clone());
        let by_features = match sub_centers {
            1 => by_features.squeeze_dim(1),
            _ => sum_dim(by_features, 1).squeeze_dim(1),
        };
        let to_centers = match by_product {
            Some(by_product) => by_product - by_difference,
            None => by_difference.neg(),
        };
        let by_centers = steps(to_centers).reshape([batch_size * sub_centers, feature_dim]);
        [by_features, by_centers]
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
