//! Measures of features. Of pairs of samples: are they of one class, and how far are they apart, by the metric of their
//! loss? And is a sample of a class that was trained? Every way of predicting a class has a score that says how surely
//! it is.

use std::fmt::Write;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use burn_center_loss::KnnMetric;
use burn_center_loss::evaluation::{
    DetectionCost, OpenSet, RetrievalConfig, RetrievalSet, RocCurve, all_pair_scores,
    known_scores_by_center, known_scores_by_kth_neighbor,
};
use serde::{Deserialize, Serialize};

use super::embedding::{Embedding, classes};
use crate::data::Samples;
use crate::network::Model;

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

/// What the samples of a set say about each other, by the metric of their loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
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
        if embedding.labels.len() < 2 {
            return Ok(Self::default());
        }
        let (features, labels) = (embedding.features_on(device), embedding.labels_on(device));
        let metric = embedding.metric;
        let retrieval = RetrievalConfig::new()
            .with_metric(metric)
            .with_average_precision(false)
            .evaluate(&RetrievalSet::new(features.clone(), labels.clone()))?;
        let pairs = all_pair_scores(features, labels, metric)?;
        let mean = |of_one_class: bool| {
            let scores = pairs.scores.iter().zip(&pairs.same);
            let scores = scores.filter(|&(_, &same)| same == of_one_class);
            let scores = Vec::from_iter(scores.map(|(score, _)| *score));
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let nearest = f64::from(metric == KnnMetric::Cosine);
            Some(nearest - mean).filter(|distance| distance.is_finite())
        };
        Ok(Self {
            r_precision: retrieval.means().map(|means| means.r_precision),
            within: mean(true),
            between: mean(false),
        })
    }

    /// How many times as far samples of different classes are apart as those of one class; `None` where all lie on one
    /// point.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.between? / self.within?).filter(|ratio| ratio.is_finite())
    }
}

/// How known samples are told from unknown ones by all scores that `model` has: the probability of the predicted class
/// and the largest score of a class, by the class layer; the nearest center; the `k`-th nearest of the third set, the
/// references.
pub fn detections(
    model: &Model,
    sets: [&Samples; 3],
    k: usize,
    device: &Device,
) -> Result<Vec<(&'static str, OpenSet)>> {
    let [known, unknown, references] = sets.map(|set| Embedding::of(set, model, device));
    let (known, unknown, references) = (known?, unknown?, references?);
    let features = || known.features_on(device);
    let mut found = Vec::new();
    let mut add = |name, predictions: &[usize], scores: &dyn Fn(Tensor<2>) -> Result<Vec<f64>>| {
        let (of_known, of_unknown) = (scores(features())?, scores(unknown.features_on(device))?);
        let result = OpenSet::new(&of_known, &known.hits(predictions), &of_unknown)?;
        found.push((name, result));
        anyhow::Ok(())
    };
    let by_class = &known.predictions;
    add("class probability", by_class, &|set| {
        class_scores(model, set, log_probability)
    })?;
    add("largest class score", by_class, &|set| {
        class_scores(model, set, largest)
    })?;
    if let Some(centers) = model.objective.nearest_center()? {
        let predictions = classes(centers.predict(features())?)?;
        add("nearest center", &predictions, &|set| {
            Ok(known_scores_by_center(&centers, set)?)
        })?;
    }
    let neighbors = references.classifier(k, device)?;
    let predictions = classes(neighbors.predict(features())?)?;
    add("k-th neighbor", &predictions, &|set| {
        Ok(known_scores_by_kth_neighbor(&neighbors, set)?)
    })?;
    Ok(found)
}

/// The `score` of each sample's scores of the classes.
fn class_scores(model: &Model, features: Tensor<2>, score: fn(&[f64]) -> f64) -> Result<Vec<f64>> {
    let logits = model.objective.logits(features)?;
    let [_, num_classes] = logits.dims();
    let values = logits.try_into_vec_as::<f64>()?;
    Ok(values.chunks(num_classes).map(score).collect())
}

/// The logarithm of the probability of the likeliest class, which tells probabilities apart that round to 1.
fn log_probability(logits: &[f64]) -> f64 {
    let largest = largest(logits);
    let all: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    -(all - 1.0).ln_1p()
}

fn largest(logits: &[f64]) -> f64 {
    logits.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_of_a_class_is_that_of_softmax() {
        let expected = 2f64.exp() / (2f64.exp() + 1.0 + (-1f64).exp());
        assert!((log_probability(&[0.0, 2.0, -1.0]) - expected.ln()).abs() < 1e-15);
    }
}
