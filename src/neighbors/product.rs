//! Search by matrix products in `f32`: most references are left out by keys with a bound on their rounding.
//!
//! On the host the keys of a part of the pairs are looked through while they are in the processor's cache. On other devices
//! the smallest key of each block of references is read back. The host then compares the references that may be
//! neighbors.

use super::lift::{Factors, Lift, Tolerance, matrix};
use super::metric::KnnMetric;
use super::nearest::{Nearest, Neighbor};
use super::rows::Rows;
use crate::loops::{Loops, for_each_part, threads, vectorized};
use crate::reduce::max_dim;
use burn::tensor::{Device, Tensor, TensorData};

/// The most references and queries whose products the host computes at one time: large enough for the product to be
/// fast, small enough for its result to stay in the cache.
const REFERENCES_AT_ONCE: usize = 192;
const QUERIES_AT_ONCE: usize = 512;

/// Fewer queries are not divided among threads; the product itself may be.
const MIN_QUERIES_AT_ONCE: usize = 64;

/// The fewest references that another device multiplies at one time, if `max_pairs` allows them.
const DEVICE_REFERENCES_AT_ONCE: usize = 1 << 14;

/// Keys that are looked at together.
const GROUP: usize = 32;

/// References whose keys a device computes.
#[derive(Clone)]
pub(crate) struct Product {
    metric: KnnMetric,
    lift: Lift,
    device: Device,
    /// Numbers of the references, block after block.
    order: Vec<usize>,
    /// References that share one key; 1 on the host.
    block: usize,
    /// Vectors of the references in this order, each tensor `[width, references]` with a whole number of blocks.
    chunks: Vec<Tensor<2>>,
    max_pairs: usize,
}

impl Product {
    /// Takes rows that `metric` has prepared, and a device that multiplies whole factors on the host.
    pub(crate) fn on_host(
        references: &Rows,
        metric: KnnMetric,
        max_pairs: usize,
        device: &Device,
    ) -> Self {
        let empty = Self {
            metric,
            lift: Lift::new(references, metric, Factors::Whole),
            device: device.clone(),
            order: (0..references.len()).collect(),
            block: 1,
            chunks: Vec::new(),
            max_pairs,
        };
        empty.with_chunks_of(REFERENCES_AT_ONCE.min(max_pairs), references)
    }

    /// Takes rows that `metric` has prepared.
    ///
    /// `order` names every reference once. If neighbors in it lie near each other, fewer blocks have to be compared. The
    /// size of a block is best for the `expected_k` nearest. Neither changes an answer.
    pub(crate) fn on_device(
        references: &Rows,
        order: Vec<usize>,
        metric: KnnMetric,
        expected_k: usize,
        max_pairs: usize,
        device: &Device,
    ) -> Self {
        let [count, columns] = references.shape();
        // For a query the host passes over count / block keys and then over the rows of about k blocks. This block
        // balances the two: a key costs about three times as much as a coordinate.
        let block = (3 * count / (expected_k * columns)).isqrt().clamp(1, 256);
        let chunk = max_pairs.isqrt().max(DEVICE_REFERENCES_AT_ONCE);
        let chunk = chunk.min(max_pairs).min(count).next_multiple_of(block);
        let empty = Self {
            metric,
            lift: Lift::new(references, metric, Factors::Cut),
            device: device.clone(),
            order,
            block,
            chunks: Vec::new(),
            max_pairs,
        };
        empty.with_chunks_of(chunk, references)
    }

    fn with_chunks_of(mut self, references_at_once: usize, references: &Rows) -> Self {
        let width = self.lift.width();
        for numbers in self.order.chunks(references_at_once) {
            let padded = numbers.len().next_multiple_of(self.block);
            let mut lifted = Vec::with_capacity(padded * width);
            // The last row, repeated until its block is full, changes no smallest key.
            for at in 0..padded {
                let number = numbers[at.min(numbers.len() - 1)];
                self.lift.reference(references.row(number), &mut lifted);
            }
            self.chunks.push(match self.lift.factors() {
                // A product on the host takes its right factor in this form and would otherwise bring it there for every
                // part of the queries.
                Factors::Whole => matrix(transposed(&lifted, width), padded, &self.device),
                Factors::Cut => matrix(lifted, width, &self.device).transpose(),
            });
        }
        self
    }

    /// The `k` nearest of each query, nearest first. Takes the references that the search was made of.
    pub(crate) fn nearest(&self, references: &Rows, queries: &Rows, k: usize) -> Vec<Neighbor> {
        let count = queries.len();
        let mut neighbors = vec![Neighbor::NONE; count * k];
        let at_once = self.queries_at_once(k);
        if self.lift.factors() == Factors::Cut {
            for (part, slots) in neighbors.chunks_mut(at_once.min(count) * k).enumerate() {
                self.nearest_of_part(references, queries, part * at_once, k, slots);
            }
            return neighbors;
        }
        let least = count.div_ceil(at_once.min(QUERIES_AT_ONCE));
        // A share for each thread, but for so few queries that every thread would mostly wait for the references.
        let parts = least
            .next_multiple_of(threads())
            .min(count.div_ceil(MIN_QUERIES_AT_ONCE))
            .max(least);
        for_each_part(&mut neighbors, count.div_ceil(parts) * k, |first, slots| {
            self.nearest_of_part(references, queries, first / k, k, slots);
        });
        neighbors
    }

    /// The most queries whose products with one chunk, and whose candidates, `max_pairs` allows at one time.
    fn queries_at_once(&self, k: usize) -> usize {
        let [_, chunk] = self.chunks[0].dims();
        (self.max_pairs / chunk.max(QuerySearch::most_candidates(k))).max(1)
    }

    fn nearest_of_part(
        &self,
        references: &Rows,
        queries: &Rows,
        first: usize,
        k: usize,
        slots: &mut [Neighbor],
    ) {
        let mut lifted = Vec::with_capacity(slots.len() / k * self.lift.width());
        let mut searches: Vec<QuerySearch> = slots
            .chunks_exact_mut(k)
            .enumerate()
            .map(|(at, slots)| {
                let row = queries.row(first + at);
                QuerySearch {
                    product: self,
                    references,
                    row,
                    tolerance: self.lift.query(row, &mut lifted),
                    limit: f32::INFINITY,
                    k,
                    candidates: Vec::with_capacity(QuerySearch::most_candidates(k)),
                    nearest: Nearest::new(slots),
                }
            })
            .collect();
        let lifted = matrix(lifted, self.lift.width(), &self.device);
        let mut start = 0;
        for chunk in &self.chunks {
            let keys = self.keys(lifted.clone(), chunk.clone());
            let keys: &[f32] = keys.as_slice().expect("keys are computed in f32");
            let count = keys.len() / searches.len();
            vectorized(LookThrough {
                searches: &mut searches,
                keys,
                start,
                count,
            });
            start += count;
        }
        for mut search in searches {
            search.narrow();
            search.compare();
            search.nearest.sort();
        }
    }

    /// The smallest key of each block of the chunk, for one query after the other.
    fn keys(&self, queries: Tensor<2>, chunk: Tensor<2>) -> TensorData {
        if self.block == 1 {
            return queries.matmul(chunk).into_data();
        }
        let ([count, _], [_, references]) = (queries.dims(), chunk.dims());
        let blocks = references / self.block;
        let negated = queries.neg().matmul(chunk);
        let largest = max_dim(negated.reshape([count, blocks, self.block]), 2);
        largest.neg().reshape([count, blocks]).into_data()
    }

    /// The numbers of a block's references.
    fn block(&self, block: usize) -> &[usize] {
        let start = block * self.block;
        &self.order[start..(start + self.block).min(self.order.len())]
    }
}

/// The columns, one after the other, of a matrix given row by row.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let column = |column| values[column..].iter().step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

/// The pass over the keys of one chunk of references: those of the first query, then those of the next.
struct LookThrough<'a, 'b> {
    searches: &'a mut [QuerySearch<'b>],
    keys: &'a [f32],
    /// The number of the first block of the chunk.
    start: usize,
    /// Blocks of the chunk.
    count: usize,
}

impl Loops for LookThrough<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let keys = self.keys.chunks_exact(self.count);
        for (search, keys) in self.searches.iter_mut().zip(keys) {
            search.look_through(self.start, keys);
        }
    }
}

/// The blocks that may hold a neighbor of one query, as far as they are known.
struct QuerySearch<'a> {
    product: &'a Product,
    references: &'a Rows,
    row: &'a [f64],
    tolerance: Tolerance,
    /// The largest key that one of the nearest references may have.
    limit: f32,
    k: usize,
    /// Keys and numbers of blocks that are not left out and not yet compared.
    candidates: Vec<(f32, usize)>,
    nearest: Nearest<'a>,
}

impl QuerySearch<'_> {
    /// As many candidates are collected before the limit is brought up to date.
    fn most_candidates(k: usize) -> usize {
        2 * k + 32
    }

    /// Collects candidates among blocks with these keys, the first of which has the number `start`.
    #[inline(always)]
    fn look_through(&mut self, start: usize, keys: &[f32]) {
        for (group, keys) in keys.chunks(GROUP).enumerate() {
            // Nearly all groups end here. No branch depends on a single key, so that several are compared at a time.
            let limit = self.limit;
            if !keys.iter().fold(false, |any, key| any | (*key <= limit)) {
                continue;
            }
            for (at, key) in keys.iter().enumerate() {
                if *key <= self.limit {
                    self.candidates.push((*key, start + group * GROUP + at));
                    if self.candidates.len() == Self::most_candidates(self.k) {
                        self.narrow();
                    }
                }
            }
        }
    }

    /// Lowers the limit and drops the candidates beyond. Different blocks hold different references: k keys up to the
    /// limit are k references up to it. If most candidates are within the tolerance they are compared, so that there is
    /// room for others.
    fn narrow(&mut self) {
        if self.k <= self.candidates.len() {
            let (_, (key, _), _) = self
                .candidates
                .select_nth_unstable_by(self.k - 1, |(a, _), (b, _)| a.total_cmp(b));
            // Rounded up, since the conversion may have rounded down.
            let limit = (self.tolerance.limit(f64::from(*key)) as f32).next_up();
            self.limit = self.limit.min(limit);
        }
        let limit = self.limit;
        self.candidates.retain(|(key, _)| *key <= limit);
        if self.candidates.len() > Self::most_candidates(self.k) * 3 / 4 {
            self.compare();
        }
    }

    fn compare(&mut self) {
        for (_, block) in self.candidates.drain(..) {
            for &index in self.product.block(block) {
                let reference = self.references.row(index);
                let rank = self.product.metric.rank(self.row, reference);
                self.nearest.offer(Neighbor { rank, index });
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;

    /// Keys and candidates of the queries at one time are at most `max_pairs`, but for one query.
    #[test]
    fn max_pairs_bounds_the_queries_at_one_time() {
        let references = Rows::from_values(vec![0.5; 300 * 3], 3);
        let at_once = |max_pairs: usize, k: usize| {
            let metric = KnnMetric::SquaredEuclidean;
            Product::on_host(&references, metric, max_pairs, &Device::flex()).queries_at_once(k)
        };
        assert_eq!(at_once(10 * REFERENCES_AT_ONCE, 1), 10);
        assert_eq!(at_once(1, 1), 1);
        assert_eq!(at_once(100, 20), 1);
        // 300 neighbors are chosen among up to 632 candidates.
        assert_eq!(at_once(6320, 300), 10);
    }
}
