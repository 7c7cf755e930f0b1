//! How well classes lie apart.

use anyhow::Result;
use burn::tensor::Device;
use burn_center_loss::KnnMetric;
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, all_pair_scores};
use serde::{Deserialize, Serialize};

use super::embedding::Embedding;

/// What the samples of a set say about each other, by the metric of their loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Separation {
    /// The part of a sample's R nearest others that are of its class, which has R others; `None` if no class has two.
    pub r_precision: Option<f64>,
    /// The mean distance of two samples of one class: one minus the cosine where directions are compared.
    pub within: Option<f64>,
    /// The mean distance of two samples of different classes.
    pub between: Option<f64>,
}

impl Separation {
    pub fn of(embedding: &Embedding, device: &Device) -> Result<Self> {
        let (features, labels) = (embedding.features_on(device), embedding.labels_on(device));
        let metric = embedding.metric;
        let retrieval = RetrievalConfig::new()
            .with_metric(metric)
            .with_average_precision(false)
            .evaluate(&RetrievalSet::new(features.clone(), labels.clone()))?;
        let pairs = all_pair_scores(features, labels, metric)?;
        let mean = |of_one_class: bool| {
            let scores = pairs.scores.iter().zip(&pairs.same);
            let (mut sum, mut count) = (0.0, 0);
            for (score, _) in scores.filter(|&(_, &same)| same == of_one_class) {
                sum += match metric {
                    KnnMetric::Cosine => 1.0 - score,
                    _ => -score,
                };
                count += 1;
            }
            (count > 0).then(|| sum / f64::from(count))
        };
        Ok(Self {
            r_precision: retrieval.means().map(|means| means.r_precision),
            within: mean(true),
            between: mean(false),
        })
    }

    /// How many times as far samples of different classes are apart as those of one class.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.between? / self.within?)
    }
}
