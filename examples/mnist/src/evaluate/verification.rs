//! Are two samples of one class? All pairs of a set, scored by the metric of their loss.

use std::fmt::Write;

use anyhow::{Context, Result};
use burn::tensor::Device;
use burn_center_loss::evaluation::{DetectionCost, RocCurve, all_pair_scores};

use super::embedding::Embedding;

/// Bounds on the false accept rate that true accept rates are given for.
const FALSE_ACCEPT_RATES: [f64; 3] = [0.1, 0.01, 0.001];

/// The curve over all pairs of the samples.
pub fn pairs(embedding: &Embedding, device: &Device) -> Result<RocCurve> {
    let (features, labels) = (embedding.features_on(device), embedding.labels_on(device));
    let pairs = all_pair_scores(features, labels, embedding.metric)?;
    RocCurve::new(&pairs.scores, &pairs.same)
        .context("verification needs pairs of one class and pairs of different classes")
}

/// The measures of verification, line by line.
pub fn verification_lines(curve: &RocCurve) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "AUC              {:.4}", curve.auc())?;
    writeln!(text, "equal error rate {:.4}", curve.equal_error_rate())?;
    for rate in FALSE_ACCEPT_RATES {
        let point = curve.tar_at_far(rate)?;
        if rate >= point.smallest_measurable_far {
            let (tar, far) = (point.tar, point.achieved_far);
            writeln!(text, "TAR at FAR {rate:<5} {tar:.4} (FAR {far:.4})")?;
        }
    }
    let accuracy = curve.best_accuracy().accuracy;
    writeln!(text, "best accuracy    {accuracy:.4}")?;
    let cost = curve.min_detection_cost(&DetectionCost::new())?;
    write!(text, "minDCF           {:.4}", cost.normalized)?;
    Ok(text)
}
