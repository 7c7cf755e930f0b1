//! The metrics of retrieval: pure functions of the ranks of a query's relevant references.

use super::report::{QueryRetrieval, RetrievalValues};
use crate::evaluation::error::EvaluationError;

/// The ranks of one query's relevant references, those with its label, among all references that it is compared with.
///
/// Every metric of retrieval is a function of these ranks. A query that has no relevant reference has none of them.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, Ranking};
///
/// # fn main() -> Result<(), EvaluationError> {
/// // The first, third and fourth nearest of five references have the query's label.
/// let ranking = Ranking::from_hits(&[true, false, true, true, false])?;
/// assert_eq!(ranking.precision_at(2)?, 1.0 / 2.0);
/// assert_eq!(ranking.recall_at(2)?, 1.0);
/// assert_eq!(ranking.ndcg_at(1)?, 1.0);
/// assert_eq!(ranking.r_precision(), 2.0 / 3.0);
/// assert_eq!(ranking.map_at_r(), (1.0 + 2.0 / 3.0) / 3.0);
/// assert_eq!(ranking.average_precision(), (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0);
/// assert_eq!(ranking.reciprocal_rank(), 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    relevant_ranks: Vec<usize>,
    references: usize,
}

impl Ranking {
    /// Takes the ranks of the relevant references, the nearest first and 1 for the nearest of all, and the number of all
    /// references.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no relevant references, or their ranks do not ascend within 1..=references.
    pub fn new(relevant_ranks: Vec<usize>, references: usize) -> Result<Self, EvaluationError> {
        if relevant_ranks.is_empty() {
            return Err(EvaluationError::Empty {
                name: "relevant_ranks",
            });
        }
        let mut before = 0;
        for (index, &rank) in relevant_ranks.iter().enumerate() {
            if rank <= before || rank > references {
                return Err(EvaluationError::Ranks {
                    index,
                    rank,
                    references,
                });
            }
            before = rank;
        }
        Ok(Self {
            relevant_ranks,
            references,
        })
    }

    /// Takes, for each reference from the nearest to the farthest, whether it is relevant.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::Empty`] if none is.
    pub fn from_hits(hits: &[bool]) -> Result<Self, EvaluationError> {
        let ranks = (1..).zip(hits).filter(|(_, hit)| **hit);
        Self::new(ranks.map(|(rank, _)| rank).collect(), hits.len())
    }

    /// The ranks of the relevant references in ascending order.
    pub fn relevant_ranks(&self) -> &[usize] {
        &self.relevant_ranks
    }

    /// The number of all references.
    pub fn references(&self) -> usize {
        self.references
    }

    /// The share of the `k` nearest references that is relevant.
    ///
    /// ```text
    /// P@k = relevant references among the k nearest / k
    /// ```
    ///
    /// # Differences from the references
    ///
    /// OML divides by min(k, R) if R references are relevant, so that a query with few of them can reach 1.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::K`] if `k` is 0 or larger than the number of references.
    pub fn precision_at(&self, k: usize) -> Result<f64, EvaluationError> {
        check_depth(k, self.references)?;
        Ok(precision(self.relevant_ranks(), k))
    }

    /// 1 if any of the `k` nearest references is relevant, else 0. Its mean over queries is also called hit rate, top-k
    /// accuracy of retrieval, and cumulative matching characteristic (CMC).
    ///
    /// # Differences from the references
    ///
    /// torchmetrics' recall is the share of the relevant references that are among the k nearest.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::K`] if `k` is 0 or larger than the number of references.
    ///
    /// # References
    ///
    /// H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese, *Deep metric learning via lifted structured feature embedding*,
    /// CVPR, 2016.
    pub fn recall_at(&self, k: usize) -> Result<f64, EvaluationError> {
        check_depth(k, self.references)?;
        Ok(recall(self.relevant_ranks(), k))
    }

    /// Normalized discounted cumulative gain at depth `k`, every relevant reference counting 1.
    ///
    /// ```text
    /// nDCG@k = sum over ranks i <= k of relevant(i) / log2(i + 1), divided by the sum over i <= min(k, R) of 1 / log2(i + 1)
    /// ```
    ///
    /// R is the number of relevant references. Ranks have no ties: the caller has ordered equal references, in a
    /// [`RetrievalConfig`](super::RetrievalConfig) by their index. [`ndcg_at`](super::ndcg_at) takes scores with ties, and
    /// graded relevance.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::K`] if `k` is 0 or larger than the number of references.
    ///
    /// # References
    ///
    /// K. Järvelin, J. Kekäläinen, *Cumulated gain-based evaluation of IR techniques*, ACM Transactions on Information
    /// Systems, 2002.
    pub fn ndcg_at(&self, k: usize) -> Result<f64, EvaluationError> {
        check_depth(k, self.references)?;
        Ok(ndcg(self.relevant_ranks(), self.relevant_ranks().len(), k))
    }

    /// Precision at R, the number of relevant references.
    ///
    /// ```text
    /// R-precision = relevant references among the R nearest / R
    /// ```
    ///
    /// # Differences from the references
    ///
    /// pytorch-metric-learning divides by the number of neighbors that it was given if that is below R.
    pub fn r_precision(&self) -> f64 {
        precision(self.relevant_ranks(), self.relevant_ranks().len())
    }

    /// The precisions at the relevant references among the R nearest, summed and divided by R, the number of relevant
    /// references.
    ///
    /// ```text
    /// MAP@R = 1 / R * sum over ranks i <= R of P@i * relevant(i)
    /// ```
    ///
    /// # References
    ///
    /// K. Musgrave, S. Belongie, S.-N. Lim, *A metric learning reality check*, ECCV, 2020.
    pub fn map_at_r(&self) -> f64 {
        map_at_r(self.relevant_ranks(), self.relevant_ranks().len())
    }

    /// The mean of the precisions at all relevant references; its mean over queries is mAP.
    ///
    /// ```text
    /// AP = 1 / R * sum over all ranks i of P@i * relevant(i)
    /// ```
    ///
    /// # Differences from the references
    ///
    /// pytorch-metric-learning's `mean_average_precision` takes the sum over the neighbors that it was given and still
    /// divides by R; OML and torchmetrics divide a truncated sum by the relevant references found. Here all ranks are
    /// summed, always. In code for re-identification AP is this number too.
    pub fn average_precision(&self) -> f64 {
        average_precision(self.relevant_ranks())
    }

    /// One over the rank of the nearest relevant reference; its mean over queries is the mean reciprocal rank (MRR).
    pub fn reciprocal_rank(&self) -> f64 {
        reciprocal_rank(self.relevant_ranks())
    }
}

/// The metrics that are computed for each query.
pub(super) struct RequestedMetrics<'a> {
    pub(super) ks: &'a [usize],
    pub(super) average_precision: bool,
}

impl RequestedMetrics<'_> {
    /// The depths at which a query with this many relevant references is cut.
    pub(super) fn cuts(&self, relevant: usize) -> impl Iterator<Item = usize> + Clone {
        self.ks.iter().copied().chain([relevant])
    }

    /// The values of a query with this many relevant references.
    ///
    /// `ranks` are the ranks of relevant references in ascending order: all of them if average precision is requested,
    /// else all up to the deepest cut at least.
    pub(super) fn values(&self, ranks: &[usize], relevant: usize) -> QueryRetrieval {
        let complete = self.average_precision.then_some(ranks);
        let values = RetrievalValues {
            precision_at: self.ks.iter().map(|k| precision(ranks, *k)).collect(),
            recall_at: self.ks.iter().map(|k| recall(ranks, *k)).collect(),
            ndcg_at: self.ks.iter().map(|k| ndcg(ranks, relevant, *k)).collect(),
            r_precision: precision(ranks, relevant),
            map_at_r: map_at_r(ranks, relevant),
            average_precision: complete.map(average_precision),
            reciprocal_rank: complete.map(reciprocal_rank),
        };
        QueryRetrieval { relevant, values }
    }
}

/// Precision at `k` of ascending ranks, of which all up to `k` are given.
fn precision(ranks: &[usize], k: usize) -> f64 {
    ranks.partition_point(|rank| *rank <= k) as f64 / k as f64
}

/// Recall at `k` of ascending ranks, of which all up to `k` are given.
fn recall(ranks: &[usize], k: usize) -> f64 {
    match ranks.first() {
        Some(first) if *first <= k => 1.0,
        _ => 0.0,
    }
}

/// nDCG at `k` of ascending ranks of relevant references, of which all up to `k` are given, out of `relevant`.
fn ndcg(ranks: &[usize], relevant: usize, k: usize) -> f64 {
    let within = ranks.iter().copied().take_while(|rank| *rank <= k);
    let found: f64 = within.map(discount).sum();
    found / (1..=relevant.min(k)).map(discount).sum::<f64>()
}

/// How much a relevant reference at this rank counts in nDCG.
pub(super) fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 1) as f64).log2()
}

/// MAP@R of ascending ranks, of which all up to `relevant`, the number R of relevant references, are given.
fn map_at_r(ranks: &[usize], relevant: usize) -> f64 {
    let within = ranks.partition_point(|rank| *rank <= relevant);
    sum_of_precisions(&ranks[..within]) / relevant as f64
}

/// The precision at each of the first ranks, summed.
fn sum_of_precisions(ranks: &[usize]) -> f64 {
    (1..)
        .zip(ranks)
        .map(|(hits, rank): (usize, _)| hits as f64 / *rank as f64)
        .sum()
}

/// Average precision of all ranks.
fn average_precision(ranks: &[usize]) -> f64 {
    sum_of_precisions(ranks) / ranks.len() as f64
}

/// Reciprocal rank of all ranks in ascending order.
fn reciprocal_rank(ranks: &[usize]) -> f64 {
    1.0 / ranks[0] as f64
}

/// Refuses a depth that is no rank of a reference.
pub(super) fn check_depth(k: usize, references: usize) -> Result<(), EvaluationError> {
    if (1..=references).contains(&k) {
        return Ok(());
    }
    Err(EvaluationError::K { k, references })
}
