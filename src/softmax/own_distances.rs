use burn::tensor::{Bool, DType, Int, Tensor};

use super::pairs::Positions;
use crate::device::is_host;
use crate::distance::{SoftmaxDistance, no_zero};
use crate::reduce::{max_dim, sum_dim};

/// Distances between features and the centers of their classes, of direct differences, and the scores of these
/// classes. All without autodiff.
#[derive(Debug)]
pub(super) struct OwnDistances {
    /// The rows of the centers, `[batch_size * sub_centers]`.
    pub rows: Tensor<1, Int>,
    /// From the centers to the features, `[batch_size, sub_centers, feature_dim]`.
    pub differences: Tensor<3>,
    /// The centers less the origin, of the same shape.
    centers: Tensor<3>,
    /// `[batch_size, sub_centers]`
    distances: Tensor<2>,
    /// The place of the nearest center among those of the class, `[batch_size, sub_centers]`.
    is_nearest: Tensor<2, Bool>,
    /// The distance to the nearest center, `[batch_size, 1]`.
    pub nearest: Tensor<2>,
    /// The share of each center in the score of its class, `[batch_size, sub_centers]`.
    shares: Tensor<2>,
    /// The score, `[batch_size, 1]`. On the host in `f64`.
    pub score: Tensor<2>,
    margin: f64,
}

impl OwnDistances {
    /// Of samples of the given classes, `[batch_size]`.
    pub fn new(positions: &Positions, classes: &Tensor<1, Int>, margin: f64) -> Self {
        let [batch_size, feature_dim] = positions.features.dims();
        let (sub_centers, dtype) = (positions.sub_centers, positions.features.dtype());
        let wide = match is_host(&classes.device()) {
            true => DType::F64,
            false => dtype,
        };
        let places = Tensor::<1, Int>::arange(0..sub_centers as i64, &classes.device());
        let places = places.cast(classes.dtype()).unsqueeze_dim::<2>(0);
        let first = classes.clone().mul_scalar(sub_centers as i64);
        let shape = [batch_size, sub_centers];
        let rows = first.unsqueeze_dim::<2>(1).expand(shape) + places.clone().expand(shape);
        let rows = rows.reshape([batch_size * sub_centers]);
        let centers = positions.centers.clone().select(0, rows.clone());
        let centers = centers
            .reshape([batch_size, sub_centers, feature_dim])
            .cast(wide);
        let features = positions.features.clone().cast(wide).unsqueeze_dim::<3>(1);
        let origin = positions.origin.clone().cast(wide).unsqueeze_dim::<3>(0);
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
        let largest = max_dim(scores.clone(), 1);
        let shares = (scores - largest.clone()).exp();
        let total = sum_dim(shares.clone(), 1);
        let (nearest, place) = nearest_of(&distances, classes);
        Self {
            rows,
            differences: differences.cast(dtype),
            centers: centers.cast(dtype),
            is_nearest: place.expand(shape).equal(places.expand(shape)),
            nearest,
            distances,
            shares: shares / total.clone(),
            score: total.log() + largest + positions.zero_if_finite().cast(wide),
            margin,
        }
    }

    /// The gradients by the features, `[batch_size, feature_dim]`, and by the centers of their classes,
    /// `[batch_size * sub_centers, feature_dim]`, of losses with these derivatives, `[batch_size, 1]`: `by_score` by
    /// minus the score, and `by_nearest` by the distance to the nearest center, if it counts.
    pub fn gradients(
        &self,
        positions: &Positions,
        by_score: &Tensor<2>,
        by_nearest: Option<Tensor<2>>,
    ) -> [Tensor<2>; 2] {
        let [batch_size, sub_centers, feature_dim] = self.differences.dims();
        let dtype = by_score.dtype();
        let shares = self.shares.clone().cast(dtype) * by_score.clone();
        let rate = positions.rate();
        // The factor of the distances.
        let mut by_distance = match positions.distance {
            SoftmaxDistance::SquaredEuclidean => shares.clone().mul_scalar(rate * self.margin),
            SoftmaxDistance::Euclidean => shares.clone().mul_scalar(rate * (1.0 + self.margin)),
        };
        if let Some(by_nearest) = by_nearest {
            let others = self.is_nearest.clone().bool_not();
            by_distance = by_distance + by_nearest.expand(shares.dims()).mask_fill(others, 0.0);
        }
        let column = |factors: Tensor<2>| factors.unsqueeze_dim::<3>(2);
        let rows = |steps: Tensor<3>| steps.reshape([batch_size * sub_centers, feature_dim]);
        let along = |steps: Tensor<3>| sum_dim(steps, 1).squeeze_dim::<2>(1);
        let differences = self.differences.clone();
        match positions.distance {
            SoftmaxDistance::SquaredEuclidean => {
                let direct = by_distance.mul_scalar(2.0);
                let product = shares.mul_scalar(-positions.scale);
                let by_features = differences.clone() * column(direct.clone())
                    + self.centers.clone() * column(product.clone());
                [
                    along(by_features),
                    rows(differences * column(product - direct)),
                ]
            }
            SoftmaxDistance::Euclidean => {
                let distances = self.distances.clone().cast(dtype);
                let is_zero = distances.clone().equal_elem(0.0);
                let direct = (by_distance / no_zero(distances)).mask_fill(is_zero, 0.0);
                let steps = differences * column(direct);
                [along(steps.clone()), rows(steps.neg())]
            }
        }
    }
}

/// The smallest of the distances of a row, `[batch_size, 1]`, and its place, the first of several.
fn nearest_of(distances: &Tensor<2>, classes: &Tensor<1, Int>) -> (Tensor<2>, Tensor<2, Int>) {
    let [_, count] = distances.dims();
    let mut nearest = distances.clone().narrow(1, 0, 1);
    let mut place = classes.zeros_like().unsqueeze_dim::<2>(1);
    for other in 1..count {
        let distance = distances.clone().narrow(1, other, 1);
        let is_nearer = distance.clone().lower(nearest.clone());
        nearest = nearest.mask_where(is_nearer.clone(), distance);
        place = place.mask_fill(is_nearer, other as i64);
    }
    (nearest, place)
}
