//! Is a sample of a class that was trained? Every way of predicting a class has a score that says how surely it is.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use burn_center_loss::evaluation::{OpenSet, known_scores_by_center, known_scores_by_kth_neighbor};

use super::embedding::{DEFAULT_K, Embedding, classes};
use crate::network::Model;

/// How known are told from unknown samples by all scores that `model` has: the probability of the predicted class and the largest score of a
/// class, by the class layer; the nearest center; the k-th nearest of `references`.
///
/// `k` is smaller if there are fewer references.
pub fn detections(
    model: &Model,
    known: &Embedding,
    unknown: &Embedding,
    references: &Embedding,
    k: Option<usize>,
    device: &Device,
) -> Result<Vec<(&'static str, OpenSet)>> {
    let sets = [known, unknown].map(|set| set.features_on(device));
    let mut found = Vec::new();
    let mut add = |name, [of_known, of_unknown]: [Vec<f64>; 2], predictions: &[usize]| {
        let hits = known.hits(predictions);
        found.push((name, OpenSet::new(&of_known, &hits, &of_unknown)?));
        anyhow::Ok(())
    };

    let logits = [logits(model, &sets[0])?, logits(model, &sets[1])?];
    for (name, score) in [
        ("class probability", log_probability as fn(&[f64]) -> f64),
        ("largest class score", largest),
    ] {
        let scores = logits.each_ref();
        let scores = scores.map(|rows| rows.iter().map(|row| score(row)).collect());
        add(name, scores, &known.predictions)?;
    }
    if let Some(centers) = model.objective.nearest_center()? {
        let predictions = classes(centers.predict(sets[0].clone())?)?;
        let scores = |set: &Tensor<2>| known_scores_by_center(&centers, set.clone());
        let scores = [scores(&sets[0])?, scores(&sets[1])?];
        add("nearest center", scores, &predictions)?;
    }
    let k = k.unwrap_or(DEFAULT_K.min(references.labels.len()));
    let neighbors = references.classifier(k, device)?;
    let predictions = classes(neighbors.predict(sets[0].clone())?)?;
    let scores = |set: &Tensor<2>| known_scores_by_kth_neighbor(&neighbors, set.clone());
    let scores = [scores(&sets[0])?, scores(&sets[1])?];
    add("k-th neighbor", scores, &predictions)?;
    Ok(found)
}

/// The scores of all classes, sample by sample.
fn logits(model: &Model, features: &Tensor<2>) -> Result<Vec<Vec<f64>>> {
    let logits = model.objective.logits(features.clone())?;
    let [_, num_classes] = logits.dims();
    let values = logits.try_into_vec_as::<f64>()?;
    Ok(values.chunks(num_classes).map(<[f64]>::to_vec).collect())
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
