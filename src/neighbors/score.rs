//! Accuracy.

/// The share of predictions that equal their label. There must be as many as labels, and at least one.
pub(crate) fn accuracy(predictions: impl Iterator<Item = i128>, labels: &[i128]) -> f64 {
    let right = predictions
        .zip(labels)
        .filter(|(prediction, label)| prediction == *label)
        .count();
    right as f64 / labels.len() as f64
}
