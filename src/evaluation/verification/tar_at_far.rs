//! The true accept rate at a bound on the false accept rate.

use super::roc::RocCurve;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::scores::check_rate;

/// The best that a threshold does within a bound on the false accept rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TarAtFar {
    /// The bound that was asked for.
    pub far: f64,
    /// The largest true accept rate within it.
    pub tar: f64,
    /// The false accept rate at the threshold.
    pub achieved_far: f64,
    /// The strictest threshold with this true accept rate; `None` where only accepting nothing is within the bound.
    pub threshold: Option<f64>,
    /// `1 / impostors`. A bound below it allows no impostor at all, and says nothing about so rare an error.
    pub smallest_measurable_far: f64,
}

impl RocCurve {
    /// The largest true accept rate whose false accept rate does not exceed `far`.
    ///
    /// ```text
    /// TAR@FAR(f) = max { TAR(t) : FAR(t) <= f }
    /// ```
    ///
    /// # Differences from the references
    ///
    /// insightface's IJB evaluation takes the point nearest to the bound, which may exceed it, and its LFW evaluation
    /// interpolates the threshold, which fails where several thresholds have one false accept rate. Nothing is
    /// interpolated here.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::Rate`] where `far` is not in 0..=1.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_center_loss::evaluation::{EvaluationError, RocCurve};
    ///
    /// # fn main() -> Result<(), EvaluationError> {
    /// let curve = RocCurve::from_groups(&[0.9, 0.7, 0.4], &[0.8, 0.3, 0.2, 0.1])?;
    /// let strict = curve.tar_at_far(0.0)?;
    /// assert_eq!((strict.tar, strict.threshold), (1.0 / 3.0, Some(0.9)));
    /// let lenient = curve.tar_at_far(0.3)?;
    /// assert_eq!((lenient.tar, lenient.achieved_far, lenient.threshold), (1.0, 0.25, Some(0.4)));
    /// assert_eq!(lenient.smallest_measurable_far, 0.25);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tar_at_far(&self, far: f64) -> Result<TarAtFar, EvaluationError> {
        check_rate("far", far)?;
        let point = self.point(self.steps().most_positives_within(far, self.impostors()));
        Ok(TarAtFar {
            far,
            tar: point.true_accept_rate,
            achieved_far: point.false_accept_rate,
            threshold: point.threshold,
            smallest_measurable_far: 1.0 / self.impostors() as f64,
        })
    }

    /// The smallest false accept rate at which the true accept rate is at least `tar`.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::Rate`] where `tar` is not in 0..=1.
    pub fn far_at_tar(&self, tar: f64) -> Result<f64, EvaluationError> {
        check_rate("tar", tar)?;
        let step = self.steps().first_with_positives(tar, self.genuine());
        Ok(self.point(step).false_accept_rate)
    }
}
