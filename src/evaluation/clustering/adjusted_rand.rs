//! Pairs of samples on which two labelings agree, beyond what chance gives.

use super::contingency::Contingency;

impl Contingency {
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
        let both = pairs_within(self.cells().iter().map(|cell| cell.samples));
        let labels = pairs_within(self.labels().iter().copied());
        let clusters = pairs_within(self.clusters().iter().copied());
        let all = pairs_within([self.samples()]);
        let chance = labels * clusters / all;
        (both - chance) / ((labels + clusters) / 2.0 - chance)
    }
}

/// The number of pairs of samples in one group, over all groups.
fn pairs_within(sizes: impl IntoIterator<Item = usize>) -> f64 {
    let pairs = |size: usize| size as u128 * size.saturating_sub(1) as u128 / 2;
    sizes.into_iter().map(pairs).sum::<u128>() as f64
}
