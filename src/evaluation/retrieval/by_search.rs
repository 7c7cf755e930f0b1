//! Retrieval by searching as many neighbors as the deepest cut needs.

use super::asked::Asked;
use super::report::QueryRetrieval;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::relevance::{Relation, Relevance};
use crate::neighbors::{DEFAULT_MAX_PAIRS, KnnMetric, Neighbor, Rows, Search};
use alloc::vec::Vec;
use burn::tensor::Tensor;

/// Neighbors that are held at one time, unless few queries have more.
const NEIGHBORS_AT_ONCE: usize = 1 << 20;

/// The least number of queries that are searched together: fewer would keep a device waiting.
const MIN_QUERIES_AT_ONCE: usize = 64;

/// How many neighbors of every query with a match have to be known: up to one beyond its deepest cut, and those that are
/// left out.
pub(super) fn depth(relevance: &Relevance, asked: &Asked, numbers: &[usize]) -> usize {
    let depth_of_query = |&query: &usize| {
        let relevant = relevance.relevant_count(query);
        let deepest = asked.cuts(relevant).max().unwrap_or(relevant);
        deepest + 1 + relevance.left_out_count(query)
    };
    numbers.iter().map(depth_of_query).max().unwrap_or(1)
}

/// A retrieval that searches the `depth` nearest references of each query.
pub(super) struct BySearch<'a> {
    pub(super) relevance: &'a Relevance,
    pub(super) asked: &'a Asked<'a>,
    pub(super) metric: KnnMetric,
    pub(super) depth: usize,
    /// What the caller calls the references.
    pub(super) name: &'static str,
}

impl BySearch<'_> {
    /// The values of each query with a match, whose `numbers` ascend; `None` for one whose tie at a cut goes on beyond
    /// the neighbors that were searched.
    pub(super) fn retrieve(
        &self,
        references: Rows,
        queries: &Tensor<2>,
        numbers: &[usize],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Option<QueryRetrieval>>, EvaluationError> {
        let device = queries.device().without_autodiff();
        let search = Search::new(
            references,
            self.relevance.references_by_class(),
            self.metric,
            self.depth,
            DEFAULT_MAX_PAIRS,
            &device,
        );
        let at_once = (NEIGHBORS_AT_ONCE / self.depth).max(MIN_QUERIES_AT_ONCE);
        let [count, _] = queries.dims();
        let mut values = Vec::with_capacity(numbers.len());
        let mut rest = numbers;
        for start in (0..count).step_by(at_once) {
            let end = (start + at_once).min(count);
            let (here, later) = rest.split_at(rest.partition_point(|query| *query < end));
            rest = later;
            if here.is_empty() {
                continue;
            }
            let part = queries.clone().narrow(0, start, end - start);
            let neighbors = search.answer(part, self.name, self.depth)?;
            values.extend(here.iter().map(|query| {
                self.values(
                    *query,
                    &neighbors[(query - start) * self.depth..][..self.depth],
                )
            }));
            progress(values.len());
        }
        Ok(values)
    }

    /// The values of one query from its neighbors, nearest first.
    fn values(&self, query: usize, neighbors: &[Neighbor]) -> Option<QueryRetrieval> {
        let ranked: Vec<Ranked> = neighbors
            .iter()
            .filter_map(|neighbor| {
                let relevant = match self.relevance.relation(query, neighbor.index) {
                    Relation::Relevant => true,
                    Relation::Other => false,
                    Relation::LeftOut => return None,
                };
                Some(Ranked {
                    distance: neighbor.rank,
                    relevant,
                })
            })
            .collect();
        let relevant = self.relevance.relevant_count(query);
        let tie_at_cut = self.has_mixed_tie_at_cut(relevant, &ranked)?;
        let ranks: Vec<usize> = (1..)
            .zip(&ranked)
            .filter(|(_, ranked)| ranked.relevant)
            .map(|(rank, _)| rank)
            .collect();
        Some(self.asked.values(&ranks, relevant, tie_at_cut))
    }

    /// Whether equally far references, some relevant and some not, stand on both sides of a cut; `None` where that
    /// depends on references that were not searched.
    fn has_mixed_tie_at_cut(&self, relevant: usize, ranked: &[Ranked]) -> Option<bool> {
        let mut first = 1;
        let mut is_open = false;
        for run in ranked.chunk_by(|a, b| a.distance == b.distance) {
            let last = first + run.len() - 1;
            if self.asked.is_cut(relevant, &[[first, last]]) {
                let mixed = run.iter().any(|ranked| ranked.relevant != run[0].relevant);
                if mixed {
                    return Some(true);
                }
                // The last run may go on. Where every reference is ranked, the comparison decides it again.
                is_open |= last == ranked.len();
            }
            first = last + 1;
        }
        (!is_open).then_some(false)
    }
}

/// A neighbor that takes part in a query's ranking.
struct Ranked {
    distance: f64,
    relevant: bool,
}
