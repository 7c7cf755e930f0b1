//! Clustering: do two labelings of the same samples agree?

use super::error::EvaluationError;
use super::input::{check_lengths, label_values};
use crate::neighbors::NearestCenter;
use burn::tensor::Tensor;

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
struct Cell {
    label: usize,
    cluster: usize,
    samples: usize,
}

impl Contingency {
    /// Counts the samples of each pair of a label and a cluster, in O(n log n).
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no samples or the lengths differ.
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

    /// Normalized mutual information, by the arithmetic mean of the entropies.
    ///
    /// ```text
    /// MI  = sum over cells of n_ij / n log(n n_ij / (a_i b_j))
    /// NMI = MI / ((H(labels) + H(clusters)) / 2)
    /// ```
    ///
    /// a_i is the size of label i, b_j that of cluster j, n_ij the number of samples they have in common. Two labelings
    /// that agree have 1, also if each is a single group; a single group against several has 0, as in scikit-learn.
    ///
    /// # References
    ///
    /// A. Strehl, J. Ghosh, *Cluster ensembles*, Journal of Machine Learning Research, 2002.
    pub fn normalized_mutual_information(&self) -> f64 {
        if self.is_perfect() {
            return 1.0;
        }
        if self.has_single_group() {
            return 0.0;
        }
        // Rounding may leave a value below zero if the labelings are independent.
        (self.mutual_information() / self.mean_entropy()).clamp(0.0, 1.0)
    }

    /// Adjusted mutual information, by the arithmetic mean of the entropies.
    ///
    /// ```text
    /// AMI = (MI - E[MI]) / ((H(labels) + H(clusters)) / 2 - E[MI])
    /// ```
    ///
    /// E\[MI\] is the mean of the mutual information over all labelings with these sizes of groups. Independent labelings
    /// have about 0, worse ones less. Two labelings that agree have 1, also if each is a single group; a single group
    /// against several has 0, as in scikit-learn.
    ///
    /// # References
    ///
    /// N. X. Vinh, J. Epps, J. Bailey, *Information theoretic measures for clusterings comparison*, Journal of Machine
    /// Learning Research, 2010.
    pub fn adjusted_mutual_information(&self) -> f64 {
        if self.is_perfect() {
            return 1.0;
        }
        if self.has_single_group() {
            return 0.0;
        }
        let expected = self.expected_mutual_information();
        // The range is positive: only for labelings that agree does no labeling of these sizes fall short of the mean
        // entropy.
        (self.mutual_information() - expected) / (self.mean_entropy() - expected)
    }

    /// The adjusted Rand index.
    ///
    /// ```text
    /// both     pairs of samples that are together in both labelings
    /// labels   pairs with one label, clusters  pairs with one cluster, all  all pairs
    /// chance   labels * clusters / all
    /// ARI    = (both - chance) / ((labels + clusters) / 2 - chance)
    /// ```
    ///
    /// Independent labelings have about 0, worse ones less. Two labelings that agree have 1, as in scikit-learn.
    ///
    /// # References
    ///
    /// L. Hubert, P. Arabie, *Comparing partitions*, Journal of Classification, 1985.
    pub fn adjusted_rand_index(&self) -> f64 {
        if self.is_perfect() {
            return 1.0;
        }
        let both = pairs_within(self.cells.iter().map(|cell| cell.samples));
        let labels = pairs_within(self.labels.iter().copied());
        let clusters = pairs_within(self.clusters.iter().copied());
        let all = pairs_within([self.samples]);
        let chance = labels * clusters / all;
        (both - chance) / ((labels + clusters) / 2.0 - chance)
    }

    /// Whether both labelings divide the samples alike, under whatever names.
    fn is_perfect(&self) -> bool {
        self.cells.len() == self.labels.len() && self.cells.len() == self.clusters.len()
    }

    /// Whether a labeling has but one group, and so says nothing about the other.
    fn has_single_group(&self) -> bool {
        self.labels.len() == 1 || self.clusters.len() == 1
    }

    /// In units of log e.
    fn mutual_information(&self) -> f64 {
        let n = self.samples as f64;
        self.cells
            .iter()
            .map(|cell| {
                let common = cell.samples as f64;
                let label = self.labels[cell.label] as f64;
                let cluster = self.clusters[cell.cluster] as f64;
                common / n * (n * common / (label * cluster)).ln()
            })
            .sum()
    }

    fn mean_entropy(&self) -> f64 {
        (self.entropy(&self.labels) + self.entropy(&self.clusters)) / 2.0
    }

    fn entropy(&self, sizes: &[usize]) -> f64 {
        let n = self.samples as f64;
        sizes
            .iter()
            .map(|size| *size as f64 / n)
            .map(|share| -share * share.ln())
            .sum()
    }

    /// The mean of the mutual information over all labelings with the same sizes of groups.
    ///
    /// It is the sum, over all pairs of a label and a cluster, of the mean of `n_ij / n log(n n_ij / (a_i b_j))`, where
    /// n_ij is hypergeometric. Pairs with equal sizes have equal means and are summed once.
    fn expected_mutual_information(&self) -> f64 {
        let labels = sizes_with_counts(&self.labels);
        let clusters = sizes_with_counts(&self.clusters);
        let mut sum = 0.0;
        for &(label, labels_of_size) in &labels {
            for &(cluster, clusters_of_size) in &clusters {
                let times = labels_of_size as f64 * clusters_of_size as f64;
                sum += times * expected_of_cell(self.samples, label, cluster);
            }
        }
        sum
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

/// The number of pairs of samples in one group, over all groups.
fn pairs_within(sizes: impl IntoIterator<Item = usize>) -> f64 {
    let pairs = |size: usize| size as u128 * size.saturating_sub(1) as u128 / 2;
    sizes.into_iter().map(pairs).sum::<u128>() as f64
}

/// Each size that occurs, and how often.
fn sizes_with_counts(sizes: &[usize]) -> Vec<(usize, usize)> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    sizes
        .chunk_by(|a, b| a == b)
        .map(|equal| (equal[0], equal.len()))
        .collect()
}

/// The mean of `m / n log(n m / (a b))` over how many samples m two groups of `a` and `b` out of `n` have in common.
///
/// The probabilities are computed relative to the most probable m, from one m to the next, and divided by their sum:
/// binomial coefficients themselves overflow, and the differences of their logarithms lose digits.
fn expected_of_cell(n: usize, a: usize, b: usize) -> f64 {
    let least = (a + b).saturating_sub(n);
    let most = a.min(b);
    let mode = (((a + 1) as u128 * (b + 1) as u128) / (n + 2) as u128) as usize;
    let mode = mode.clamp(least, most);
    let (n, a, b) = (n as f64, a as f64, b as f64);
    let value = |m: usize| {
        let m = m as f64;
        if m == 0.0 {
            0.0
        } else {
            m / n * (n * m / (a * b)).ln()
        }
    };
    // p(m + 1) / p(m)
    let growth = |m: usize| {
        let m = m as f64;
        (a - m) * (b - m) / ((m + 1.0) * (n - a - b + m + 1.0))
    };
    // Terms that are this much less probable than the mode change no digit of the sums.
    const NEGLIGIBLE: f64 = 1e-25;
    let (mut weights, mut sum) = (1.0, value(mode));
    let mut add = |terms: &mut dyn Iterator<Item = (usize, f64)>| {
        let mut weight = 1.0;
        for (m, ratio) in terms {
            weight *= ratio;
            if weight < NEGLIGIBLE {
                break;
            }
            weights += weight;
            sum += weight * value(m);
        }
    };
    add(&mut (mode..most).map(|m| (m + 1, growth(m))));
    add(&mut (least..mode).rev().map(|m| (m, 1.0 / growth(m))));
    sum / weights
}

/// The number of the nearest center for each feature, as clusters for [`Contingency::new`](super::Contingency::new).
///
/// The usual protocol runs k-means, whose result depends on its random start. Centers that were learned, or the means of
/// the classes, give the same clusters every time.
///
/// # Shapes
///
/// - features: `[num_samples, feature_dim]`
///
/// # Errors
///
/// As [`NearestCenter::predict`].
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::NearestCenter;
/// use burn_center_loss::evaluation::{Contingency, EvaluationError, clusters_by_nearest_center};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let device = Device::flex();
/// let centers = Tensor::<2>::from_floats([[0.0, 0.0], [4.0, 0.0]], &device);
/// let features = Tensor::<2>::from_floats([[1.0, 0.0], [3.0, 1.0], [0.0, 1.0]], &device);
/// let clusters = clusters_by_nearest_center(&NearestCenter::from_centers(centers)?, features)?;
/// assert_eq!(clusters, [0, 1, 0]);
/// assert_eq!(Contingency::new(&["a", "b", "a"], &clusters)?.adjusted_rand_index(), 1.0);
/// # Ok(())
/// # }
/// ```
pub fn clusters_by_nearest_center(
    centers: &NearestCenter,
    features: Tensor<2>,
) -> Result<Vec<i128>, EvaluationError> {
    label_values(centers.predict(features)?)
}
