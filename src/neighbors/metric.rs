//! How near a reference is to a query.

use super::error::KnnError;
use super::inner_product::inner_product;
use super::length::Length;
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
///
/// No value is NaN. A squared difference above `f64::MAX` makes a Euclidean distance infinite; infinite distances are
/// equal. An inner product is infinite, with its sign, only if the whole sum exceeds `f64::MAX`, not if a part of it does.
/// What the queries' float type cannot hold is reported as infinite too, and is still ordered by its value in `f64`.
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
                if let Some(length) = Length::of(row) {
                    length.divide(row);
                }
            }
        }
        rows
    }

    /// Checks that stored rows are as [`prepare`](Self::prepare) leaves them. The error calls them `name`.
    pub(crate) fn check_prepared(self, rows: &Rows, name: &'static str) -> Result<(), KnnError> {
        if self != Self::Cosine {
            return Ok(());
        }
        for (row, values) in rows.iter().enumerate() {
            let length = Length::of(values).map_or(0.0, |length| length.value());
            if length != 0.0 && !((length - 1.0).abs() < 1e-9) {
                return Err(KnnError::StoredDirection { name, row, length });
            }
        }
        Ok(())
    }

    /// A number that orders references: the smaller, the nearer. Never NaN.
    pub(crate) fn rank(self, query: &[f64], reference: &[f64]) -> f64 {
        match self {
            Self::Cosine if is_zero(query) || is_zero(reference) => 1.0,
            Self::SquaredEuclidean | Self::Euclidean | Self::Cosine => {
                self.rank_of_squared(squared_distance(query, reference))
            }
            // A product of -0 must tie with one of +0; the addition makes both +0.
            Self::InnerProduct => -inner_product(query, reference) + 0.0,
        }
    }

    /// The rank of two prepared rows at this squared distance. Under `Cosine` neither may be zero; `InnerProduct` has no
    /// such rank.
    pub(crate) fn rank_of_squared(self, squared: f64) -> f64 {
        match self {
            // For unit rows 1 - x . y = |x - y|^2 / 2. The right side is zero for equal rows and does not cancel.
            Self::Cosine => squared / 2.0,
            _ => squared,
        }
    }

    /// `|x - y|^2` of two prepared rows of this rank; not defined under `InnerProduct`.
    pub(crate) fn squared(self, rank: f64) -> f64 {
        match self {
            Self::Cosine => 2.0 * rank,
            _ => rank,
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

/// `|x - y|^2`, summed in the order of the columns.
fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Whether the row has no direction.
pub(crate) fn is_zero(row: &[f64]) -> bool {
    row.iter().all(|v| *v == 0.0)
}
