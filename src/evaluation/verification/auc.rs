//! The area under the ROC curve.

use super::roc::RocCurve;

impl RocCurve {
    /// The area under the curve: the share of pairs of one genuine and one impostor score that are in the right order.
    ///
    /// ```text
    /// AUC = (pairs with genuine > impostor + pairs with genuine = impostor / 2) / (genuine * impostors)
    /// ```
    ///
    /// It equals the area by trapezoids, and is counted in whole numbers.
    ///
    /// # References
    ///
    /// J. A. Hanley, B. J. McNeil, *The meaning and use of the area under a receiver operating characteristic (ROC)
    /// curve*, Radiology, 1982.
    pub fn auc(&self) -> f64 {
        let pairs = self.genuine() as u128 * self.impostors() as u128;
        self.steps().twice_pairs_in_order() as f64 / (2 * pairs) as f64
    }
}
