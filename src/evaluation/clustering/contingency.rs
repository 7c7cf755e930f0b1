//! How often each label and each cluster occur together.

use crate::evaluation::error::EvaluationError;
use crate::evaluation::scores::check_lengths;
use alloc::vec;
use alloc::vec::Vec;

/// The counts of two labelings of the same samples, from which their agreement is measured.
///
/// Which values name the groups does not matter, nor which of the labelings comes first.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{Contingency, EvaluationError};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let labels = [0, 0, 1, 1];
/// let clusters = ["b", "b", "a", "a"];
/// let agreement = Contingency::new(&labels, &clusters)?;
/// assert_eq!(agreement.normalized_mutual_information(), 1.0);
/// assert_eq!(agreement.adjusted_rand_index(), 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contingency {
    samples: usize,
    /// Samples of each label.
    labels: Vec<usize>,
    /// Samples of each cluster.
    clusters: Vec<usize>,
    cells: Vec<Cell>,
}

/// A label and a cluster that have samples in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) label: usize,
    pub(super) cluster: usize,
    pub(super) samples: usize,
}

impl Contingency {
    /// Counts the samples of each pair of a label and a cluster, in O(n log n).
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where there are no samples or the lengths differ.
    pub fn new<A: Ord, B: Ord>(labels: &[A], clusters: &[B]) -> Result<Self, EvaluationError> {
        if labels.is_empty() {
            return Err(EvaluationError::Empty { name: "labels" });
        }
        check_lengths("labels", labels.len(), "clusters", clusters.len())?;
        let (label_of, labels) = numbered(labels);
        let (cluster_of, clusters) = numbered(clusters);
        let mut pairs: Vec<(usize, usize)> = label_of.into_iter().zip(cluster_of).collect();
        pairs.sort_unstable();
        let cells = pairs
            .chunk_by(|a, b| a == b)
            .map(|equal| Cell {
                label: equal[0].0,
                cluster: equal[0].1,
                samples: equal.len(),
            })
            .collect();
        Ok(Self {
            samples: pairs.len(),
            labels,
            clusters,
            cells,
        })
    }

    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    pub(super) fn labels(&self) -> &[usize] {
        &self.labels
    }

    pub(super) fn clusters(&self) -> &[usize] {
        &self.clusters
    }

    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Whether both labelings divide the samples alike, under whatever names.
    pub(super) fn is_perfect(&self) -> bool {
        self.cells.len() == self.labels.len() && self.cells.len() == self.clusters.len()
    }

    /// Whether a labeling has but one group, and so says nothing about the other.
    pub(super) fn has_single_group(&self) -> bool {
        self.labels.len() == 1 || self.clusters.len() == 1
    }
}

/// The number of each sample's group, in the order of the values, and how many samples each group has.
fn numbered<T: Ord>(values: &[T]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].cmp(&values[b]));
    let mut group_of = vec![0; values.len()];
    let mut sizes = Vec::new();
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &sample in equal {
            group_of[sample] = sizes.len();
        }
        sizes.push(equal.len());
    }
    (group_of, sizes)
}
