//! Comparison of each query with each of a few centers.

use super::metric::{KnnMetric, is_zero};
use super::rows::Rows;
use crate::parts::for_each_part;
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
    match metric {
        KnnMetric::Cosine => nearest_of::<true>(queries, centers),
        _ => nearest_of::<false>(queries, centers),
    }
}

/// The ranks of all pairs, one row for each query, which `finish` changes before it is rounded to the type.
///
/// Takes rows that `metric`, which is not `InnerProduct`, has prepared.
pub(crate) fn table<T: Element>(
    queries: &Rows,
    centers: &Rows,
    metric: KnnMetric,
    finish: impl Fn(&mut [f64]) + Send + Sync,
) -> Vec<T> {
    match metric {
        KnnMetric::Cosine => table_of::<T, true>(queries, centers, finish),
        _ => table_of::<T, false>(queries, centers, finish),
    }
}

fn nearest_of<const DIRECTIONS: bool>(queries: &Rows, centers: &Rows) -> Vec<i64> {
    let mut nearest = vec![0; queries.len()];
    for_each_part(&mut nearest, QUERIES_AT_ONCE, |first, part| {
        let mut lanes = Lanes::<DIRECTIONS>::new(queries);
        for (block, places) in part.chunks_mut(LANES).enumerate() {
            lanes.fill(queries, first + block * LANES, places.len());
            let mut least = [f64::INFINITY; LANES];
            let mut numbers = [0; LANES];
            for (number, center) in centers.iter().enumerate() {
                let ranks = lanes.ranks(center);
                for lane in 0..LANES {
                    let nearer = ranks[lane] < least[lane];
                    least[lane] = if nearer { ranks[lane] } else { least[lane] };
                    numbers[lane] = if nearer { number as i64 } else { numbers[lane] };
                }
            }
            places.copy_from_slice(&numbers[..places.len()]);
        }
    });
    nearest
}

fn table_of<T: Element, const DIRECTIONS: bool>(
    queries: &Rows,
    centers: &Rows,
    finish: impl Fn(&mut [f64]) + Send + Sync,
) -> Vec<T> {
    let width = centers.len();
    let mut table = vec![0.0.elem::<T>(); queries.len() * width];
    for_each_part(&mut table, QUERIES_AT_ONCE * width, |first, part| {
        let mut lanes = Lanes::<DIRECTIONS>::new(queries);
        let mut ranks = vec![0.0; LANES * width];
        for (block, rows) in part.chunks_mut(LANES * width).enumerate() {
            lanes.fill(queries, first / width + block * LANES, rows.len() / width);
            for (number, center) in centers.iter().enumerate() {
                for (lane, rank) in lanes.ranks(center).into_iter().enumerate() {
                    ranks[lane * width + number] = rank;
                }
            }
            for (ranks, row) in ranks
                .chunks_exact_mut(width)
                .zip(rows.chunks_exact_mut(width))
            {
                finish(ranks);
                for (place, value) in row.iter_mut().zip(ranks) {
                    *place = value.elem();
                }
            }
        }
    });
    table
}

/// A few queries, column after column, so that they are compared with a center at the same time.
struct Lanes<const DIRECTIONS: bool> {
    columns: Vec<[f64; LANES]>,
    /// Queries without a direction, if directions are compared.
    zero: [bool; LANES],
}

impl<const DIRECTIONS: bool> Lanes<DIRECTIONS> {
    /// Room for queries of as many columns.
    fn new(queries: &Rows) -> Self {
        Self {
            columns: vec![[0.0; LANES]; queries.columns()],
            zero: [false; LANES],
        }
    }

    /// Takes `count` queries, at most `LANES`. What the other lanes hold then has no meaning.
    #[inline(always)]
    fn fill(&mut self, queries: &Rows, first: usize, count: usize) {
        for lane in 0..count {
            let row = queries.row(first + lane);
            for (column, value) in self.columns.iter_mut().zip(row) {
                column[lane] = *value;
            }
            if DIRECTIONS {
                self.zero[lane] = is_zero(row);
            }
        }
    }

    /// The rank of the center for each query. No branch depends on a query, so that the lanes stay together.
    #[inline(always)]
    fn ranks(&self, center: &[f64]) -> [f64; LANES] {
        let mut squared = [0.0; LANES];
        for (column, y) in self.columns.iter().zip(center) {
            for (sum, x) in squared.iter_mut().zip(column) {
                *sum += (x - y) * (x - y);
            }
        }
        if !DIRECTIONS {
            return squared.map(|squared| KnnMetric::SquaredEuclidean.rank_of_squared(squared));
        }
        if is_zero(center) {
            return [KnnMetric::RANK_WITHOUT_DIRECTION; LANES];
        }
        for (rank, zero) in squared.iter_mut().zip(self.zero) {
            *rank = if zero {
                KnnMetric::RANK_WITHOUT_DIRECTION
            } else {
                KnnMetric::Cosine.rank_of_squared(*rank)
            };
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
                let table = table::<f64>(&queries, &centers, metric, |ranks| ranks.iter_mut().for_each(|r| *r *= 2.0));
                let mut nearest_centers = Vec::new();
                let mut expected = Vec::new();
                for query in queries.iter() {
                    let ranks: Vec<f64> = centers.iter().map(|center| metric.rank(query, center)).collect();
                    let least = ranks.iter().copied().fold(f64::INFINITY, f64::min);
                    nearest_centers.push(ranks.iter().position(|rank| *rank == least).unwrap() as i64);
                    expected.extend(ranks.iter().map(|rank| 2.0 * rank));
                }
                prop_assert_eq!(table, expected);
                prop_assert_eq!(nearest(&queries, &centers, metric), nearest_centers);
            }
        }
    }
}
