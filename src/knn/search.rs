//! Exact search for the k nearest references.
//!
//! The device computes a key for every pair, a dot product of lifted rows, and keeps only the smallest key of each
//! block of references. The host then looks into those blocks which can hold a neighbor, given what rounding may have
//! done to the keys, and there compares the rows directly in `f64`. So the product only says where to look; order, ties
//! and zero distances come from direct differences alone, and where keys are too coarse to exclude anything, all is
//! compared.

use super::error::KnnError;
use super::lift::{Lift, Tolerance};
use super::metric::KnnMetric;
use super::rows::{Rows, check_device};
use alloc::vec::Vec;
use burn::tensor::{DType, Device, Tensor, TensorData};
use core::cmp::Ordering;

/// Pairs of query and reference whose keys are held at one time, unless the caller says otherwise.
pub(crate) const DEFAULT_MAX_PAIRS: usize = 1 << 20;

/// A reference and its rank, by which the nearest come first.
#[derive(Clone, Copy)]
pub(crate) struct Neighbor {
    pub(crate) rank: f64,
    pub(crate) index: usize,
}

impl Neighbor {
    /// Nearer first, and of two equally near the one with the lower index.
    fn order(&self, other: &Self) -> Ordering {
        self.rank
            .total_cmp(&other.rank)
            .then(self.index.cmp(&other.index))
    }
}

/// References made ready for being searched.
#[derive(Clone)]
pub(crate) struct Search {
    metric: KnnMetric,
    k: usize,
    references: Rows,
    /// The references block after block.
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

impl Search {
    /// Prepares a search for the `k` nearest, `k` in `1..=references.len()`.
    ///
    /// `order` names every reference once and changes no answer. Where neighbors in it lie near each other, fewer
    /// blocks have to be looked into.
    pub(crate) fn new(
        references: Rows,
        order: Vec<usize>,
        metric: KnnMetric,
        k: usize,
        max_pairs: usize,
        device: &Device,
    ) -> Self {
        let references = metric.prepare(references);
        let [count, columns] = references.shape();
        // Per query the host passes over count / block minima and then over the rows of about k blocks; this block
        // balances the two, a minimum costing about three times as much as a coordinate.
        let block = (3 * count / (k * columns)).isqrt().clamp(1, 256);
        let largest_chunk = max_pairs.isqrt().max(1 << 14).min(max_pairs);
        let chunk = largest_chunk.min(count).next_multiple_of(block);
        let queries_at_once = (max_pairs / chunk)
            .min(max_pairs / count.div_ceil(block))
            .max(1);

        let lift = Lift::new(&references, metric);
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
            k,
            references,
            order,
            lift,
            device: device.clone(),
            block,
            chunks,
            queries_at_once,
        }
    }

    /// The neighbors of each query in turn, `k` for each, nearest first; or what is wrong with the queries. `name` is
    /// what the caller calls the references.
    pub(crate) fn answer(
        &self,
        queries: Tensor<2>,
        name: &'static str,
    ) -> Result<Vec<Neighbor>, KnnError> {
        Ok(self.nearest(self.read_queries(queries, name)?))
    }

    /// Reads queries that can be compared with the references.
    pub(crate) fn read_queries(
        &self,
        queries: Tensor<2>,
        name: &'static str,
    ) -> Result<Rows, KnnError> {
        check_device("queries", &queries.device(), name, &self.device)?;
        let (queries_shape, fitted) = (queries.dims(), self.references.shape());
        if queries_shape[1] != fitted[1] {
            return Err(KnnError::FeatureDim {
                queries: queries_shape,
                name,
                fitted,
            });
        }
        Rows::read(queries, "queries")
    }

    pub(crate) fn references(&self) -> &Rows {
        &self.references
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    fn nearest(&self, queries: Rows) -> Vec<Neighbor> {
        let queries = self.metric.prepare(queries);
        let count = queries.len();
        let mut neighbors = Vec::with_capacity(count * self.k);
        for start in (0..count).step_by(self.queries_at_once) {
            let end = (start + self.queries_at_once).min(count);
            self.nearest_of_chunk(&queries, start..end, &mut neighbors);
        }
        neighbors
    }

    fn nearest_of_chunk(
        &self,
        queries: &Rows,
        range: core::ops::Range<usize>,
        neighbors: &mut Vec<Neighbor>,
    ) {
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
        let mut candidates = Vec::new();
        for (at, (query, tolerance)) in range.clone().zip(tolerances).enumerate() {
            keys.clear();
            for minima in &minima {
                let blocks = minima.len() / range.len();
                keys.extend_from_slice(&minima[at * blocks..][..blocks]);
            }
            // Different blocks hold different references: k minima up to a key are k references up to it.
            let limit = if self.k <= keys.len() {
                sorted.clone_from(&keys);
                let (_, key, _) = sorted.select_nth_unstable_by(self.k - 1, f32::total_cmp);
                tolerance.reach(f64::from(*key))
            } else {
                f64::INFINITY
            };
            candidates.clear();
            for (block, key) in keys.iter().enumerate() {
                if f64::from(*key) <= limit {
                    self.compare(queries.row(query), block, &mut candidates);
                }
            }
            if self.k < candidates.len() {
                candidates.select_nth_unstable_by(self.k - 1, Neighbor::order);
                candidates.truncate(self.k);
            }
            candidates.sort_unstable_by(Neighbor::order);
            neighbors.extend_from_slice(&candidates);
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

    fn compare(&self, query: &[f64], block: usize, candidates: &mut Vec<Neighbor>) {
        let start = block * self.block;
        let end = (start + self.block).min(self.order.len());
        candidates.extend(self.order[start..end].iter().map(|&index| Neighbor {
            rank: self.metric.rank(query, self.references.row(index)),
            index,
        }));
    }
}

fn matrix(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(
        TensorData::new(values, [rows, columns]),
        (device, DType::F32),
    )
}
