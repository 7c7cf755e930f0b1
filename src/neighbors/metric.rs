//! How near a reference is to a query.

use super::rows::Rows;
use burn::config::Config;
use num_traits::Float;

/// What "near" means to a [`KnnClassifier`](super::KnnClassifier).
///
/// ```text
/// SquaredEuclidean  |x - y|^2
/// Euclidean         |x - y|
/// Cosine            1 - (x . y) / (|x| |y|)
/// InnerProduct      x . y
/// ```
///
/// x is a query and y a reference. The value is also what is reported as their distance. The smallest value is the
/// nearest, except that under `InnerProduct` the largest is. A row of zeros has no direction: its cosine with any row
/// counts as 0, so that its distance is 1.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum KnnMetric {
    /// The sum of the squared differences.
    SquaredEuclidean,
    /// The root of the sum of the squared differences. Same neighbors as `SquaredEuclidean`.
    Euclidean,
    /// One minus the cosine of the angle between the two.
    Cosine,
    /// The dot product; the largest is the nearest.
    InnerProduct,
}

impl KnnMetric {
    /// Brings rows into the form that [`rank`](Self::rank) takes: rows of unit length under `Cosine`.
    pub(crate) fn prepare(self, mut rows: Rows) -> Rows {
        if self == Self::Cosine {
            for row in rows.iter_mut() {
                // Divided by the largest entry first, so that no square overflows or vanishes.
                let largest = row.iter().fold(0.0_f64, |max, v| max.max(v.abs()));
                if largest > 0.0 {
                    row.iter_mut().for_each(|v| *v /= largest);
                    let length = Float::sqrt(row.iter().map(|v| v * v).sum::<f64>());
                    row.iter_mut().for_each(|v| *v /= length);
                }
            }
        }
        rows
    }

    /// A number that orders references: the smaller, the nearer.
    pub(crate) fn rank(self, query: &[f64], reference: &[f64]) -> f64 {
        match self {
            Self::Cosine if is_zero(query) || is_zero(reference) => 1.0,
            Self::SquaredEuclidean | Self::Euclidean | Self::Cosine => {
                self.rank_of_squared(squared_distance(query, reference))
            }
            // A product of -0 must tie with one of +0; the addition makes both +0.
            Self::InnerProduct => {
                -query.iter().zip(reference).map(|(x, y)| x * y).sum::<f64>() + 0.0
            }
        }
    }

    /// The rank of prepared rows at this squared distance, under `Cosine` of rows that aren't zero; not defined under
    /// `InnerProduct`.
    pub(crate) fn rank_of_squared(self, squared: f64) -> f64 {
        match self {
            // For unit rows 1 - x . y = |x - y|^2 / 2, which is zero for equal rows and exact for nearly equal ones.
            Self::Cosine => squared / 2.0,
            _ => squared,
        }
    }

    /// The distance to report for a rank.
    pub(crate) fn distance(self, rank: f64) -> f64 {
        match self {
            Self::SquaredEuclidean | Self::Cosine => rank,
            Self::Euclidean => Float::sqrt(rank),
            Self::InnerProduct => -rank + 0.0,
        }
    }
}

fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

pub(crate) fn is_zero(row: &[f64]) -> bool {
    row.iter().all(|v| *v == 0.0)
}
