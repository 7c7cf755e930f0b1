//! How many predictions are right.

/// The share of predictions that equal their label. There must be as many as labels, and at least one.
pub(crate) fn accuracy(predictions: &[i64], labels: &[i64]) -> f64 {
    let right = predictions
        .iter()
        .zip(labels)
        .filter(|(prediction, label)| prediction == label)
        .count();
    right as f64 / labels.len() as f64
}
