//! Means as they are shown.

/// The mean, and its standard error if there are several values: the standard deviation divided by the root of their
/// number.
pub fn mean_and_error(values: &[f64], digits: usize) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return format!("{mean:.digits$}");
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    format!("{mean:.digits$} ± {error:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_values_have_a_standard_error() {
        // The standard deviation is 0.03, and the error a third of it.
        let values = [0.97, 0.97, 0.97, 0.97, 1.0, 1.03, 1.03, 1.03, 1.03];
        assert_eq!(mean_and_error(&values, 4), "1.0000 ± 0.0100");
        assert_eq!(mean_and_error(&[0.25], 2), "0.25");
    }
}
