//! Mutual information beyond what chance gives.

use super::contingency::Contingency;
use alloc::vec::Vec;
use num_traits::Float;

impl Contingency {
    /// Adjusted mutual information, by the arithmetic mean of the entropies.
    ///
    /// ```text
    /// AMI = (MI - E[MI]) / ((H(labels) + H(clusters)) / 2 - E[MI])
    /// ```
    ///
    /// E\[MI\] is the mean of the mutual information over all labelings with these sizes of groups. Independent labelings
    /// have about 0, worse ones less. Two labelings that agree have 1, also where each is a single group; a single group
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

    /// The mean of the mutual information over all labelings with the same sizes of groups.
    ///
    /// It is the sum, over all pairs of a label and a cluster, of the mean of `n_ij / n log(n n_ij / (a_i b_j))`, where
    /// n_ij is hypergeometric. Pairs with equal sizes have equal means and are summed once.
    fn expected_mutual_information(&self) -> f64 {
        let labels = sizes_with_counts(self.labels());
        let clusters = sizes_with_counts(self.clusters());
        let mut sum = 0.0;
        for &(label, labels_of_size) in &labels {
            for &(cluster, clusters_of_size) in &clusters {
                let times = labels_of_size as f64 * clusters_of_size as f64;
                sum += times * expected_of_cell(self.samples(), label, cluster);
            }
        }
        sum
    }
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
            m / n * Float::ln(n * m / (a * b))
        }
    };
    // p(m + 1) / p(m)
    let growth = |m: usize| {
        let m = m as f64;
        (a - m) * (b - m) / ((m + 1.0) * (n - a - b + m + 1.0))
    };
    // What is this much less probable than the mode can change no digit of the sums.
    const NEGLIGIBLE: f64 = 1e-25;
    let (mut weights, mut sum) = (1.0, value(mode));
    let mut weight = 1.0;
    for m in mode..most {
        weight *= growth(m);
        if weight < NEGLIGIBLE {
            break;
        }
        weights += weight;
        sum += weight * value(m + 1);
    }
    let mut weight = 1.0;
    for m in (least..mode).rev() {
        weight /= growth(m);
        if weight < NEGLIGIBLE {
            break;
        }
        weights += weight;
        sum += weight * value(m);
    }
    sum / weights
}
