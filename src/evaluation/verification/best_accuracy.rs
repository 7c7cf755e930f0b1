//! The accuracy of the best single threshold.

use super::roc::RocCurve;

/// The most pairs that one threshold decides rightly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestAccuracy {
    /// The share of pairs decided rightly.
    pub accuracy: f64,
    /// The strictest threshold that decides as many; `None` where that is to accept nothing.
    pub threshold: Option<f64>,
}

impl RocCurve {
    /// The best accuracy of any threshold, chosen on the pairs that it is measured on.
    ///
    /// ```text
    /// accuracy(t) = (accepted genuine pairs + rejected impostor pairs) / pairs
    /// ```
    ///
    /// It is too good by as much as the threshold was fitted to these pairs. [`lfw_accuracy`](super::lfw_accuracy)
    /// chooses the threshold on other pairs.
    pub fn best_accuracy(&self) -> BestAccuracy {
        let (mut best, mut most) = (0, 0);
        for (step, counts) in self.counts().iter().enumerate() {
            let right = counts.positives + (self.impostors() - counts.negatives);
            if right > most {
                (best, most) = (step, right);
            }
        }
        BestAccuracy {
            accuracy: most as f64 / (self.genuine() + self.impostors()) as f64,
            threshold: self.steps().threshold(best),
        }
    }
}
