//! Accuracy.

/// The share of predictions that equal their label. There must be as many as labels, and at least one.
pub(crate) fn accuracy(predictions: impl Iterator<Item = i128>, labels: &[i128]) -> f64 {
    let right = predictions
        .zip(labels)
        .filter(|(prediction, label)| prediction == *label)
        .count();
    right as f64 / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_equal_pairs() {
        let predictions = [1, -2, 3, u64::MAX.into()];
        assert_eq!(accuracy(predictions.into_iter(), &predictions), 1.0);
        assert_eq!(accuracy(predictions.into_iter(), &[1, 2, 3, -1]), 0.5);
        assert_eq!(accuracy([0].into_iter(), &[1]), 0.0);
    }
}
