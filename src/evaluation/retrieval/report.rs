//! The results of a retrieval: values of each query, then means.

use std::collections::BTreeMap;
use std::fmt;

/// What a retrieval found for one query that has relevant references.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryRetrieval {
    /// The number R of relevant references.
    pub relevant: usize,
    /// [Precision](super::Ranking::precision_at) at each k of [`RetrievalReport::ks`].
    pub precision_at: Vec<f64>,
    /// [Recall](super::Ranking::recall_at) at each k of [`RetrievalReport::ks`].
    pub recall_at: Vec<f64>,
    /// [R-precision](super::Ranking::r_precision).
    pub r_precision: f64,
    /// [MAP@R](super::Ranking::map_at_r).
    pub map_at_r: f64,
    /// [Average precision](super::Ranking::average_precision); `None` where it was not asked for.
    pub average_precision: Option<f64>,
    /// [Reciprocal rank](super::Ranking::reciprocal_rank); `None` where average precision was not asked for.
    pub reciprocal_rank: Option<f64>,
}

/// Means of the values of [`QueryRetrieval`].
#[derive(Clone, Debug, PartialEq)]
pub struct RetrievalMeans {
    /// Mean precision at each k of [`RetrievalReport::ks`].
    pub precision_at: Vec<f64>,
    /// Mean recall at each k of [`RetrievalReport::ks`].
    pub recall_at: Vec<f64>,
    /// Mean R-precision.
    pub r_precision: f64,
    /// Mean of MAP@R.
    pub map_at_r: f64,
    /// Mean average precision over all ranks (mAP); `None` where it was not asked for.
    pub average_precision: Option<f64>,
    /// Mean reciprocal rank (MRR); `None` where average precision was not asked for.
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
    /// The depths of precision and recall.
    pub fn ks(&self) -> &[usize] {
        &self.ks
    }

    /// The values of each query in turn; `None` for a query without a relevant reference.
    pub fn queries(&self) -> &[Option<QueryRetrieval>] {
        &self.queries
    }

    /// How many queries have a relevant reference. The means are over these.
    pub fn queries_with_match(&self) -> usize {
        self.queries.iter().flatten().count()
    }

    /// How many queries have no relevant reference and are left out of all means.
    pub fn queries_without_match(&self) -> usize {
        self.queries.len() - self.queries_with_match()
    }

    /// Whether the order of indices decided a value of some query: references equally far from it, some relevant and some
    /// not, stand on both sides of one of its cuts at k and at R.
    pub fn tie_at_cut(&self) -> bool {
        self.tie_at_cut
    }

    /// The means over all queries with a match; `None` where there is no such query.
    pub fn means(&self) -> Option<RetrievalMeans> {
        let values: Vec<RetrievalMeans> = self
            .queries
            .iter()
            .flatten()
            .map(RetrievalMeans::of_query)
            .collect();
        RetrievalMeans::mean(&values)
    }

    /// The unweighted mean, over the labels that have a query with a match, of the means over each label's queries;
    /// `None` where there is no such query. Large classes count no more than small ones.
    pub fn means_of_classes(&self) -> Option<RetrievalMeans> {
        let mut classes: BTreeMap<i128, Vec<RetrievalMeans>> = BTreeMap::new();
        for (label, query) in self.labels.iter().zip(&self.queries) {
            if let Some(query) = query {
                let values = classes.entry(*label).or_default();
                values.push(RetrievalMeans::of_query(query));
            }
        }
        let means: Vec<RetrievalMeans> = classes
            .values()
            .filter_map(|values| RetrievalMeans::mean(values))
            .collect();
        RetrievalMeans::mean(&means)
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

impl RetrievalMeans {
    fn of_query(query: &QueryRetrieval) -> Self {
        Self {
            precision_at: query.precision_at.clone(),
            recall_at: query.recall_at.clone(),
            r_precision: query.r_precision,
            map_at_r: query.map_at_r,
            average_precision: query.average_precision,
            reciprocal_rank: query.reciprocal_rank,
        }
    }

    /// The unweighted mean; `None` of nothing.
    fn mean(values: &[Self]) -> Option<Self> {
        let first = values.first()?;
        let mean =
            |of: &dyn Fn(&Self) -> f64| values.iter().map(of).sum::<f64>() / values.len() as f64;
        // A value that was not asked for is missing in all.
        let mean_if_asked = |of: fn(&Self) -> Option<f64>| {
            of(first).map(|_| mean(&|value| of(value).unwrap_or_default()))
        };
        let depths = 0..first.precision_at.len();
        Some(Self {
            precision_at: depths
                .clone()
                .map(|at| mean(&|value| value.precision_at[at]))
                .collect(),
            recall_at: depths
                .map(|at| mean(&|value| value.recall_at[at]))
                .collect(),
            r_precision: mean(&|value| value.r_precision),
            map_at_r: mean(&|value| value.map_at_r),
            average_precision: mean_if_asked(|value| value.average_precision),
            reciprocal_rank: mean_if_asked(|value| value.reciprocal_rank),
        })
    }
}
