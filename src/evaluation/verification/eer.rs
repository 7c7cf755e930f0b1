//! The equal error rate: where as large a share of impostors is accepted as of genuine pairs is rejected.

use super::roc::{RocCurve, RocPoint};

impl RocCurve {
    /// The equal error rate, where the line through neighbouring points crosses FAR = FRR.
    ///
    /// ```text
    /// (far, frr)  the first point, from the strictest threshold on, with frr <= far
    /// (far', frr') the point before it
    /// s   = (frr' - far') / ((frr' - far') + (far - frr))
    /// EER = far' + s (far - far')
    /// ```
    ///
    /// # Differences from the references
    ///
    /// torchmetrics takes the mean of the two rates at the point where they differ least; that is
    /// [`equal_error_rate_argmin`](Self::equal_error_rate_argmin). Tools that accumulate over sorted scores without
    /// grouping ties give a value that depends on the order of the input. Tools that use the convex hull of the curve
    /// give a smaller one.
    pub fn equal_error_rate(&self) -> f64 {
        let counts = self.counts();
        let crossed = counts.partition_point(|step| self.excess_of_rejects(step) > 0);
        // The first point has FRR - FAR = 1 and the last one -1, so that both neighbours exist.
        let before = self.excess_of_rejects(&counts[crossed - 1]) as f64;
        let after = self.excess_of_rejects(&counts[crossed]) as f64;
        let share = before / (before - after);
        let [from, to] = [crossed - 1, crossed].map(|step| self.point(step).false_accept_rate);
        from + share * (to - from)
    }

    /// The mean of FAR and FRR at the first threshold, from the strictest one on, where they differ least.
    pub fn equal_error_rate_argmin(&self) -> f64 {
        let step = self.step_of_least_difference();
        let rejected = self.genuine() - self.counts()[step].positives;
        let false_reject_rate = rejected as f64 / self.genuine() as f64;
        (self.point(step).false_accept_rate + false_reject_rate) / 2.0
    }

    /// The point that [`equal_error_rate_argmin`](Self::equal_error_rate_argmin) is taken at: a threshold at which both
    /// errors are about as frequent.
    pub fn equal_error_point(&self) -> RocPoint {
        self.point(self.step_of_least_difference())
    }

    fn step_of_least_difference(&self) -> usize {
        let counts = self.counts();
        let difference = |step: usize| self.excess_of_rejects(&counts[step]).unsigned_abs();
        let crossed = counts.partition_point(|step| self.excess_of_rejects(step) > 0);
        // The difference falls up to the crossing and grows after it, from every step to the next.
        if difference(crossed) < difference(crossed - 1) {
            crossed
        } else {
            crossed - 1
        }
    }
}
