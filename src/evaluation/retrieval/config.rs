//! Configuration of a retrieval, and the retrieval itself.

use super::ranking::{RequestedMetrics, check_depth};
use super::relevant_ranks::RelevantRanks;
use super::report::{QueryRetrieval, RetrievalReport};
use crate::evaluation::error::EvaluationError;
use crate::evaluation::input::{Samples, check_comparable, read_labels_of};
use crate::evaluation::relevance::{LabelsAndKeys, Relevance};
use crate::neighbors::{Comparison, DEFAULT_MAX_PAIRS, KnnMetric, Neighbor, Rows, Search};
use burn::config::Config;
use burn::tensor::{Device, Int, Tensor};

/// If more neighbors are needed than one in this many references, queries are compared with every reference: a search
/// would keep and sort most of them.
const SEARCHED_SHARE: usize = 8;

/// Neighbors that are held at one time, unless few queries have more.
const NEIGHBORS_AT_ONCE: usize = 1 << 20;

/// The least number of queries that are searched together: fewer would keep a device waiting.
const MIN_QUERIES_AT_ONCE: usize = 64;

/// Features, their labels and, if given, a second key.
///
/// A reference with the label and the key of a query is left out for this query. In re-identification the key is the
/// camera: to find a person again in the same camera's next picture is no achievement.
///
/// # Shapes
///
/// - features: `[num_samples, feature_dim]`
/// - labels, keys: `[num_samples]`, any integers of any integer type
#[derive(Clone, Debug)]
pub struct RetrievalSet {
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    keys: Option<Tensor<1, Int>>,
}

impl RetrievalSet {
    /// Features, `[num_samples, feature_dim]`, and their labels, `[num_samples]`.
    pub fn new(features: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        Self {
            features,
            labels,
            keys: None,
        }
    }

    /// The same set with a second key for each feature, `[num_samples]`.
    pub fn with_keys(mut self, keys: Tensor<1, Int>) -> Self {
        self.keys = Some(keys);
        self
    }
}

impl RetrievalSet {
    /// Reads the set from its device. Errors call its features `name`.
    fn read(&self, name: &'static str) -> Result<Samples, EvaluationError> {
        let rows = Rows::read(self.features.clone(), name)?;
        let read = |labels: &Tensor<1, Int>, labels_name| {
            read_labels_of(&self.features, name, labels.clone(), labels_name)
        };
        let labels = read(&self.labels, "labels")?;
        let keys = self.keys.as_ref().map(|keys| read(keys, "keys"));
        Ok(Samples {
            rows,
            names: LabelsAndKeys {
                labels,
                keys: keys.transpose()?,
            },
            device: self.features.device().without_autodiff(),
        })
    }
}

/// Configuration of a retrieval: which references are nearest to each query, and how many of them have its label.
///
/// ```text
/// R            references with the query's label, its relevant references
/// P@k          relevant references among the k nearest / k
/// recall@k     1 if any of the k nearest is relevant, else 0
/// nDCG@k       sum over ranks i <= k of relevant(i) / log2(i + 1), divided by that of the best order
/// R-precision  relevant references among the R nearest / R
/// MAP@R        1 / R * sum over ranks i <= R of P@i * relevant(i)
/// AP           1 / R * sum over all ranks i of P@i * relevant(i)
/// RR           1 / rank of the nearest relevant reference
/// ```
///
/// Neighbors are exact, by direct differences in `f64`; of references equally far from a query the one with the lowest
/// index is nearer. A query without a relevant reference is left out of all means and counted. Values are computed per
/// query, then averaged. Memory beyond the features does not grow with the number of pairs: the distances of a few
/// queries are held at one time.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_center_loss::evaluation::{EvaluationError, RetrievalConfig, RetrievalSet};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let device = Device::flex();
/// let features = Tensor::<2>::from_floats([[0.0], [1.0], [1.5], [5.0], [9.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1, 1, 7], &device);
///
/// let report = RetrievalConfig::new()
///     .with_ks(vec![1, 2])
///     .evaluate(&RetrievalSet::new(features, labels))?;
/// assert_eq!(report.queries_with_match(), 4);
/// assert_eq!(report.queries_without_match(), 1);
/// let means = report.means().unwrap();
/// // Samples 0 and 3 have one of their label nearest, sample 1 second nearest, sample 2 third nearest.
/// assert_eq!(means.precision_at, [0.5, 0.375]);
/// assert_eq!(means.recall_at, [0.5, 0.75]);
/// # Ok(())
/// # }
/// ```
#[derive(Config, Debug)]
pub struct RetrievalConfig {
    /// The distance between a query and a reference. Default: `Euclidean`.
    #[config(default = "KnnMetric::Euclidean")]
    pub metric: KnnMetric,
    /// The depths of precision, recall and nDCG. Default: `[1]`.
    #[config(default = "vec![1]")]
    pub ks: Vec<usize>,
    /// Whether average precision and reciprocal rank are computed. They need the rank of every relevant reference, and
    /// so a comparison of each query with every reference; the other values need fewer neighbors if classes are
    /// small. Default: `true`.
    #[config(default = true)]
    pub average_precision: bool,
}

impl RetrievalConfig {
    /// Compares the samples of a set with each other. Each sample is a query, and all others are its references: the
    /// sample itself is left out by its index, so that duplicates of it stay.
    ///
    /// Reads the set back from the device.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no samples or columns, a feature is not finite, labels or keys are not one per
    /// sample or not on the features' device, or a k is 0 or larger than the number of other samples.
    pub fn evaluate(&self, set: &RetrievalSet) -> Result<RetrievalReport, EvaluationError> {
        self.evaluate_with_progress(set, |_, _| ())
    }

    /// [`evaluate`](Self::evaluate) with a callback for its progress. From time to time `progress` gets the number of
    /// finished queries, and the number of all queries with a match.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_with_progress(
        &self,
        set: &RetrievalSet,
        progress: impl FnMut(usize, usize),
    ) -> Result<RetrievalReport, EvaluationError> {
        self.evaluate_samples(set.read("features")?, progress)
    }

    /// As [`evaluate`](Self::evaluate), for samples on the host.
    pub(crate) fn evaluate_samples(
        &self,
        samples: Samples,
        progress: impl FnMut(usize, usize),
    ) -> Result<RetrievalReport, EvaluationError> {
        let relevance = Relevance::of_set(&samples.names);
        self.retrieve(None, samples, relevance, progress)
    }

    /// Compares queries with references.
    ///
    /// Reads both sets back from the device. Keys must be given for both sets or for none.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if either set has no samples or columns, a feature is not finite, the widths differ, labels
    /// or keys are not one per sample or not on the features' device, only one set has keys, the sets are on different
    /// devices, or a k is 0 or larger than the number of references.
    pub fn evaluate_against(
        &self,
        queries: &RetrievalSet,
        references: &RetrievalSet,
    ) -> Result<RetrievalReport, EvaluationError> {
        self.evaluate_against_with_progress(queries, references, |_, _| ())
    }

    /// [`evaluate_against`](Self::evaluate_against) with a callback for its progress. From time to time `progress` gets the
    /// number of finished queries, and the number of all queries with a match.
    ///
    /// # Errors
    ///
    /// As [`evaluate_against`](Self::evaluate_against).
    pub fn evaluate_against_with_progress(
        &self,
        queries: &RetrievalSet,
        references: &RetrievalSet,
        progress: impl FnMut(usize, usize),
    ) -> Result<RetrievalReport, EvaluationError> {
        let names = ["queries", "references"];
        check_comparable(names, &queries.features, &references.features)?;
        let (queries, references) = (queries.read(names[0])?, references.read(names[1])?);
        let [with, without] = match (&queries.names.keys, &references.names.keys) {
            (Some(_), None) => names,
            (None, Some(_)) => [names[1], names[0]],
            _ => {
                let relevance = Relevance::of_queries(&queries.names, &references.names);
                return self.retrieve(Some(queries), references, relevance, progress);
            }
        };
        Err(EvaluationError::KeysOfOneSide { with, without })
    }

    /// Compares queries, or the references themselves, with the references.
    fn retrieve(
        &self,
        queries: Option<Samples>,
        references: Samples,
        relevance: Relevance,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<RetrievalReport, EvaluationError> {
        for k in &self.ks {
            check_depth(*k, relevance.references())?;
        }
        let labels = match &queries {
            Some(queries) => queries.names.labels.clone(),
            None => references.names.labels.clone(),
        };
        let retrieval = Retrieval {
            metric: self.metric,
            requested: RequestedMetrics {
                ks: &self.ks,
                average_precision: self.average_precision,
            },
            relevance,
            device: references.device,
        };
        let numbers = retrieval.relevance.queries_with_match();
        let (found, tie_at_cut) = retrieval.values(
            queries.map(|queries| self.metric.prepare(queries.rows)),
            self.metric.prepare(references.rows),
            &numbers,
            &mut |done| progress(done, numbers.len()),
        );
        let mut values = vec![None; labels.len()];
        for (query, found) in numbers.into_iter().zip(found) {
            values[query] = Some(found);
        }
        Ok(RetrievalReport {
            ks: self.ks.clone(),
            labels,
            queries: values,
            tie_at_cut,
        })
    }
}

/// A retrieval whose input has been checked.
struct Retrieval<'a> {
    metric: KnnMetric,
    requested: RequestedMetrics<'a>,
    relevance: Relevance,
    device: Device,
}

impl Retrieval<'_> {
    /// The values of these queries, each of which has a relevant reference, and whether a tie crosses one of their cuts.
    /// Takes rows that the metric has prepared; without `queries` the references are the queries.
    fn values(
        &self,
        queries: Option<Rows>,
        references: Rows,
        numbers: &[usize],
        progress: &mut dyn FnMut(usize),
    ) -> (Vec<QueryRetrieval>, bool) {
        let depth = numbers.iter().map(|query| self.depth(*query)).max();
        let depth = depth.unwrap_or(1);
        if self.requested.average_precision || depth > references.len() / SEARCHED_SHARE {
            let queries = queries.as_ref().unwrap_or(&references);
            let found = self.compare(queries, &references, numbers, progress);
            let tie = found.iter().any(|(_, tie)| *tie);
            return (found.into_iter().map(|(values, _)| values).collect(), tie);
        }
        let order = self.relevance.references_by_class();
        let (metric, device) = (self.metric, &self.device);
        let search = Search::new(references, order, metric, depth, DEFAULT_MAX_PAIRS, device);
        let queries = queries.as_ref().unwrap_or(search.references());
        let mut values = Vec::with_capacity(numbers.len());
        let (mut tie, mut open) = (false, Vec::new());
        for numbers in numbers.chunks((NEIGHBORS_AT_ONCE / depth).max(MIN_QUERIES_AT_ONCE)) {
            let neighbors = search.nearest(&queries.select(numbers), depth);
            for (query, neighbors) in numbers.iter().zip(neighbors.chunks_exact(depth)) {
                let (found, crosses) = self.values_of_neighbors(*query, neighbors);
                values.push(found);
                match crosses {
                    Some(crosses) => tie |= crosses,
                    None => open.push(*query),
                }
            }
            progress(values.len());
        }
        if !tie {
            let found = self.compare(queries, search.references(), &open, &mut |_| ());
            tie = found.iter().any(|(_, tie)| *tie);
        }
        (values, tie)
    }

    /// How many neighbors of a query have to be known: up to one beyond its deepest cut, and those that are left out.
    fn depth(&self, query: usize) -> usize {
        let cuts = self.requested.cuts(self.relevance.relevant_count(query));
        cuts.max().unwrap_or(0) + 1 + self.relevance.left_out_count(query)
    }

    /// The values of each query, and whether a tie crosses one of its cuts, by comparing it with all references.
    fn compare(
        &self,
        queries: &Rows,
        references: &Rows,
        numbers: &[usize],
        progress: &mut dyn FnMut(usize),
    ) -> Vec<(QueryRetrieval, bool)> {
        let mut found = vec![None; numbers.len()];
        Comparison::new(references, self.metric).for_each_query(
            queries,
            numbers,
            &mut found,
            RelevantRanks::default,
            |ranks, query, distances, found| {
                ranks.find(&self.relevance, query, distances);
                let relevant = ranks.ranks().len();
                let values = self.requested.values(ranks.ranks(), relevant);
                found[0] = Some((values, ranks.tie_crosses(self.requested.cuts(relevant))));
            },
            progress,
        );
        found.into_iter().flatten().collect()
    }

    /// The values of one query from its neighbors, nearest first, and whether a tie crosses one of its cuts; `None` if
    /// that depends on references that were not searched.
    fn values_of_neighbors(
        &self,
        query: usize,
        neighbors: &[Neighbor],
    ) -> (QueryRetrieval, Option<bool>) {
        let ranked = neighbors.iter().filter_map(|neighbor| {
            let hit = self.relevance.is_relevant(query, neighbor.index)?;
            Some((neighbor.rank, hit))
        });
        let ranked: Vec<(f64, bool)> = ranked.collect();
        let relevant = self.relevance.relevant_count(query);
        let hits = (1..).zip(&ranked).filter(|(_, (_, hit))| *hit);
        let ranks: Vec<usize> = hits.map(|(rank, _)| rank).collect();
        let mut crosses = Some(false);
        for cut in self.requested.cuts(relevant) {
            let Some([before, after]) = ranked.get(cut - 1..=cut) else {
                continue;
            };
            if before.0 != after.0 {
                continue;
            }
            let run = ranked.iter().filter(|other| other.0 == before.0);
            if run.clone().any(|other| other.1 != before.1) {
                crosses = Some(true);
                break;
            }
            // The run may go on beyond the last neighbor.
            if ranked.last().is_some_and(|last| last.0 == before.0) {
                crosses = None;
            }
        }
        (self.requested.values(&ranks, relevant), crosses)
    }
}
