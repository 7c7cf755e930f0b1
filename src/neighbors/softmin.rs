//! Probabilities that fall with the exponential of a distance.

use num_traits::Float;

/// Replaces each value by `exp(-x_j) / sum_l exp(-x_l)`. No value may be NaN. Infinite values count as `f64::MAX`.
pub(crate) fn softmin(values: &mut [f64]) {
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = Float::exp(least - value.min(f64::MAX));
        sum += *value;
    }
    values.iter_mut().for_each(|value| *value /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softmin_of<const N: usize>(mut values: [f64; N]) -> [f64; N] {
        softmin(&mut values);
        values
    }

    #[test]
    fn probabilities_of_small_values() {
        let actual = softmin_of([1.0, 0.0, 2.0_f64.ln()]);
        let sum = (-1.0_f64).exp() + 1.0 + 0.5;
        for (actual, weight) in actual.into_iter().zip([(-1.0_f64).exp(), 1.0, 0.5]) {
            assert!((actual - weight / sum).abs() < 1e-15);
        }
    }

    #[test]
    fn large_values_differ_and_infinite_ones_are_equal() {
        assert_eq!(softmin_of([1e300, 2e300]), [1.0, 0.0]);
        assert_eq!(softmin_of([f64::INFINITY, 1e300]), [0.0, 1.0]);
        assert_eq!(softmin_of([f64::INFINITY; 2]), [0.5, 0.5]);
        assert_eq!(softmin_of([f64::INFINITY, f64::MAX]), [0.5, 0.5]);
    }
}
