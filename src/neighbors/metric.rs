//! How near a reference is to a query.

use super::error::KnnError;
use super::rows::Rows;
use burn::config::Config;

/// The distance by which a [`KnnClassifier`](super::KnnClassifier) finds neighbors.
///
/// ```text
/// SquaredEuclidean  |x - y|^2
/// Euclidean         |x - y|
/// Cosine            1 - (x . y) / (|x| |y|)
/// InnerProduct      x . y
/// ```
///
/// x is a query and y a reference. The value is reported as their distance. The smallest value is the
/// nearest, except that under `InnerProduct` the largest is. A row of zeros has no direction: its cosine with any row
/// counts as 0, so that its distance is 1.
///
/// No value is NaN. A squared difference above `f64::MAX` makes a Euclidean distance infinite; infinite distances are
/// equal. An inner product is infinite, with its sign, only if the whole sum exceeds `f64::MAX`, not if a part does.
/// A distance that the queries' float type cannot hold is reported as infinite too, and is still ordered by its value in
/// `f64`.
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
    /// The rank under `Cosine` if one of the two rows is zero.
    pub(crate) const RANK_WITHOUT_DIRECTION: f64 = 1.0;

    /// Brings rows into the form that [`rank`](Self::rank) takes: rows of unit length under `Cosine`.
    pub(crate) fn prepare(self, mut rows: Rows) -> Rows {
        if self == Self::Cosine {
            rows.iter_mut().for_each(normalize);
        }
        rows
    }

    /// Checks that stored rows are as [`prepare`](Self::prepare) leaves them. The error calls them `name`.
    pub(crate) fn check_prepared(self, rows: &Rows, name: &'static str) -> Result<(), KnnError> {
        if self != Self::Cosine {
            return Ok(());
        }
        for (row, values) in rows.iter().enumerate() {
            let length = norm(values);
            if !is_zero(values) && (length - 1.0).abs() >= 1e-9 {
                let reason = format!(
                    "with a row of length {length} at index {row}; directions must have length 1, or 0 for none"
                );
                return Err(KnnError::Stored { name, reason });
            }
        }
        Ok(())
    }

    /// A number that orders references: the smaller, the nearer. Never NaN.
    pub(crate) fn rank(self, query: &[f64], reference: &[f64]) -> f64 {
        match self {
            Self::Cosine if is_zero(query) || is_zero(reference) => Self::RANK_WITHOUT_DIRECTION,
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
            Self::Euclidean => rank.sqrt(),
            Self::InnerProduct => -rank + 0.0,
        }
    }
}

/// `|x - y|^2`, summed in the order of the columns.
fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The Euclidean length of a row whose squares neither overflow nor vanish.
pub(crate) fn norm(row: &[f64]) -> f64 {
    row.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Divides a row of any size by its length. A row of zeros stays.
fn normalize(row: &mut [f64]) {
    let max_abs = row.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
    if max_abs > 0.0 {
        row.iter_mut().for_each(|value| *value /= max_abs);
        let length = norm(row);
        row.iter_mut().for_each(|value| *value /= length);
    }
}

/// Whether the row has no direction.
pub(crate) fn is_zero(row: &[f64]) -> bool {
    row.iter().all(|v| *v == 0.0)
}

/// `x . y` of finite numbers, summed in their order. It is infinite if `f64` cannot hold it, and never NaN.
fn inner_product(x: &[f64], y: &[f64]) -> f64 {
    /// No sum of products of numbers that are multiplied by it overflows.
    const SCALE: f64 = f64::from_bits((1023 - 540) << 52);
    let sum = |scale: f64| -> f64 {
        let terms = x.iter().zip(y).map(|(x, y)| (x * scale) * (y * scale));
        terms.sum()
    };
    let plain = sum(1.0);
    if plain.is_finite() {
        return plain;
    }
    // A term or a part of the sum overflowed.
    sum(SCALE) / SCALE / SCALE
}

#[cfg(test)]
impl KnnMetric {
    pub(crate) const ALL: [Self; 4] = [
        Self::SquaredEuclidean,
        Self::Euclidean,
        Self::Cosine,
        Self::InnerProduct,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distance(metric: KnnMetric, x: &[f64], y: &[f64]) -> f64 {
        let prepared = |row: &[f64]| metric.prepare(Rows::from_values(row.to_vec(), row.len()));
        let rank = metric.rank(prepared(x).row(0), prepared(y).row(0));
        metric.distance(rank)
    }

    #[test]
    fn distances_by_the_formula() {
        let (x, y) = ([3.0, 0.0], [3.0, 4.0]);
        let expected = [16.0, 4.0, 0.4, 9.0];
        for (metric, expected) in KnnMetric::ALL.into_iter().zip(expected) {
            let actual = distance(metric, &x, &y);
            assert!((actual - expected).abs() < 1e-15, "{metric:?}: {actual}");
            assert_eq!(distance(metric, &y, &x), actual);
        }
    }

    #[test]
    fn directions_of_rows_of_any_size() {
        for scale in [1e-320, 1e-300, 1.0, 1e100, 1e307] {
            let rows = Rows::from_values(vec![-3.0 * scale, 4.0 * scale], 2);
            let unit = KnnMetric::Cosine.prepare(rows);
            // The values themselves are rounded to multiples of 2^-1074.
            let tolerance = 1e-15 + 5e-324 / scale;
            assert!(
                (unit.row(0)[0] + 0.6).abs() < tolerance,
                "{scale}: {unit:?}"
            );
            assert!(
                (unit.row(0)[1] - 0.8).abs() < tolerance,
                "{scale}: {unit:?}"
            );
        }
    }

    #[test]
    fn a_row_of_zeros_is_at_cosine_distance_one() {
        let (zero, row) = ([0.0, -0.0], [0.0, 2.0]);
        for (x, y) in [(&zero, &row), (&row, &zero), (&zero, &zero)] {
            assert_eq!(distance(KnnMetric::Cosine, x, y), 1.0);
        }
        assert_eq!(distance(KnnMetric::Cosine, &row, &[0.0, 5e300]), 0.0);
        assert_eq!(distance(KnnMetric::Cosine, &row, &[0.0, -1e-320]), 2.0);
        assert_eq!(distance(KnnMetric::Cosine, &row, &[7.0, 0.0]), 1.0);
    }

    #[test]
    fn zeros_of_either_sign_are_equal_ranks_and_distances() {
        let metric = KnnMetric::InnerProduct;
        for (x, y) in [(0.0, 1.0), (0.0, -1.0), (-0.0, -1.0)] {
            let rank = metric.rank(&[x], &[y]);
            assert_eq!(rank.to_bits(), 0);
            assert_eq!(metric.distance(rank).to_bits(), 0);
        }
    }

    #[test]
    fn squared_distances_of_a_rank() {
        let (x, y) = (
            Rows::from_values(vec![1.0, 0.0], 2),
            Rows::from_values(vec![0.6, 0.8], 2),
        );
        for metric in [KnnMetric::SquaredEuclidean, KnnMetric::Cosine] {
            let rank = metric.rank(x.row(0), y.row(0));
            assert!((metric.squared(rank) - 0.8).abs() < 1e-15, "{metric:?}");
        }
    }

    #[test]
    fn prepared_rows_pass_the_check_and_others_are_named() {
        let values = vec![0.0, 0.0, 1e-310, 3e-310, -1e308, 1.7e308, 0.1, 0.7];
        let rows = Rows::from_values(values, 2);
        for metric in KnnMetric::ALL {
            let prepared = metric.prepare(rows.clone());
            assert_eq!(metric.check_prepared(&prepared, "rows"), Ok(()));
        }
        for metric in [KnnMetric::Euclidean, KnnMetric::InnerProduct] {
            assert_eq!(metric.check_prepared(&rows, "rows"), Ok(()));
        }
        for (value, length) in [(0.5, 0.5), (-2.0, 2.0), (1.0 + 1e-8, 1.0 + 1e-8)] {
            let rows = Rows::from_values(vec![1.0, -1.0, value], 1);
            let error = KnnMetric::Cosine.check_prepared(&rows, "rows").unwrap_err();
            let found = format!("rows is stored with a row of length {length} at index 2; ");
            assert!(error.to_string().starts_with(&found), "{error}");
        }
    }

    #[test]
    fn a_sum_beyond_the_largest_number_is_an_infinity_of_its_sign() {
        assert_eq!(
            inner_product(&[1e200, 1.0], &[1e200, -1e300]),
            f64::INFINITY
        );
        assert_eq!(
            inner_product(&[-1e200, 1.0], &[1e200, 1e300]),
            f64::NEG_INFINITY
        );
        assert_eq!(
            inner_product(&[f64::MAX; 3], &[f64::MAX, -f64::MAX, -f64::MAX]),
            f64::NEG_INFINITY
        );
        assert_eq!(
            inner_product(&[f64::MAX, f64::MIN_POSITIVE], &[f64::MAX, 1.0]),
            f64::INFINITY
        );
    }

    /// Integer mantissas and one exponent for each factor, so that the sum of the products is known exactly.
    fn products() -> impl Strategy<Value = Vec<(i32, i32)>> {
        prop::collection::vec((-1000_i32..=1000, -1000_i32..=1000), 1..20)
    }

    proptest! {
        #[test]
        fn of_any_scale_equals_exact_integers(terms in products(), scale in (-100_i32..1014, -100_i32..1014)) {
            let power = |exponent: i32| f64::from_bits(((1023 + exponent) as u64) << 52);
            let x: Vec<f64> = terms.iter().map(|(x, _)| f64::from(*x) * power(scale.0)).collect();
            let y: Vec<f64> = terms.iter().map(|(_, y)| f64::from(*y) * power(scale.1)).collect();
            let exact: i64 = terms.iter().map(|(x, y)| i64::from(*x) * i64::from(*y)).sum();
            // One factor after the other, the smaller one first: only the product itself can overflow.
            let (less, more) = (scale.0.min(scale.1), scale.0.max(scale.1));
            let expected = exact as f64 * power(less) * power(more);
            prop_assert_eq!(inner_product(&x, &y), expected);
        }

        #[test]
        fn of_any_finite_numbers_is_no_nan(
            terms in prop::collection::vec((any::<u64>(), any::<u64>()), 1..20),
        ) {
            let finite = |bits: u64| {
                let value = f64::from_bits(bits);
                if value.is_finite() { value } else { f64::MAX }
            };
            let x: Vec<f64> = terms.iter().map(|(x, _)| finite(*x)).collect();
            let y: Vec<f64> = terms.iter().map(|(_, y)| finite(*y)).collect();
            prop_assert!(!inner_product(&x, &y).is_nan());
        }
    }
}
