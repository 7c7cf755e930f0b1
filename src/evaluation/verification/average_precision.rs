//! The area under the curve of precision over recall.

use super::roc::RocCurve;

impl RocCurve {
    /// Average precision with the genuine pairs as the positive ones.
    ///
    /// ```text
    /// AP = sum over thresholds of (recall - recall at the threshold before) * precision
    /// ```
    ///
    /// Recall is the true accept rate; precision is the share of accepted pairs that are genuine. Nothing is
    /// interpolated between thresholds, as in scikit-learn's `average_precision_score`.
    pub fn average_precision(&self) -> f64 {
        let sum: f64 = self
            .counts()
            .windows(2)
            .map(|pair| {
                let found = pair[1].positives - pair[0].positives;
                let accepted = pair[1].positives + pair[1].negatives;
                found as f64 * (pair[1].positives as f64 / accepted as f64)
            })
            .sum();
        sum / self.genuine() as f64
    }
}
