//! The mean of the rows of each class.

use super::rows::Rows;
use alloc::vec;
use alloc::vec::Vec;

/// Sums that overflow are computed again of values scaled by this power of two.
const SCALE: f64 = f64::from_bits((1023 - 64) << 52);

/// The mean of the rows of each class, class after class. Each class must have a row.
pub(crate) fn class_means(rows: &Rows, classes: &[usize], num_classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; num_classes];
    for &class in classes {
        counts[class] += 1.0;
    }
    let mut means = class_sums(rows, classes, num_classes, 1.0);
    divide(&mut means, &counts, rows.columns());
    if means.iter().all(|mean| mean.is_finite()) {
        return means;
    }
    let mut scaled = class_sums(rows, classes, num_classes, SCALE);
    divide(&mut scaled, &counts, rows.columns());
    for (mean, scaled) in means.iter_mut().zip(scaled) {
        if !mean.is_finite() {
            // Rounding may have brought the mean above the largest of the values.
            *mean = (scaled / SCALE).clamp(-f64::MAX, f64::MAX);
        }
    }
    means
}

fn class_sums(rows: &Rows, classes: &[usize], num_classes: usize, scale: f64) -> Vec<f64> {
    let mut sums = vec![0.0; num_classes * rows.columns()];
    for (row, &class) in rows.iter().zip(classes) {
        let sums = &mut sums[class * rows.columns()..][..rows.columns()];
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value * scale;
        }
    }
    sums
}

fn divide(sums: &mut [f64], counts: &[f64], columns: usize) {
    for (sums, count) in sums.chunks_exact_mut(columns).zip(counts) {
        sums.iter_mut().for_each(|sum| *sum /= count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(values: &[f64], classes: &[usize]) -> Vec<f64> {
        let rows = Rows::from_values(values.to_vec(), values.len() / classes.len());
        class_means(&rows, classes, classes.iter().max().unwrap() + 1)
    }

    #[test]
    fn means_of_each_class_and_column() {
        let rows = [1.0, 10.0, 5.0, 50.0, 3.0, 40.0];
        assert_eq!(means(&rows, &[1, 0, 1]), [5.0, 50.0, 2.0, 25.0]);
    }

    #[test]
    fn sums_that_overflow_have_a_mean() {
        let max = f64::MAX;
        assert_eq!(means(&[max, max, -max, -max], &[0; 4]), [0.0]);
        assert_eq!(means(&[max, max, -max, max], &[0; 4]), [max / 2.0]);
        assert_eq!(means(&[-max, -max], &[0; 2]), [-max]);
        assert_eq!(means(&[max; 7], &[0; 7]), [max]);
        assert_eq!(means(&[max, max, 6.0, 4.0], &[0, 0, 1, 1]), [max, 5.0]);
        // Large values that cancel leave the small one.
        let small = 2.0_f64.powi(-80);
        assert_eq!(
            means(&[max, max, -max, -max, 5.0 * small], &[0; 5]),
            [small]
        );
    }
}
