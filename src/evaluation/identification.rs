//! Identification: which identity of a gallery is a probe, if any?

use super::error::EvaluationError;
use super::input::{
    check_comparable, check_rate, read_labels_of, read_rows, read_scores, score_of_distance,
};
use super::relevance::{LabelsAndKeys, Relevance};
use super::sweep::ThresholdSweep;
use crate::neighbors::{Comparison, KnnMetric};
use burn::tensor::{Int, Tensor};

/// A probe whose identity is in the gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatedProbe {
    /// The score of its mate: of the gallery's entries with its identity, the one that is ranked first.
    pub score: f64,
    /// The mate's rank among all entries of the gallery, 1 for the first.
    pub rank: usize,
}

/// Search results of probes whose identity is in a gallery (mated) and of probes whose identity is not (non-mated).
///
/// A larger score means more alike. The gallery's entries are ranked by score; of equal scores the entry with the lowest
/// index comes first.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, Identification, MatedProbe};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let mated = [
///     MatedProbe { score: 0.9, rank: 1 },
///     MatedProbe { score: 0.6, rank: 1 },
///     MatedProbe { score: 0.8, rank: 3 },
/// ];
/// // The highest score that each non-mated probe reaches with any entry of the gallery.
/// let non_mated = [0.7, 0.2];
/// let result = Identification::new(&mated, &non_mated)?;
/// assert_eq!(result.rank_k(1)?, 2.0 / 3.0);
/// assert_eq!(result.tpir_at_fpir(0.0)?.tpir, 1.0 / 3.0);
/// assert_eq!(result.tpir_at_fpir(0.5)?.tpir, 2.0 / 3.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Identification {
    mated: Vec<MatedProbe>,
    non_mated: Vec<f64>,
}

impl Identification {
    /// Takes the mated probes, and for each non-mated probe the highest score that it reaches in the gallery.
    ///
    /// Either may be empty; the metrics that need it say so.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if a score is NaN or a rank is 0.
    pub fn new<S: Copy + Into<f64>>(
        mated: &[MatedProbe],
        non_mated: &[S],
    ) -> Result<Self, EvaluationError> {
        for (index, probe) in mated.iter().enumerate() {
            if probe.score.is_nan() {
                return Err(EvaluationError::NotANumber {
                    name: "mated",
                    index,
                });
            }
            if probe.rank == 0 {
                return Err(EvaluationError::RankZero {
                    name: "mated",
                    index,
                });
            }
        }
        Ok(Self {
            mated: mated.to_vec(),
            non_mated: if non_mated.is_empty() {
                Vec::new()
            } else {
                read_scores("non_mated", non_mated)?
            },
        })
    }

    /// Compares probes with the entries of a gallery. A probe is mated if an entry has its label. Scores are those of
    /// [`pair_scores`](super::pair_scores).
    ///
    /// Reads all tensors back from the device once.
    ///
    /// # Shapes
    ///
    /// - gallery: `[num_entries, feature_dim]`
    /// - gallery_labels: `[num_entries]`, any integers of any integer type
    /// - probes: `[num_probes, feature_dim]`
    /// - probe_labels: `[num_probes]`
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no entries, no probes or no columns, a feature is not finite, the widths
    /// differ, labels are not one per row, or the tensors are on different devices.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_center_loss::KnnMetric;
    /// use burn_center_loss::evaluation::{EvaluationError, Identification, MatedProbe};
    ///
    /// # fn main() -> Result<(), EvaluationError> {
    /// let device = Device::flex();
    /// let gallery = Tensor::<2>::from_floats([[0.0], [4.0]], &device);
    /// let entries = Tensor::<1, Int>::from_ints([7, 8], &device);
    /// let probes = Tensor::<2>::from_floats([[1.0], [1.0], [6.0]], &device);
    /// let labels = Tensor::<1, Int>::from_ints([7, 8, 9], &device);
    /// let result = Identification::of_gallery(gallery, entries, probes, labels, KnnMetric::Euclidean)?;
    /// assert_eq!(
    ///     result.mated(),
    ///     [MatedProbe { score: -1.0, rank: 1 }, MatedProbe { score: -3.0, rank: 2 }]
    /// );
    /// assert_eq!(result.non_mated(), [-2.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_gallery(
        gallery: Tensor<2>,
        gallery_labels: Tensor<1, Int>,
        probes: Tensor<2>,
        probe_labels: Tensor<1, Int>,
        metric: KnnMetric,
    ) -> Result<Self, EvaluationError> {
        check_comparable(["probes", "gallery"], &probes, &gallery)?;
        let names = |labels| LabelsAndKeys { labels, keys: None };
        let entries = read_labels_of(&gallery, "gallery", gallery_labels, "gallery_labels")?;
        let labels = read_labels_of(&probes, "probes", probe_labels, "probe_labels")?;
        let gallery = read_rows(gallery, "gallery", metric)?;
        let probes = read_rows(probes, "probes", metric)?;
        let relevance = Relevance::of_queries(&names(labels), &names(entries));

        let score = |rank: f64| score_of_distance(metric, metric.distance(rank));
        let search = |probe: usize, ranks: &[f64]| {
            let nearer = |a: &usize, b: &usize| ranks[*a].total_cmp(&ranks[*b]);
            // Of equally near entries `min_by` takes the first.
            let Some(mate) = relevance.relevant(probe).min_by(nearer) else {
                let nearest = ranks.iter().copied().fold(f64::INFINITY, f64::min);
                return ProbeResult::NonMated(score(nearest));
            };
            let others = relevance.others(probe);
            let before = others.filter(|other| nearer(other, &mate).then(other.cmp(&mate)).is_lt());
            ProbeResult::Mated(MatedProbe {
                score: score(ranks[mate]),
                rank: before.count() + 1,
            })
        };
        let numbers: Vec<usize> = (0..probes.len()).collect();
        let mut found = vec![None; numbers.len()];
        Comparison::new(&gallery, metric).for_each_query(
            &probes,
            &numbers,
            &mut found,
            || (),
            |(), probe, ranks, found| found[0] = Some(search(probe, ranks)),
            &mut |_| (),
        );
        let (mut mated, mut non_mated) = (Vec::new(), Vec::new());
        for found in found.into_iter().flatten() {
            match found {
                ProbeResult::Mated(probe) => mated.push(probe),
                ProbeResult::NonMated(score) => non_mated.push(score),
            }
        }
        Self::new(&mated, &non_mated)
    }

    /// The mated probes.
    pub fn mated(&self) -> &[MatedProbe] {
        &self.mated
    }

    /// The highest score of each non-mated probe.
    pub fn non_mated(&self) -> &[f64] {
        &self.non_mated
    }

    /// The share of mated probes whose mate is ranked among the first `k`, whatever its score.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no mated probes or `k` is 0.
    pub fn rank_k(&self, k: usize) -> Result<f64, EvaluationError> {
        if k == 0 {
            return Err(EvaluationError::KZero);
        }
        let mated = self.mated();
        if mated.is_empty() {
            return Err(EvaluationError::Empty { name: "mated" });
        }
        let found = mated.iter().filter(|probe| probe.rank <= k).count();
        Ok(found as f64 / mated.len() as f64)
    }

    /// The largest true positive identification rate whose false positive identification rate does not exceed `fpir`.
    ///
    /// ```text
    /// TPIR(t) = mated probes whose mate is ranked first and scores >= t / mated probes
    /// FPIR(t) = non-mated probes with any score >= t / non-mated probes
    /// ```
    ///
    /// # Differences from the references
    ///
    /// An earlier evaluation in insightface divided false positives by all probes, mated ones included, which made the
    /// bound stricter than it says.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no mated or no non-mated probes, or `fpir` is not in 0..=1.
    ///
    /// # References
    ///
    /// P. Grother, M. Ngan, K. Hanaoka, *Face recognition vendor test, part 2: identification*, NIST, 2019.
    pub fn tpir_at_fpir(&self, fpir: f64) -> Result<TpirAtFpir, EvaluationError> {
        check_rate("fpir", fpir)?;
        let (mated, non_mated) = (self.mated().len(), self.non_mated().len());
        if mated == 0 {
            return Err(EvaluationError::Empty { name: "mated" });
        }
        if non_mated == 0 {
            return Err(EvaluationError::Empty { name: "non_mated" });
        }
        let first = self
            .mated()
            .iter()
            .filter(|probe| probe.rank == 1)
            .map(|probe| probe.score)
            .collect();
        let sweep = ThresholdSweep::new(first, self.non_mated().to_vec());
        let step = sweep.most_positives_within(fpir, non_mated);
        let accepted = sweep.as_slice()[step];
        Ok(TpirAtFpir {
            fpir,
            tpir: accepted.positives as f64 / mated as f64,
            achieved_fpir: accepted.negatives as f64 / non_mated as f64,
            threshold: sweep.threshold(step),
            smallest_measurable_fpir: 1.0 / non_mated as f64,
        })
    }
}

/// The true positive identification rate at a bound on the false positive identification rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TpirAtFpir {
    /// The bound that was asked for.
    pub fpir: f64,
    /// The largest true positive identification rate within it.
    pub tpir: f64,
    /// The false positive identification rate at the threshold.
    pub achieved_fpir: f64,
    /// The strictest threshold with this rate; `None` if only accepting nothing is within the bound.
    pub threshold: Option<f64>,
    /// `1 / non-mated probes`. A bound below it allows no false positive at all.
    pub smallest_measurable_fpir: f64,
}

/// The result of the search for one probe.
#[derive(Clone)]
enum ProbeResult {
    Mated(MatedProbe),
    /// The highest score.
    NonMated(f64),
}
