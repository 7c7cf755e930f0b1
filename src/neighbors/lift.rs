//! Vectors whose dot products order references by their distance to a query, with a bound on the rounding.
//!
//! ```text
//! Euclidean      |x - y|^2 / 2 - |x|^2 / 2 = [x, 1] . [-y, |y|^2 / 2]
//! cosine, inner  -x . y                    = x . -y
//! ```
//!
//! x is a query and y a reference. The product on the right is the key of the pair. For one query the key grows with
//! the distance. A positive factor on the query's vector or on all reference vectors does not change the order. Both
//! are therefore scaled to at most unit length, so that one constant bounds the rounding of a key on a device.

use super::metric::{KnnMetric, norm};
use super::rows::Rows;
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::f64::consts::SQRT_2;

/// A bound on |computed key - true key| for the keys of one query.
pub(crate) struct Tolerance(f64);

impl Tolerance {
    /// The largest computed key that one of the k nearest references may have, if k references have computed keys of
    /// at most `key`.
    ///
    /// The true keys of those k references are at most `key` + tolerance. The true key of a reference whose computed
    /// key is above `key` + 2 tolerance is larger than that, so k references are nearer.
    pub(crate) fn limit(&self, key: f64) -> f64 {
        key + 2.0 * self.0
    }
}

/// The factors of a product of two `f32` on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// The two numbers.
    Whole,
    /// The two numbers or, as accelerators do (TF32), the two numbers cut to 11 significant bits.
    Cut,
}

/// Maps references, and the queries put to them, to vectors of at most unit length.
#[derive(Clone)]
pub(crate) struct Lift {
    euclidean: bool,
    factors: Factors,
    /// Subtracted from Euclidean rows. Far from the origin |y|^2 would otherwise swamp the distances.
    origin: Vec<f64>,
    /// Multiplied with Euclidean rows. It gives the longest row the length sqrt 2, for which
    /// |[x, 1]| |[-y, |y|^2 / 2]| is smallest relative to |y|^2.
    unit: f64,
    /// Length of the longest reference vector before it is scaled.
    longest: f64,
    /// False if squares of the references overflow or vanish. All vectors are zero then, and every tolerance is infinite.
    usable: bool,
}

/// Whether squares of this length neither overflow nor vanish.
fn has_squares(length: f64) -> bool {
    length == 0.0 || (1e-150..1e150).contains(&length)
}

impl Lift {
    /// The mapping for rows that `metric` has prepared.
    pub(crate) fn new(references: &Rows, metric: KnnMetric, factors: Factors) -> Self {
        let euclidean = matches!(metric, KnnMetric::SquaredEuclidean | KnnMetric::Euclidean);
        let mut lift = Self {
            euclidean,
            factors,
            origin: vec![0.0; references.columns()],
            unit: 1.0,
            longest: 0.0,
            usable: true,
        };
        let mut radius = 0.0;
        if euclidean {
            lift.origin = mean(references);
            radius = longest(references, |row, out| lift.shift(row, out));
            if radius > 0.0 {
                lift.unit = SQRT_2 / radius;
            }
        }
        lift.longest = longest(references, |row, out| lift.raw_reference(row, out));
        lift.usable = has_squares(radius) && has_squares(lift.longest);
        lift
    }

    pub(crate) fn factors(&self) -> Factors {
        self.factors
    }

    /// Columns of the vectors that [`query`](Self::query) and [`reference`](Self::reference) append.
    pub(crate) fn width(&self) -> usize {
        match self.factors {
            Factors::Whole => self.raw_width(),
            Factors::Cut => 3 * self.raw_width(),
        }
    }

    /// Appends a reference's vector.
    pub(crate) fn reference(&self, row: &[f64], out: &mut Vec<f32>) {
        self.append(&self.scaled_reference(row), 1, out);
    }

    /// Appends a query's vector. Returns how far its products with the references may be off.
    pub(crate) fn query(&self, row: &[f64], out: &mut Vec<f32>) -> Tolerance {
        let (vector, tolerance) = self.scaled_query(row);
        self.append(&vector, 2, out);
        tolerance
    }

    /// Appends the factors of a vector. If they may be cut: three times the high parts, but the rests at `low`.
    fn append(&self, vector: &[f64], low: usize, out: &mut Vec<f32>) {
        if self.factors == Factors::Whole {
            return out.extend(vector.iter().map(|v| *v as f32));
        }
        let (high_parts, rests) = split(vector);
        for part in 0..3 {
            out.extend(if part == low { &rests } else { &high_parts });
        }
    }

    fn scaled_reference(&self, row: &[f64]) -> Vec<f64> {
        let mut vector = Vec::with_capacity(self.raw_width());
        self.raw_reference(row, &mut vector);
        if !self.usable {
            vector.fill(0.0);
        } else if self.longest > 0.0 {
            vector.iter_mut().for_each(|v| *v /= self.longest);
        }
        vector
    }

    fn scaled_query(&self, row: &[f64]) -> (Vec<f64>, Tolerance) {
        let mut vector = Vec::with_capacity(self.raw_width());
        self.shift(row, &mut vector);
        vector.iter_mut().for_each(|v| *v *= self.unit);
        let mut distance = 0.0;
        if self.euclidean {
            distance = norm(&vector);
            vector.push(1.0);
        }
        let length = norm(&vector);
        let usable = self.usable
            && length > 0.0
            && has_squares(length)
            && self.keeps_order(distance, length);
        if !usable {
            vector.fill(0.0);
            return (vector, Tolerance(f64::INFINITY));
        }
        vector.iter_mut().for_each(|v| *v /= length);
        (vector, Tolerance(self.rounding(distance)))
    }

    /// A bound on |computed key - true key| for a query at this scaled distance from the origin, which is 0 if rows are
    /// not Euclidean.
    ///
    /// A whole factor is off by 2^-24 for being `f32`, the two of a product by 2^-23. Factors that may be cut are given
    /// as high + low, where high has 11 significant bits and low is at most 2^-10 of the whole. Products of two high
    /// parts are exact. Each of the two products of a low part with a high part loses at most 2^-20 if the low part is
    /// cut, and the product of the two low parts, which is left out, is at most 2^-20: together 3 * 2^-20.
    ///
    /// Each of the `width` additions, with the product that it adds, loses at most 2^-23, which is twice a rounding;
    /// an accelerator at most 2^-22, since some cut instead of rounding. The last term is for the `f64` arithmetic, of
    /// the keys and of the ranks that are compared afterwards.
    fn rounding(&self, distance: f64) -> f64 {
        let columns = self.raw_width() as f64;
        let (factors, addition) = match self.factors {
            Factors::Whole => (1.0 / (1 << 22) as f64, 1.0 / (1 << 23) as f64),
            Factors::Cut => (1.0 / (1 << 18) as f64, 1.0 / (1 << 22) as f64),
        };
        let host = (columns + 4.0) * (1.0 + distance) * 4.0 * f64::EPSILON;
        factors + self.width() as f64 * addition + host
    }

    /// Whether ranks are in the order of the true distances but for rounding: no square or product overflows.
    ///
    /// `distance` is the query's scaled distance from the origin as in [`rounding`](Self::rounding), `length` the length of
    /// its vector before it is scaled.
    fn keeps_order(&self, distance: f64, length: f64) -> bool {
        if self.euclidean {
            has_squares((distance + SQRT_2) / self.unit)
        } else {
            length * self.longest < 1e300
        }
    }

    /// Columns of a vector before its factors are split.
    fn raw_width(&self) -> usize {
        self.origin.len() + usize::from(self.euclidean)
    }

    /// Appends the row as seen from the origin.
    fn shift(&self, row: &[f64], out: &mut Vec<f64>) {
        out.extend(row.iter().zip(&self.origin).map(|(v, origin)| v - origin));
    }

    /// Appends a reference's vector before it is scaled to at most unit length.
    fn raw_reference(&self, row: &[f64], out: &mut Vec<f64>) {
        self.shift(row, out);
        out.iter_mut().for_each(|v| *v *= -self.unit);
        if self.euclidean {
            out.push(out.iter().map(|v| v * v).sum::<f64>() / 2.0);
        }
    }
}

/// The length of the longest vector that `map` appends for a row.
fn longest(rows: &Rows, map: impl Fn(&[f64], &mut Vec<f64>)) -> f64 {
    let mut vector = Vec::new();
    rows.iter().fold(0.0, |longest, row| {
        vector.clear();
        map(row, &mut vector);
        longest.max(norm(&vector))
    })
}

/// The mean of the rows.
fn mean(rows: &Rows) -> Vec<f64> {
    let count = rows.len() as f64;
    let mut mean = vec![0.0; rows.columns()];
    for row in rows.iter() {
        for (mean, value) in mean.iter_mut().zip(row) {
            *mean += value / count;
        }
    }
    mean
}

/// High parts of 11 significant bits, and the rests.
fn split(values: &[f64]) -> (Vec<f32>, Vec<f32>) {
    values
        .iter()
        .map(|value| {
            let high = cut(*value as f32);
            (high, (value - f64::from(high)) as f32)
        })
        .unzip()
}

/// The number without all but its first 11 significant bits.
fn cut(value: f32) -> f32 {
    const LOW_BITS: u32 = (1 << 13) - 1;
    f32::from_bits(value.to_bits() & !LOW_BITS)
}

/// Vectors, one after the other, as a matrix on the device.
pub(crate) fn matrix(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(
        TensorData::new(values, [rows, columns]),
        (device, DType::F32),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METRICS: [KnnMetric; 3] = [
        KnnMetric::SquaredEuclidean,
        KnnMetric::Cosine,
        KnnMetric::InnerProduct,
    ];

    const FACTORS: [Factors; 2] = [Factors::Whole, Factors::Cut];

    /// The key of a pair by the formula of the module, from the rows and the mapping's constants. Its rounding in `f64` is
    /// far below every tolerance.
    fn true_key(lift: &Lift, query: &[f64], reference: &[f64]) -> f64 {
        let scaled = |row: &[f64]| -> Vec<f64> {
            let shifted = row.iter().zip(&lift.origin);
            shifted
                .map(|(v, origin)| (v - origin) * lift.unit)
                .collect()
        };
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let (mut x, mut y) = (scaled(query), scaled(reference));
        if lift.euclidean {
            x.push(1.0);
            y.push(-dot(&y, &y) / 2.0);
        }
        let longest = if lift.longest > 0.0 {
            lift.longest
        } else {
            1.0
        };
        -dot(&x, &y) / norm(&x) / longest
    }

    /// The key as a device computes it in `f32`: the columns in order or reversed, and, if it cuts factors, with sums
    /// that are cut too.
    fn computed_key(factors: Factors, query: &[f32], reference: &[f32], reversed: bool) -> f32 {
        let mut products: Vec<f64> = query
            .iter()
            .zip(reference)
            .map(|(&x, &y)| match factors {
                Factors::Whole => f64::from(x * y),
                Factors::Cut => f64::from(cut(x)) * f64::from(cut(y)),
            })
            .collect();
        if reversed {
            products.reverse();
        }
        products.into_iter().fold(0.0_f32, |sum, product| {
            let exact = f64::from(sum) + product;
            let rounded = exact as f32;
            match factors {
                Factors::Cut if f64::from(rounded.abs()) > exact.abs() => {
                    f32::from_bits(rounded.to_bits() - 1)
                }
                _ => rounded,
            }
        })
    }

    #[derive(Clone, Debug)]
    struct Rounding {
        columns: usize,
        references: Vec<f64>,
        queries: Vec<f64>,
    }

    /// References around a point, and queries around it or somewhere else, each of any scale.
    fn roundings() -> impl Strategy<Value = Rounding> {
        let scale = || {
            prop_oneof![
                Just(1.0),
                (-300_i32..300).prop_map(|exponent| 2.0_f64.powi(exponent)),
                // Scales of which only squares overflow or vanish, and the limits.
                (-1070_i32..1023).prop_map(|exponent| 2.0_f64.powi(exponent)),
            ]
        };
        let value = || prop_oneof![3 => -1.0..1.0_f64, 1 => (-3_i8..=3).prop_map(f64::from)];
        let offset = prop_oneof![Just(0.0), -1e6..1e6_f64, Just(1e12)];
        (1_usize..40, 1_usize..30, 1_usize..6).prop_flat_map(move |(columns, count, queries)| {
            (
                prop::collection::vec(value(), columns * count),
                prop::collection::vec(value(), columns * queries),
                scale(),
                prop_oneof![Just(1.0), (-30_i32..70).prop_map(|e| 2.0_f64.powi(e))],
                offset.clone(),
            )
                .prop_map(move |(references, queries, scale, ratio, offset)| {
                    let finite = |value: f64| value.clamp(-f64::MAX, f64::MAX);
                    let moved = |value: &f64| finite((value + offset) * scale);
                    Rounding {
                        columns,
                        references: references.iter().map(moved).collect(),
                        queries: queries
                            .iter()
                            .map(|value| finite((value * ratio + offset) * scale))
                            .collect(),
                    }
                })
        })
    }

    /// Everything that makes the search exact: lengths, the bound on each key, and the order of the ranks.
    fn check(problem: &Rounding, metric: KnnMetric, factors: Factors) -> Result<(), TestCaseError> {
        let rows =
            |values: &[f64]| metric.prepare(Rows::from_values(values.to_vec(), problem.columns));
        let (references, queries) = (rows(&problem.references), rows(&problem.queries));
        let lift = Lift::new(&references, metric, factors);
        let lengths: Vec<f64> = references
            .iter()
            .map(|row| norm(&lift.scaled_reference(row)))
            .collect();
        let longest = lengths.iter().copied().fold(0.0, f64::max);
        if lift.usable && lift.longest > 0.0 {
            prop_assert!((longest - 1.0).abs() < 1e-14, "longest of {lengths:?}");
        } else {
            prop_assert_eq!(longest, 0.0);
        }
        let vectors: Vec<Vec<f32>> = references
            .iter()
            .map(|row| {
                let mut vector = Vec::new();
                lift.reference(row, &mut vector);
                vector
            })
            .collect();
        for row in queries.iter() {
            let (scaled, _) = lift.scaled_query(row);
            let length = norm(&scaled);
            prop_assert!(
                length == 0.0 || (length - 1.0).abs() < 1e-14,
                "length {length}"
            );
            let mut vector = Vec::new();
            let tolerance = lift.query(row, &mut vector);
            prop_assert_eq!(vector.len(), lift.width());
            prop_assert!(vector.iter().all(|v| v.is_finite()));
            let keys: Vec<f64> = vectors
                .iter()
                .enumerate()
                .map(|(at, other)| f64::from(computed_key(factors, &vector, other, at % 2 == 1)))
                .collect();
            prop_assert!(keys.iter().all(|key| key.is_finite()));
            if tolerance.0.is_infinite() {
                continue;
            }
            prop_assert!(length > 0.0);
            for (key, reference) in keys.iter().zip(references.iter()) {
                let true_key = true_key(&lift, row, reference);
                prop_assert!(
                    (key - true_key).abs() <= tolerance.0,
                    "{metric:?} {factors:?}: key {key}, true {true_key}, tolerance {}",
                    tolerance.0
                );
            }
            let ranks = references
                .iter()
                .map(|reference| metric.rank(row, reference));
            let mut sorted: Vec<(f64, f64)> = ranks.zip(keys).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
            // Of equal ranks the index decides, so that any of them may be the nearer one.
            for k in 1..=sorted.len() {
                let (rank, _) = sorted[k - 1];
                let mut smallest: Vec<f64> = sorted.iter().map(|(_, key)| *key).collect();
                smallest.sort_by(f64::total_cmp);
                let limit = tolerance.limit(smallest[k - 1]);
                for (other, key) in &sorted {
                    prop_assert!(
                        *other > rank || *key <= limit,
                        "{metric:?} {factors:?} k {k}"
                    );
                }
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_key_is_off_by_more_than_its_tolerance(problem in roundings()) {
            for metric in METRICS {
                for factors in FACTORS {
                    check(&problem, metric, factors)?;
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Queries so far away that the ranks of the references round to few different numbers.
        #[test]
        fn no_rank_of_a_far_query_is_off_by_more_than_its_tolerance(
            columns in 1_usize..5,
            references in prop::collection::vec(-1.0..1.0_f64, 4..60),
            query in prop::collection::vec(-1.0..1.0_f64, 4),
            exponent in 10_i32..60,
        ) {
            let whole = references.len() / columns * columns;
            let far = |value: &f64| value * 2.0_f64.powi(exponent);
            let problem = Rounding {
                columns,
                references: references[..whole].to_vec(),
                queries: query[..columns].iter().map(far).collect(),
            };
            for factors in FACTORS {
                check(&problem, KnnMetric::SquaredEuclidean, factors)?;
            }
        }
    }

    #[test]
    fn the_origin_of_euclidean_rows_is_their_mean() {
        let rows = Rows::from_values(vec![1.0, 10.0, 3.0, 40.0, 5.0, -20.0, 7.0, 90.0], 2);
        let origin = |metric| Lift::new(&rows, metric, Factors::Whole).origin;
        assert_eq!(origin(KnnMetric::Euclidean), [4.0, 30.0]);
        assert_eq!(origin(KnnMetric::InnerProduct), [0.0, 0.0]);
    }

    /// An infinite tolerance would be right, and as slow as comparing all.
    #[test]
    fn tolerances_of_ordinary_rows_are_small() {
        let row = |seed: usize| -> Vec<f64> {
            (0..16)
                .map(|d| ((seed + 3) * (d + 7) % 11) as f64)
                .collect()
        };
        let references: Vec<f64> = (0..50).flat_map(row).collect();
        for scale in [1e-100, 1.0, 1e100] {
            for metric in METRICS {
                for (factors, limit) in [(Factors::Whole, 3e-6), (Factors::Cut, 2e-5)] {
                    let scaled = |row: &[f64]| row.iter().map(|v| v * scale).collect();
                    let references = metric.prepare(Rows::from_values(scaled(&references), 16));
                    let queries = metric.prepare(Rows::from_values(scaled(&row(99)), 16));
                    let lift = Lift::new(&references, metric, factors);
                    let (_, tolerance) = lift.scaled_query(queries.row(0));
                    assert!(tolerance.0 > 0.0 && tolerance.0 < limit, "{}", tolerance.0);
                    assert_eq!(tolerance.limit(1.0), 1.0 + 2.0 * tolerance.0);
                }
            }
        }
    }

    #[test]
    fn squares_that_overflow_or_vanish_have_no_tolerance() {
        let tolerance = |metric, factors, scale: f64, query: f64| {
            let references = Rows::from_values(vec![scale, -scale], 1);
            let lift = Lift::new(&references, metric, factors);
            lift.scaled_query(&[query * scale]).1.0
        };
        for factors in FACTORS {
            for scale in [1e-160, 1.1e150, 1e155, f64::MAX] {
                let inner = tolerance(KnnMetric::InnerProduct, factors, scale, 1.0);
                assert!(inner.is_infinite(), "{scale}");
                for query in [0.0, 0.3, 1.0] {
                    let euclidean = tolerance(KnnMetric::SquaredEuclidean, factors, scale, query);
                    assert!(euclidean.is_infinite(), "{scale} {query}");
                }
            }
            // Squares of up to 1e300 are finite.
            for scale in [1e-144, 0.9e150] {
                for metric in [KnnMetric::SquaredEuclidean, KnnMetric::InnerProduct] {
                    let finite = tolerance(metric, factors, scale, 0.1);
                    assert!(finite < 1e-4, "{metric:?} {scale}");
                }
            }
        }
    }

    #[test]
    fn high_parts_have_eleven_bits_and_low_parts_the_rest() {
        let values = [1.0, -1.0 / 3.0, 0.1, 1e-20, 0.0];
        let (high, low) = split(&values);
        for ((value, high), low) in values.into_iter().zip(high).zip(low) {
            assert_eq!(cut(high), high);
            assert!(f64::from(low).abs() <= value.abs() / 1024.0);
            assert!(
                (f64::from(high) + f64::from(low) - value).abs() <= value.abs() * 2.0_f64.powi(-34)
            );
        }
        assert_eq!(cut(1.0 + 1.0 / 1024.0), 1.0 + 1.0 / 1024.0);
        assert_eq!(cut(1.0 + 1.0 / 2048.0), 1.0);
        assert_eq!(cut(-1.999_999), -2.0 + 1.0 / 1024.0);
    }
}
