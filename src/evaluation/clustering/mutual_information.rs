//! Mutual information of two labelings.

use super::contingency::Contingency;
use num_traits::Float;

impl Contingency {
    /// Normalized mutual information, by the arithmetic mean of the entropies.
    ///
    /// ```text
    /// MI  = sum over cells of n_ij / n log(n n_ij / (a_i b_j))
    /// NMI = MI / ((H(labels) + H(clusters)) / 2)
    /// ```
    ///
    /// a_i is the size of label i, b_j that of cluster j, n_ij the number of samples they have in common. Two labelings
    /// that agree have 1, also where each is a single group; a single group against several has 0, as in scikit-learn.
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
        // Rounding may leave a value below zero where the labelings are independent.
        (self.mutual_information() / self.mean_entropy()).clamp(0.0, 1.0)
    }

    /// In units of log e.
    pub(super) fn mutual_information(&self) -> f64 {
        let n = self.samples() as f64;
        self.cells()
            .iter()
            .map(|cell| {
                let common = cell.samples as f64;
                let label = self.labels()[cell.label] as f64;
                let cluster = self.clusters()[cell.cluster] as f64;
                common / n * Float::ln(n * common / (label * cluster))
            })
            .sum()
    }

    pub(super) fn mean_entropy(&self) -> f64 {
        (self.entropy(self.labels()) + self.entropy(self.clusters())) / 2.0
    }

    fn entropy(&self, sizes: &[usize]) -> f64 {
        let n = self.samples() as f64;
        sizes
            .iter()
            .map(|size| *size as f64 / n)
            .map(|share| -share * Float::ln(share))
            .sum()
    }
}
