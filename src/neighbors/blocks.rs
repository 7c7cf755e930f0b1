//! Search on a device: keys of all pairs, of which only the smallest of each block of references is read back.
//!
//! The host compares the rows of the blocks that can hold a neighbor, given how far rounding may have moved the keys.

use super::lift::{Factors, Lift, Tolerance, matrix};
use super::metric::KnnMetric;
use super::nearest::{Nearest, Neighbor};
use super::rows::Rows;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Device, Tensor, TensorData};
use core::ops::Range;

/// References whose keys a device computes.
#[derive(Clone)]
pub(crate) struct Blocks {
    metric: KnnMetric,
    /// Numbers of the references, block after block.
    order: Vec<usize>,
    lift: Lift,
    device: Device,
    /// References in a block.
    block: usize,
    /// The lifted references, each tensor `[rows, width]` with a whole number of blocks.
    chunks: Vec<Tensor<2>>,
    /// Queries whose keys to one chunk are computed at one time.
    queries_at_once: usize,
}

impl Blocks {
    /// Takes rows that `metric` has prepared.
    ///
    /// `order` names every reference once. Where neighbors in it lie near each other, fewer blocks have to be looked
    /// into. The size of a block is best for `usual_k`. Neither changes an answer.
    pub(crate) fn new(
        references: &Rows,
        order: Vec<usize>,
        metric: KnnMetric,
        usual_k: usize,
        max_pairs: usize,
        device: &Device,
    ) -> Self {
        let [count, columns] = references.shape();
        // Per query the host passes over count / block minima and then over the rows of about k blocks; this block
        // balances the two, a minimum costing about three times as much as a coordinate.
        let block = (3 * count / (usual_k * columns)).isqrt().clamp(1, 256);
        let largest_chunk = max_pairs.isqrt().max(1 << 14).min(max_pairs);
        let chunk = largest_chunk.min(count).next_multiple_of(block);
        let queries_at_once = (max_pairs / chunk)
            .min(max_pairs / count.div_ceil(block))
            .max(1);

        let lift = Lift::new(references, metric, Factors::Cut);
        let chunks = (0..count)
            .step_by(chunk)
            .map(|start| {
                let end = (start + chunk).min(count);
                let padded = (end - start).next_multiple_of(block);
                let mut lifted = Vec::with_capacity(padded * lift.width());
                // The last row, repeated until its block is full, changes no minimum.
                for place in start..start + padded {
                    let index = order[place.min(end - 1)];
                    lift.reference(references.row(index), &mut lifted);
                }
                matrix(lifted, lift.width(), device)
            })
            .collect();
        Self {
            metric,
            order,
            lift,
            device: device.clone(),
            block,
            chunks,
            queries_at_once,
        }
    }

    /// The `k` nearest of each query, nearest first. Takes the references that the search was made of.
    pub(crate) fn nearest(&self, references: &Rows, queries: &Rows, k: usize) -> Vec<Neighbor> {
        let count = queries.len();
        let mut neighbors = vec![Neighbor::NONE; count * k];
        let at_once = self.queries_at_once.min(count);
        for (part, places) in neighbors.chunks_mut(at_once * k).enumerate() {
            let start = part * at_once;
            let range = start..start + places.len() / k;
            self.nearest_of_part(references, queries, range, places);
        }
        neighbors
    }

    fn nearest_of_part(
        &self,
        references: &Rows,
        queries: &Rows,
        range: Range<usize>,
        neighbors: &mut [Neighbor],
    ) {
        let k = neighbors.len() / range.len();
        let mut lifted = Vec::with_capacity(range.len() * self.lift.width());
        let tolerances: Vec<Tolerance> = range
            .clone()
            .map(|query| self.lift.query(queries.row(query), &mut lifted))
            .collect();
        let lifted = matrix(lifted, self.lift.width(), &self.device);
        let minima: Vec<TensorData> = self
            .chunks
            .iter()
            .map(|chunk| self.block_minima(lifted.clone(), chunk.clone()))
            .collect();
        let minima: Vec<&[f32]> = minima
            .iter()
            .map(|data| data.as_slice().expect("keys are computed in f32"))
            .collect();

        let mut keys = Vec::new();
        let mut sorted = Vec::new();
        for (at, places) in neighbors.chunks_exact_mut(k).enumerate() {
            keys.clear();
            for minima in &minima {
                let blocks = minima.len() / range.len();
                keys.extend_from_slice(&minima[at * blocks..][..blocks]);
            }
            // Different blocks hold different references: k minima up to a key are k references up to it.
            let limit = if k <= keys.len() {
                sorted.clone_from(&keys);
                let (_, key, _) = sorted.select_nth_unstable_by(k - 1, f32::total_cmp);
                tolerances[at].reach(f64::from(*key))
            } else {
                f64::INFINITY
            };
            let mut nearest = Nearest::new(places);
            for (block, key) in keys.iter().enumerate() {
                if f64::from(*key) <= limit {
                    let query = queries.row(range.start + at);
                    self.compare(references, query, block, &mut nearest);
                }
            }
            nearest.sort();
        }
    }

    /// The smallest key of each block of the chunk, for each query.
    fn block_minima(&self, queries: Tensor<2>, chunk: Tensor<2>) -> TensorData {
        let [rows, _] = chunk.dims();
        let [count, _] = queries.dims();
        let blocks = rows / self.block;
        queries
            .matmul(chunk.transpose())
            .reshape([count, blocks, self.block])
            .min_dim(2)
            .reshape([count, blocks])
            .into_data()
    }

    /// Offers the references of a block.
    fn compare(&self, references: &Rows, query: &[f64], block: usize, nearest: &mut Nearest) {
        let start = block * self.block;
        let end = (start + self.block).min(self.order.len());
        for &index in &self.order[start..end] {
            nearest.offer(Neighbor {
                rank: self.metric.rank(query, references.row(index)),
                index,
            });
        }
    }
}
