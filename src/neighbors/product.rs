//! Search on the host: keys of a part of the pairs at a time, looked through while they are in the processor's cache.

use super::lift::{Factors, Lift, Tolerance, matrix};
use super::metric::KnnMetric;
use super::nearest::{Nearest, Neighbor};
use super::rows::Rows;
use crate::parts::{for_each_part, threads};
use crate::simd::{Loops, vectorized};
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Device, Tensor};

/// The most references and queries whose products are computed at one time: large enough for the product to be fast,
/// small enough for its result to stay in the cache.
const REFERENCES_AT_ONCE: usize = 192;
const QUERIES_AT_ONCE: usize = 512;

/// Fewer queries are not divided among threads; the product itself may be.
const MIN_QUERIES_AT_ONCE: usize = 64;

/// Keys that are looked at together.
const GROUP: usize = 32;

/// References whose keys the host computes.
#[derive(Clone)]
pub(crate) struct Product {
    metric: KnnMetric,
    lift: Lift,
    device: Device,
    /// Vectors of the references in their order, each tensor `[width, references]`. A matrix product takes its right
    /// factor in this form and would otherwise bring it there for every part of the queries.
    chunks: Vec<Tensor<2>>,
    max_pairs: usize,
}

impl Product {
    /// Takes rows that `metric` has prepared and a device that multiplies whole factors.
    pub(crate) fn new(
        references: &Rows,
        metric: KnnMetric,
        max_pairs: usize,
        device: &Device,
    ) -> Self {
        let count = references.len();
        let chunk = REFERENCES_AT_ONCE.min(max_pairs).min(count);
        let lift = Lift::new(references, metric, Factors::Whole);
        let chunks = (0..count)
            .step_by(chunk)
            .map(|start| {
                let end = (start + chunk).min(count);
                let mut lifted = Vec::with_capacity((end - start) * lift.width());
                for index in start..end {
                    lift.reference(references.row(index), &mut lifted);
                }
                matrix(transposed(&lifted, lift.width()), end - start, device)
            })
            .collect();
        Self {
            metric,
            lift,
            device: device.clone(),
            chunks,
            max_pairs,
        }
    }

    /// The `k` nearest of each query, nearest first. Takes the references that the search was made of.
    pub(crate) fn nearest(&self, references: &Rows, queries: &Rows, k: usize) -> Vec<Neighbor> {
        let count = queries.len();
        let least = count.div_ceil(self.queries_at_once(k));
        // A share for each thread, but for so few queries that every thread would mostly wait for the references.
        let parts = least
            .next_multiple_of(threads())
            .min(count.div_ceil(MIN_QUERIES_AT_ONCE))
            .max(least);
        let size = count.div_ceil(parts);
        let mut neighbors = vec![Neighbor::NONE; count * k];
        for_each_part(&mut neighbors, size * k, |first, part| {
            self.nearest_of_part(references, queries, first / k, k, part);
        });
        neighbors
    }

    /// The most queries whose keys to one chunk, and whose candidates, are held at one time.
    fn queries_at_once(&self, k: usize) -> usize {
        let [_, chunk] = self.chunks[0].dims();
        (self.max_pairs / chunk.max(QuerySearch::most_candidates(k))).clamp(1, QUERIES_AT_ONCE)
    }

    fn nearest_of_part(
        &self,
        references: &Rows,
        queries: &Rows,
        first: usize,
        k: usize,
        part: &mut [Neighbor],
    ) {
        let mut lifted = Vec::with_capacity(part.len() / k * self.lift.width());
        let mut searches: Vec<QuerySearch> = part
            .chunks_exact_mut(k)
            .enumerate()
            .map(|(at, places)| {
                let row = queries.row(first + at);
                QuerySearch {
                    metric: self.metric,
                    references,
                    row,
                    tolerance: self.lift.query(row, &mut lifted),
                    limit: f32::INFINITY,
                    k,
                    candidates: Vec::with_capacity(QuerySearch::most_candidates(k)),
                    nearest: Nearest::new(places),
                }
            })
            .collect();
        let lifted = matrix(lifted, self.lift.width(), &self.device);
        let mut start = 0;
        for chunk in &self.chunks {
            let [_, count] = chunk.dims();
            let keys = lifted.clone().matmul(chunk.clone()).into_data();
            let keys: &[f32] = keys.as_slice().expect("keys are computed in f32");
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
    /// The index of the first reference of the chunk.
    start: usize,
    /// References of the chunk.
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

/// The references that may be among the nearest of one query, as far as they are known.
struct QuerySearch<'a> {
    metric: KnnMetric,
    references: &'a Rows,
    row: &'a [f64],
    tolerance: Tolerance,
    /// The largest key that a reference may have which is among the nearest.
    limit: f32,
    k: usize,
    /// Keys and indices of references that aren't ruled out and not yet compared.
    candidates: Vec<(f32, usize)>,
    nearest: Nearest<'a>,
}

impl QuerySearch<'_> {
    /// As many candidates are collected before the limit is brought up to date.
    fn most_candidates(k: usize) -> usize {
        2 * k + 32
    }

    /// Collects candidates among references with these keys, the first of which has the index `start`.
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

    /// Lowers the limit and drops the candidates beyond. Where most are within the tolerance they are compared, so that
    /// there is room for others.
    fn narrow(&mut self) {
        if self.k <= self.candidates.len() {
            let (_, (key, _), _) = self
                .candidates
                .select_nth_unstable_by(self.k - 1, |(a, _), (b, _)| a.total_cmp(b));
            // Rounded up, since the conversion may have rounded down.
            let limit = (self.tolerance.reach(f64::from(*key)) as f32).next_up();
            self.limit = self.limit.min(limit);
        }
        let limit = self.limit;
        self.candidates.retain(|(key, _)| *key <= limit);
        if self.candidates.len() > Self::most_candidates(self.k) * 3 / 4 {
            self.compare();
        }
    }

    fn compare(&mut self) {
        for (_, index) in self.candidates.drain(..) {
            self.nearest.offer(Neighbor {
                rank: self.metric.rank(self.row, self.references.row(index)),
                index,
            });
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    /// Keys and candidates of the queries at one time are at most `max_pairs`, but for one query.
    #[test]
    fn max_pairs_bounds_the_queries_at_one_time() {
        let references = Rows::from_values(vec![0.5; 300 * 3], 3);
        let at_once = |max_pairs: usize, k: usize| {
            let metric = KnnMetric::SquaredEuclidean;
            Product::new(&references, metric, max_pairs, &Device::flex()).queries_at_once(k)
        };
        assert_eq!(at_once(10 * REFERENCES_AT_ONCE, 1), 10);
        assert_eq!(at_once(1, 1), 1);
        assert_eq!(at_once(100, 20), 1);
        assert_eq!(at_once(usize::MAX, 1), QUERIES_AT_ONCE);
        // 300 neighbors are chosen among up to 632 candidates.
        assert_eq!(at_once(6320, 300), 10);
    }
}
