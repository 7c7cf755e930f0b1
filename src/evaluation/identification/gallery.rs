//! Identification from features.

use super::probes::{Identification, MatedProbe};
use crate::evaluation::comparison::Comparison;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::features::{check_widths, read_labels, read_rows, score_of_distance};
use crate::evaluation::relevance::{Names, Relevance};
use crate::neighbors::{KnnMetric, check_device};
use alloc::vec::Vec;
use burn::tensor::{Int, Tensor};

/// What the search for one probe found.
enum Found {
    Mated(MatedProbe),
    /// The highest score.
    NonMated(f64),
}

impl Identification {
    /// Compares probes with the entries of a gallery. A probe is mated if an entry has its label. Scores are those of
    /// [`pair_scores`](crate::evaluation::pair_scores).
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
    /// [`EvaluationError`] where there are no entries, no probes or no columns, a feature is not finite, the widths
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
        check_device("probes", &probes.device(), "gallery", &gallery.device())?;
        check_widths(&probes, "gallery", &gallery)?;
        let names = |labels| Names { labels, keys: None };
        let entries = read_labels(gallery_labels, "gallery_labels", &gallery, "gallery")?;
        let labels = read_labels(probe_labels, "probe_labels", &probes, "probes")?;
        let gallery = read_rows(gallery, "gallery", metric)?;
        let probes = read_rows(probes, "probes", metric)?;
        let relevance = Relevance::of_queries(&names(labels), &names(entries));

        let score = |rank: f64| score_of_distance(metric, metric.distance(rank));
        let numbers: Vec<usize> = (0..probes.len()).collect();
        let found = Comparison::new(&gallery, metric).answers(
            &probes,
            &numbers,
            || (),
            |(), probe, ranks| {
                let nearer = |a: &usize, b: &usize| ranks[*a].total_cmp(&ranks[*b]);
                // Of equally near entries `min_by` takes the first.
                match relevance.relevant(probe).min_by(nearer) {
                    Some(mate) => {
                        let before = relevance
                            .others(probe)
                            .filter(|other| nearer(other, &mate).then(other.cmp(&mate)).is_lt());
                        Found::Mated(MatedProbe {
                            score: score(ranks[mate]),
                            rank: before.count() + 1,
                        })
                    }
                    None => {
                        let nearest = ranks.iter().copied().fold(f64::INFINITY, f64::min);
                        Found::NonMated(score(nearest))
                    }
                }
            },
            &mut |_| (),
        );
        let (mut mated, mut non_mated) = (Vec::new(), Vec::new());
        for found in found {
            match found {
                Found::Mated(probe) => mated.push(probe),
                Found::NonMated(score) => non_mated.push(score),
            }
        }
        Self::new(&mated, &non_mated)
    }
}
