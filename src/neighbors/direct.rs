//! Comparison of each query with each of a few centers.

use super::metric::{KnnMetric, is_zero};
use super::parts::for_each_part;
use super::rows::Rows;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Element, ElementConversion};

/// Queries that are compared at a time: as many as the registers hold intermediate results of.
const LANES: usize = 8;

/// Queries that one thread compares in turn: fewer are not worth a thread.
const QUERIES_AT_ONCE: usize = 256 * LANES;

/// The most centers for which comparing all is faster than ruling most of them out.
pub(crate) const MAX_CENTERS: usize = 32;

/// The number of the nearest center of each query, of equally near ones the lowest.
///
/// Takes rows that `metric`, which is not `InnerProduct`, has prepared.
pub(crate) fn nearest(queries: &Rows, centers: &Rows, metric: KnnMetric) -> Vec<i64> {
    let mut nearest = vec![0; queries.len()];
    for_each_part(&mut nearest, QUERIES_AT_ONCE, |first, part| {
        let mut columns = vec![[0.0; LANES]; queries.columns()];
        for (block, places) in part.chunks_mut(LANES).enumerate() {
            let first = first + block * LANES;
            let lanes = Lanes::fill(&mut columns, queries, first, places.len(), metric);
            let mut least = [f64::INFINITY; LANES];
            let mut numbers = [0; LANES];
            lanes.for_each_center(centers, |number, ranks| {
                for lane in 0..LANES {
                    let nearer = ranks[lane] < least[lane];
                    least[lane] = if nearer { ranks[lane] } else { least[lane] };
                    numbers[lane] = if nearer { number as i64 } else { numbers[lane] };
                }
            });
            places.copy_from_slice(&numbers[..places.len()]);
        }
    });
    nearest
}

/// Calls `write` for each query with its ranks to all centers and its row of the result, which has a value for each
/// center.
///
/// Takes rows that `metric`, which is not `InnerProduct`, has prepared.
pub(crate) fn table<T: Element>(
    queries: &Rows,
    centers: &Rows,
    metric: KnnMetric,
    write: impl Fn(&[f64], &mut [T]) + Send + Sync,
) -> Vec<T> {
    let width = centers.len();
    let mut table = vec![0.0.elem::<T>(); queries.len() * width];
    for_each_part(&mut table, QUERIES_AT_ONCE * width, |first, part| {
        let mut columns = vec![[0.0; LANES]; queries.columns()];
        let mut ranks = vec![0.0; LANES * width];
        for (block, rows) in part.chunks_mut(LANES * width).enumerate() {
            let first = first / width + block * LANES;
            let lanes = Lanes::fill(&mut columns, queries, first, rows.len() / width, metric);
            lanes.for_each_center(centers, |number, of_lanes| {
                for (lane, rank) in of_lanes.into_iter().enumerate() {
                    ranks[lane * width + number] = rank;
                }
            });
            for (ranks, row) in ranks.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
                write(ranks, row);
            }
        }
    });
    table
}

/// A few queries, column after column, so that they are compared with a center at the same time.
struct Lanes<'a> {
    columns: &'a [[f64; LANES]],
    metric: KnnMetric,
    /// Queries without a direction, under `Cosine`.
    zero: [bool; LANES],
}

impl<'a> Lanes<'a> {
    /// Takes `count` queries, at most `LANES`. What the other lanes hold has no meaning.
    #[inline(always)]
    fn fill(
        columns: &'a mut [[f64; LANES]],
        queries: &Rows,
        first: usize,
        count: usize,
        metric: KnnMetric,
    ) -> Self {
        let mut zero = [false; LANES];
        for (lane, zero) in zero.iter_mut().enumerate().take(count) {
            let row = queries.row(first + lane);
            for (column, value) in columns.iter_mut().zip(row) {
                column[lane] = *value;
            }
            *zero = metric == KnnMetric::Cosine && is_zero(row);
        }
        Self {
            columns,
            metric,
            zero,
        }
    }

    /// Calls `visit` with the number of each center and the ranks of the queries to it.
    #[inline(always)]
    fn for_each_center(&self, centers: &Rows, mut visit: impl FnMut(usize, [f64; LANES])) {
        for (number, center) in centers.iter().enumerate() {
            let mut ranks = self.squared_distances(center);
            if self.metric == KnnMetric::Cosine {
                let center_is_zero = is_zero(center);
                for (rank, query_is_zero) in ranks.iter_mut().zip(self.zero) {
                    *rank = if center_is_zero || query_is_zero {
                        1.0
                    } else {
                        self.metric.rank_of_squared(*rank)
                    };
                }
            }
            visit(number, ranks);
        }
    }

    /// Sums in the order of the columns. No branch depends on the values, so that the lanes stay together.
    #[inline(always)]
    fn squared_distances(&self, center: &[f64]) -> [f64; LANES] {
        let mut squared = [0.0; LANES];
        for (column, y) in self.columns.iter().zip(center) {
            for (sum, x) in squared.iter_mut().zip(column) {
                *sum += (x - y) * (x - y);
            }
        }
        squared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METRICS: [KnnMetric; 2] = [KnnMetric::SquaredEuclidean, KnnMetric::Cosine];

    /// Few values, so that rows are equal and zero.
    fn rows(columns: usize, counts: core::ops::Range<usize>) -> impl Strategy<Value = Rows> {
        prop::collection::vec(-2_i8..=2, columns..columns * counts.end).prop_map(move |values| {
            let whole = values.len() / columns * columns;
            let values = values[..whole].iter().copied().map(f64::from).collect();
            Rows::from_values(values, columns)
        })
    }

    proptest! {
        #[test]
        fn tables_hold_the_ranks_of_all_pairs(
            (queries, centers) in (1_usize..5).prop_flat_map(|columns| (rows(columns, 1..40), rows(columns, 1..7))),
        ) {
            for metric in METRICS {
                let (queries, centers) = (metric.prepare(queries.clone()), metric.prepare(centers.clone()));
                let table = table(&queries, &centers, metric, |ranks, row: &mut [f64]| row.copy_from_slice(ranks));
                let mut nearest_centers = Vec::new();
                let mut expected = Vec::new();
                for query in queries.iter() {
                    let ranks: Vec<f64> = centers.iter().map(|center| metric.rank(query, center)).collect();
                    let least = ranks.iter().copied().fold(f64::INFINITY, f64::min);
                    nearest_centers.push(ranks.iter().position(|rank| *rank == least).unwrap() as i64);
                    expected.extend(ranks);
                }
                prop_assert_eq!(table, expected);
                prop_assert_eq!(nearest(&queries, &centers, metric), nearest_centers);
            }
        }
    }
}
