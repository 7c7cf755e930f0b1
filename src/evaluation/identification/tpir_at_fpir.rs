//! The true positive identification rate at a bound on false positive identifications.

use super::probes::Identification;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::scores::check_rate;
use crate::evaluation::steps::Steps;

/// The best that a threshold does within a bound on false positive identifications.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TpirAtFpir {
    /// The bound that was asked for.
    pub fpir: f64,
    /// The largest true positive identification rate within it.
    pub tpir: f64,
    /// The false positive identification rate at the threshold.
    pub achieved_fpir: f64,
    /// The strictest threshold with this rate; `None` where only accepting nothing is within the bound.
    pub threshold: Option<f64>,
    /// `1 / non-mated probes`. A bound below it allows no false positive at all.
    pub smallest_measurable_fpir: f64,
}

impl Identification {
    /// The largest true positive identification rate whose false positive identification rate does not exceed `fpir`.
    ///
    /// ```text
    /// TPIR(t) = mated probes whose mate is ranked first and scores >= t / mated probes
    /// FPIR(t) = non-mated probes with any score >= t / non-mated probes
    /// ```
    ///
    /// # Differences from the references
    ///
    /// An earlier evaluation in insightface divided false positives by all probes, mated ones included, which made the
    /// bound stricter than it says.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] where there are no mated or no non-mated probes, or `fpir` is not in 0..=1.
    ///
    /// # References
    ///
    /// P. Grother, M. Ngan, K. Hanaoka, *Face recognition vendor test, part 2: identification*, NIST, 2019.
    pub fn tpir_at_fpir(&self, fpir: f64) -> Result<TpirAtFpir, EvaluationError> {
        check_rate("fpir", fpir)?;
        let (mated, non_mated) = (self.mated().len(), self.non_mated().len());
        if mated == 0 {
            return Err(EvaluationError::Empty { name: "mated" });
        }
        if non_mated == 0 {
            return Err(EvaluationError::Empty { name: "non_mated" });
        }
        let first = self
            .mated()
            .iter()
            .filter(|probe| probe.rank == 1)
            .map(|probe| probe.score)
            .collect();
        let steps = Steps::new(first, self.non_mated().to_vec());
        let step = steps.most_positives_within(fpir, non_mated);
        let accepted = steps.as_slice()[step];
        Ok(TpirAtFpir {
            fpir,
            tpir: accepted.positives as f64 / mated as f64,
            achieved_fpir: accepted.negatives as f64 / non_mated as f64,
            threshold: steps.threshold(step),
            smallest_measurable_fpir: 1.0 / non_mated as f64,
        })
    }
}
