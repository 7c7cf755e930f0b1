//! What a retrieval computes, and checks of its input.

use super::asked::Asked;
use super::evaluate::{Features, Retrieval};
use super::ranking::check_depth;
use super::report::RetrievalReport;
use super::set::RetrievalSet;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::features::{check_features, check_widths, read_labels};
use crate::evaluation::relevance::{Names, Relevance};
use crate::neighbors::{KnnMetric, check_device};
use alloc::vec;
use alloc::vec::Vec;
use burn::config::Config;
use burn::tensor::{Int, Tensor};

/// Configuration of a retrieval: which references are nearest to each query, and how many of them have its label.
///
/// ```text
/// R            references with the query's label, its relevant references
/// P@k          relevant references among the k nearest / k
/// recall@k     1 if any of the k nearest is relevant, else 0
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
    /// What "near" means. Default: `Euclidean`.
    #[config(default = "KnnMetric::Euclidean")]
    pub metric: KnnMetric,
    /// The depths of precision and recall. Default: `[1]`.
    #[config(default = "vec![1]")]
    pub ks: Vec<usize>,
    /// Whether average precision and reciprocal rank are computed. They need the rank of every relevant reference, and
    /// so a comparison of each query with every reference; the other values need fewer neighbors where classes are
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
    /// [`EvaluationError`] where there are no samples or columns, a feature is not finite, labels or keys are not one per
    /// sample or not on the features' device, or a k is 0 or larger than the number of other samples.
    pub fn evaluate(&self, set: &RetrievalSet) -> Result<RetrievalReport, EvaluationError> {
        self.evaluate_with_progress(set, |_, _| ())
    }

    /// As [`evaluate`](Self::evaluate); calls `progress` from time to time with how many of the queries with a match are
    /// done, and how many there are.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_with_progress(
        &self,
        set: &RetrievalSet,
        progress: impl FnMut(usize, usize),
    ) -> Result<RetrievalReport, EvaluationError> {
        let names = read_names(set, "features")?;
        let labels = names.labels.clone();
        let features = Features::SameSet(&set.features);
        self.retrieve(features, labels, Relevance::of_set(names), progress)
    }

    /// Compares queries with references.
    ///
    /// Reads both sets back from the device. Keys must be given for both sets or for none.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where either set has no samples or columns, a feature is not finite, the widths differ, labels
    /// or keys are not one per sample or not on the features' device, only one set has keys, the sets are on different
    /// devices, or a k is 0 or larger than the number of references.
    pub fn evaluate_against(
        &self,
        queries: &RetrievalSet,
        references: &RetrievalSet,
    ) -> Result<RetrievalReport, EvaluationError> {
        self.evaluate_against_with_progress(queries, references, |_, _| ())
    }

    /// As [`evaluate_against`](Self::evaluate_against); calls `progress` from time to time with how many of the queries
    /// with a match are done, and how many there are.
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
        check_device(
            "queries",
            &queries.features.device(),
            "references",
            &references.features.device(),
        )?;
        check_widths(&queries.features, "references", &references.features)?;
        let of_queries = read_names(queries, "queries")?;
        let of_references = read_names(references, "references")?;
        if of_queries.keys.is_some() != of_references.keys.is_some() {
            let (with, without) = if of_queries.keys.is_some() {
                ("queries", "references")
            } else {
                ("references", "queries")
            };
            return Err(EvaluationError::KeysOfOneSide { with, without });
        }
        let relevance = Relevance::of_queries(&of_queries, &of_references);
        let features = Features::Separate {
            queries: &queries.features,
            references: &references.features,
        };
        self.retrieve(features, of_queries.labels, relevance, progress)
    }

    fn retrieve(
        &self,
        features: Features,
        labels: Vec<i128>,
        relevance: Relevance,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<RetrievalReport, EvaluationError> {
        for k in &self.ks {
            check_depth(*k, relevance.references())?;
        }
        let retrieval = Retrieval {
            metric: self.metric,
            asked: Asked {
                ks: &self.ks,
                average_precision: self.average_precision,
            },
            features,
            relevance,
        };
        Ok(RetrievalReport {
            ks: self.ks.clone(),
            labels,
            queries: retrieval.values(&mut progress)?,
        })
    }
}

/// Reads the labels and keys of a set whose features are called `name`.
fn read_names(set: &RetrievalSet, name: &'static str) -> Result<Names, EvaluationError> {
    check_features(&set.features, name)?;
    let read = |labels: &Tensor<1, Int>, labels_name| {
        read_labels(labels.clone(), labels_name, &set.features, name)
    };
    Ok(Names {
        labels: read(&set.labels, "labels")?,
        keys: match &set.keys {
            Some(keys) => Some(read(keys, "keys")?),
            None => None,
        },
    })
}
