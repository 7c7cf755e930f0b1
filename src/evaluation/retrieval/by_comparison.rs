//! Retrieval by comparing queries with all references.

use super::asked::Asked;
use super::relevant_ranks::RelevantRanks;
use super::report::QueryRetrieval;
use crate::evaluation::comparison::Comparison;
use crate::evaluation::relevance::Relevance;
use crate::neighbors::Rows;
use alloc::vec::Vec;

/// The values of these queries, each of which has a relevant reference.
///
/// Only the distances of a few queries are held at one time.
pub(super) fn retrieve_by_comparison(
    comparison: &Comparison,
    queries: &Rows,
    numbers: &[usize],
    relevance: &Relevance,
    asked: &Asked,
    progress: &mut dyn FnMut(usize),
) -> Vec<QueryRetrieval> {
    comparison.answers(
        queries,
        numbers,
        RelevantRanks::default,
        |found, query, distances| {
            found.find(relevance, query, distances);
            let runs = found.mixed_ties();
            let relevant = found.ranks().len();
            asked.values(found.ranks(), relevant, asked.is_cut(relevant, &runs))
        },
        progress,
    )
}
