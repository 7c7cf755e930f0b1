//! The results of a retrieval: values of each query, then means.

use std::collections::BTreeMap;
use std::fmt;

/// Values of one query that has relevant references.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryRetrieval {
    /// The number R of relevant references.
    pub relevant: usize,
    /// The metrics of the query.
    pub values: RetrievalValues,
}

/// Metrics of a query, or their means over queries.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrievalValues {
    /// [Precision](super::Ranking::precision_at) at each k of [`RetrievalReport::ks`].
    pub precision_at: Vec<f64>,
    /// [Recall](super::Ranking::recall_at) at each k of [`RetrievalReport::ks`].
    pub recall_at: Vec<f64>,
    /// [nDCG](super::Ranking::ndcg_at) at each k of [`RetrievalReport::ks`].
    pub ndcg_at: Vec<f64>,
    /// [R-precision](super::Ranking::r_precision).
    pub r_precision: f64,
    /// [MAP@R](super::Ranking::map_at_r).
    pub map_at_r: f64,
    /// [Average precision](super::Ranking::average_precision), whose mean is mAP; `None` if it was not requested.
    pub average_precision: Option<f64>,
    /// [Reciprocal rank](super::Ranking::reciprocal_rank), whose mean is MRR; `None` if average precision was not
    /// requested.
    pub reciprocal_rank: Option<f64>,
}

/// The results of a retrieval.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrievalReport {
    pub(super) ks: Vec<usize>,
    pub(super) labels: Vec<i128>,
    pub(super) queries: Vec<Option<QueryRetrieval>>,
    pub(super) tie_at_cut: bool,
}

impl RetrievalReport {
    /// The depths of precision, recall and nDCG.
    pub fn ks(&self) -> &[usize] {
        &self.ks
    }

    /// The values of each query in turn; `None` for a query without a relevant reference.
    pub fn queries(&self) -> &[Option<QueryRetrieval>] {
        &self.queries
    }

    /// The number of queries with a relevant reference. The means are over these.
    pub fn queries_with_match(&self) -> usize {
        self.queries.iter().flatten().count()
    }

    /// The number of queries without a relevant reference. All means leave them out.
    pub fn queries_without_match(&self) -> usize {
        self.queries.len() - self.queries_with_match()
    }

    /// Whether the order of indices decided a value of some query: references equally far from it, some relevant and some
    /// not, stand on both sides of one of its cuts at k and at R.
    pub fn tie_at_cut(&self) -> bool {
        self.tie_at_cut
    }

    /// The means over all queries with a match; `None` if there is no such query.
    pub fn means(&self) -> Option<RetrievalValues> {
        let queries = self.queries.iter().flatten();
        RetrievalValues::mean(queries.map(|query| query.values.clone()))
    }

    /// The unweighted mean, over the labels that have a query with a match, of the means over each label's queries;
    /// `None` if there is no such query. Large classes count no more than small ones.
    pub fn means_of_classes(&self) -> Option<RetrievalValues> {
        let mut classes: BTreeMap<i128, Vec<RetrievalValues>> = BTreeMap::new();
        for (label, query) in self.labels.iter().zip(&self.queries) {
            if let Some(query) = query {
                let values = classes.entry(*label).or_default();
                values.push(query.values.clone());
            }
        }
        let classes = classes.into_values();
        RetrievalValues::mean(
            classes.filter_map(|values| RetrievalValues::mean(values.into_iter())),
        )
    }
}

impl fmt::Display for RetrievalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [with, without] = [self.queries_with_match(), self.queries_without_match()];
        write!(f, "{with} queries with a match, {without} without")?;
        let Some(means) = self.means() else {
            return Ok(());
        };
        for (at, k) in self.ks.iter().enumerate() {
            let [precision, recall] = [means.precision_at[at], means.recall_at[at]];
            write!(f, ", precision@{k} {precision:.4}, recall@{k} {recall:.4}")?;
            write!(f, ", nDCG@{k} {:.4}", means.ndcg_at[at])?;
        }
        for (name, value) in [
            ("R-precision", Some(means.r_precision)),
            ("MAP@R", Some(means.map_at_r)),
            ("mAP", means.average_precision),
            ("MRR", means.reciprocal_rank),
        ] {
            if let Some(value) = value {
                write!(f, ", {name} {value:.4}")?;
            }
        }
        if self.tie_at_cut {
            write!(f, ", with a tie at a cut")?;
        }
        Ok(())
    }
}

impl RetrievalValues {
    /// The unweighted mean; `None` of nothing. A value that was not requested is missing in all.
    fn mean(mut values: impl Iterator<Item = Self>) -> Option<Self> {
        let mut mean = values.next()?;
        let mut count = 1.0;
        for mut other in values {
            let pairs = mean.numbers().zip(other.numbers());
            pairs.for_each(|(sum, value)| *sum += *value);
            count += 1.0;
        }
        mean.numbers().for_each(|sum| *sum /= count);
        Some(mean)
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut f64> {
        self.precision_at
            .iter_mut()
            .chain(&mut self.recall_at)
            .chain(&mut self.ndcg_at)
            .chain([&mut self.r_precision, &mut self.map_at_r])
            .chain(&mut self.average_precision)
            .chain(&mut self.reciprocal_rank)
    }
}
