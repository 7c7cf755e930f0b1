//! Open-set classification rate: correct classification and rejection at one threshold.

use super::scores::OpenSet;

/// Rates at one threshold of the [OSCR curve](OpenSet::oscr_curve).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OscrPoint {
    /// The least score that is accepted; `None` where nothing is accepted.
    pub threshold: Option<f64>,
    /// The share of known samples that are accepted and classified correctly.
    pub correct_classification_rate: f64,
    /// The share of unknown samples that are accepted.
    pub false_positive_rate: f64,
}

impl OpenSet {
    /// The open-set classification rate curve: one point for each distinct score of a correct known sample or an unknown
    /// sample, from the strictest threshold to the most lenient, after the point that accepts nothing.
    ///
    /// ```text
    /// CCR(t) = known samples that are correct and score >= t / known samples
    /// FPR(t) = unknown samples that score >= t / unknown samples
    /// ```
    ///
    /// # Differences from the references
    ///
    /// The code of ARPL compares correct samples by `>` and unknown ones by `>=`, and orders equal scores as the sort
    /// leaves them.
    ///
    /// # References
    ///
    /// A. R. Dhamija, M. Günther, T. E. Boult, *Reducing network agnostophobia*, NeurIPS, 2018.
    pub fn oscr_curve(&self) -> impl ExactSizeIterator<Item = OscrPoint> {
        let steps = self.correct();
        steps
            .as_slice()
            .iter()
            .enumerate()
            .map(|(number, step)| OscrPoint {
                threshold: steps.threshold(number),
                correct_classification_rate: step.positives as f64 / self.known() as f64,
                false_positive_rate: step.negatives as f64 / self.unknown() as f64,
            })
    }

    /// The area under the OSCR curve by trapezoids.
    ///
    /// ```text
    /// OpenAUC = share of pairs of a known and an unknown sample in which
    ///           the known one is correct and scores higher, equal scores counting one half
    /// ```
    ///
    /// The area and this share are one number, which is counted in whole numbers.
    ///
    /// # References
    ///
    /// Z. Wang, Q. Xu, Z. Yang, Y. He, X. Cao, Q. Huang, *OpenAUC: towards AUC-oriented open-set recognition*, NeurIPS,
    /// 2022.
    pub fn open_auc(&self) -> f64 {
        let pairs = self.known() as u128 * self.unknown() as u128;
        self.correct().twice_pairs_in_order() as f64 / (2 * pairs) as f64
    }
}
