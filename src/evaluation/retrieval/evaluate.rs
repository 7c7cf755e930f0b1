//! The retrieval itself, by the faster of two ways.

use super::asked::Asked;
use super::by_comparison::retrieve_by_comparison;
use super::by_search::{BySearch, depth};
use super::report::QueryRetrieval;
use crate::evaluation::comparison::Comparison;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::features::read_rows;
use crate::evaluation::relevance::Relevance;
use crate::neighbors::KnnMetric;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::Tensor;

/// Where more neighbors are needed than one in this many references, queries are compared with every reference instead:
/// the search would then keep and sort most of what it looks at.
const SEARCHED_SHARE: usize = 8;

/// The features of queries and references.
pub(super) enum Features<'a> {
    /// The queries are the references.
    SameSet(&'a Tensor<2>),
    Separate {
        queries: &'a Tensor<2>,
        references: &'a Tensor<2>,
    },
}

impl<'a> Features<'a> {
    fn queries(&self) -> &'a Tensor<2> {
        match self {
            Self::SameSet(features) => features,
            Self::Separate { queries, .. } => queries,
        }
    }

    fn references(&self) -> &'a Tensor<2> {
        match self {
            Self::SameSet(features) => features,
            Self::Separate { references, .. } => references,
        }
    }

    /// What the caller calls the references.
    fn name(&self) -> &'static str {
        match self {
            Self::SameSet(_) => "features",
            Self::Separate { .. } => "references",
        }
    }
}

/// A retrieval whose input has been checked.
pub(super) struct Retrieval<'a> {
    pub(super) metric: KnnMetric,
    pub(super) asked: Asked<'a>,
    pub(super) features: Features<'a>,
    pub(super) relevance: Relevance,
}

impl Retrieval<'_> {
    /// The values of each query; `None` for one without a relevant reference.
    pub(super) fn values(
        &self,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Option<QueryRetrieval>>, EvaluationError> {
        let numbers = self.relevance.queries_with_match();
        let mut progress = |done| progress(done, numbers.len());
        let mut values = vec![None; self.relevance.queries()];
        let mut open = Vec::new();
        let depth = depth(&self.relevance, &self.asked, &numbers);
        let [references, _] = self.features.references().dims();
        if !self.asked.average_precision && depth <= references / SEARCHED_SHARE {
            let found = self.search(depth, &numbers, &mut progress)?;
            for (query, found) in numbers.iter().zip(found) {
                if found.is_none() {
                    open.push(*query);
                }
                values[*query] = found;
            }
            // Those whose ties go on beyond what was searched.
            self.compare(&open, &mut |_| (), &mut values)?;
        } else {
            self.compare(&numbers, &mut progress, &mut values)?;
        }
        Ok(values)
    }

    fn search(
        &self,
        depth: usize,
        numbers: &[usize],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Option<QueryRetrieval>>, EvaluationError> {
        let name = self.features.name();
        let references = read_rows(self.features.references().clone(), name, self.metric)?;
        let search = BySearch {
            relevance: &self.relevance,
            asked: &self.asked,
            metric: self.metric,
            depth,
            name,
        };
        search.retrieve(references, self.features.queries(), numbers, progress)
    }

    /// Sets the values of these queries.
    fn compare(
        &self,
        numbers: &[usize],
        progress: &mut dyn FnMut(usize),
        values: &mut [Option<QueryRetrieval>],
    ) -> Result<(), EvaluationError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let references = read_rows(
            self.features.references().clone(),
            self.features.name(),
            self.metric,
        )?;
        let separate;
        let queries = match self.features {
            Features::SameSet(_) => &references,
            Features::Separate { queries, .. } => {
                separate = read_rows(queries.clone(), "queries", self.metric)?;
                &separate
            }
        };
        let comparison = Comparison::new(&references, self.metric);
        let found = retrieve_by_comparison(
            &comparison,
            queries,
            numbers,
            &self.relevance,
            &self.asked,
            progress,
        );
        for (query, found) in numbers.iter().zip(found) {
            values[*query] = Some(found);
        }
        Ok(())
    }
}
