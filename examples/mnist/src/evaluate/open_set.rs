//! Is a sample of a class that was trained? Every way of predicting a class has a score that says how surely it is.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use burn_center_loss::evaluation::{OpenSet, known_scores_by_center, known_scores_by_kth_neighbor};

use super::embedding::{Embedding, classes};
use crate::network::Model;

/// How known are told from unknown samples by all scores that `model` has: the probability of the predicted class and the largest score of a
/// class, by the class layer; the nearest center; the k-th nearest of `references`.
pub fn detections(
    model: &Model,
    known: &Embedding,
    unknown: &Embedding,
    references: &Embedding,
    k: usize,
    device: &Device,
) -> Result<Vec<(&'static str, OpenSet)>> {
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
