//! The nearest of a few references, by comparing each query with each reference.

use super::metric::{KnnMetric, is_zero};
use super::nearest::Neighbor;
use super::parts::for_each_part;
use super::rows::Rows;
use alloc::vec;
use alloc::vec::Vec;

/// Queries that are compared at a time.
const LANES: usize = 16;

/// Queries whose neighbor one thread looks for in turn: fewer are not worth a thread.
const QUERIES_AT_ONCE: usize = 128 * LANES;

/// References that are all compared with each query.
#[derive(Clone)]
pub(crate) struct Direct {
    metric: KnnMetric,
    references: Rows,
}

impl Direct {
    /// The most references to compare with each query. With more, a matrix product that rules most out is faster.
    pub(crate) const MAX_REFERENCES: usize = 32;

    /// Takes rows that `metric`, which isn't `InnerProduct`, has prepared.
    pub(crate) fn new(references: Rows, metric: KnnMetric) -> Self {
        Self { metric, references }
    }

    /// The one nearest reference of each query.
    pub(crate) fn nearest(&self, queries: &Rows) -> Vec<Neighbor> {
        let mut neighbors = vec![Neighbor::NONE; queries.len()];
        for_each_part(&mut neighbors, QUERIES_AT_ONCE, |first, part| {
            let mut columns = vec![[0.0; LANES]; queries.columns()];
            for (block, places) in part.chunks_mut(LANES).enumerate() {
                let first = first + block * LANES;
                for lane in 0..places.len() {
                    for (column, value) in columns.iter_mut().zip(queries.row(first + lane)) {
                        column[lane] = *value;
                    }
                }
                self.nearest_of_lanes(&columns, places);
            }
            if self.metric == KnnMetric::Cosine {
                // A query of zeros has no direction and is at distance 1 from all references.
                for (at, place) in part.iter_mut().enumerate() {
                    if is_zero(queries.row(first + at)) {
                        *place = Neighbor {
                            rank: 1.0,
                            index: 0,
                        };
                    }
                }
            }
        });
        neighbors
    }

    /// The nearest reference of each column of values; no branch depends on them, so that several are compared at a time.
    fn nearest_of_lanes(&self, columns: &[[f64; LANES]], places: &mut [Neighbor]) {
        let mut least = [f64::INFINITY; LANES];
        let mut nearest = [0_u64; LANES];
        for (index, reference) in self.references.iter().enumerate() {
            let mut ranks = [0.0; LANES];
            for (column, y) in columns.iter().zip(reference) {
                for (sum, x) in ranks.iter_mut().zip(column) {
                    *sum += (x - y) * (x - y);
                }
            }
            let directionless = self.metric == KnnMetric::Cosine && is_zero(reference);
            for lane in 0..LANES {
                let rank = if directionless {
                    1.0
                } else {
                    self.metric.rank_of_squared(ranks[lane])
                };
                // Of several equally near ones the first stays.
                let nearer = rank < least[lane];
                least[lane] = if nearer { rank } else { least[lane] };
                nearest[lane] = if nearer { index as u64 } else { nearest[lane] };
            }
        }
        for (lane, place) in places.iter_mut().enumerate() {
            *place = Neighbor {
                rank: least[lane],
                index: nearest[lane] as usize,
            };
        }
    }
}
