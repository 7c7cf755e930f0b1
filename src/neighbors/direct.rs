//! The nearest of a few centers, by comparing each query with each center.

use super::metric::{KnnMetric, is_zero};
use super::parts::for_each_part;
use super::rows::Rows;
use alloc::vec;
use alloc::vec::Vec;

/// Queries that are compared at a time: as many as the registers hold intermediate results of.
const LANES: usize = 8;

/// Queries whose nearest center one thread looks for in turn: fewer are not worth a thread.
const QUERIES_AT_ONCE: usize = 256 * LANES;

/// Centers that are all compared with each query.
#[derive(Clone)]
pub(crate) struct Direct {
    centers: Rows,
    metric: KnnMetric,
}

impl Direct {
    /// The most centers to compare with each query. With more, ruling most of them out is faster.
    pub(crate) const MAX_CENTERS: usize = 32;

    /// Takes rows that `metric`, which isn't `InnerProduct`, has prepared.
    pub(crate) fn new(centers: Rows, metric: KnnMetric) -> Self {
        Self { centers, metric }
    }

    /// The number of the nearest center of each query, of equally near ones the lowest.
    pub(crate) fn nearest(&self, queries: &Rows) -> Vec<i64> {
        let mut nearest = vec![0; queries.len()];
        for_each_part(&mut nearest, QUERIES_AT_ONCE, |first, part| {
            let mut columns = vec![[0.0; LANES]; queries.columns()];
            for (block, nearest) in part.chunks_mut(LANES).enumerate() {
                let first = first + block * LANES;
                for lane in 0..nearest.len() {
                    for (column, value) in columns.iter_mut().zip(queries.row(first + lane)) {
                        column[lane] = *value;
                    }
                }
                let of_lanes = match self.metric {
                    KnnMetric::Cosine => self.nearest_of_lanes(&columns, |squared, center| {
                        match is_zero(center) {
                            // A center without direction.
                            true => 1.0,
                            false => self.metric.rank_of_squared(squared),
                        }
                    }),
                    _ => self.nearest_of_lanes(&columns, |squared, _| squared),
                };
                nearest.copy_from_slice(&of_lanes[..nearest.len()]);
            }
            // A query without direction is as far from one center as from another.
            if self.metric == KnnMetric::Cosine {
                for (at, nearest) in part.iter_mut().enumerate() {
                    if is_zero(queries.row(first + at)) {
                        *nearest = 0;
                    }
                }
            }
        });
        nearest
    }

    /// Takes the queries column after column. No branch depends on their values, so that they are compared together.
    #[inline(always)]
    fn nearest_of_lanes(
        &self,
        columns: &[[f64; LANES]],
        rank: impl Fn(f64, &[f64]) -> f64,
    ) -> [i64; LANES] {
        let mut least = [f64::INFINITY; LANES];
        let mut nearest = [0; LANES];
        for (number, center) in self.centers.iter().enumerate() {
            let mut squared = [0.0; LANES];
            for (column, y) in columns.iter().zip(center) {
                for (sum, x) in squared.iter_mut().zip(column) {
                    *sum += (x - y) * (x - y);
                }
            }
            for lane in 0..LANES {
                let rank = rank(squared[lane], center);
                let nearer = rank < least[lane];
                least[lane] = if nearer { rank } else { least[lane] };
                nearest[lane] = if nearer { number as i64 } else { nearest[lane] };
            }
        }
        nearest
    }
}
