//! Euclidean lengths of vectors of any scale.

use super::rows::Rows;

/// The length of a vector, as the product of its largest absolute entry and the length in units of that entry.
///
/// Dividing by the two factors in turn gives a vector of unit length. Dividing by their product would not: it may
/// overflow, and has only a few significant bits if it is subnormal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Length {
    largest: f64,
    in_units_of_largest: f64,
}

impl Length {
    /// The length of these values; `None` if all are zero.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let largest = max_abs(0.0, values);
        (largest != 0.0).then(|| Self {
            largest,
            in_units_of_largest: length_in(largest, values),
        })
    }

    /// The length of the longest vector that `map` appends for a row; `None` if all these vectors are zero.
    pub(crate) fn of_longest(rows: &Rows, map: impl Fn(&[f64], &mut Vec<f64>)) -> Option<Self> {
        let mut vector = Vec::new();
        let mut for_each_vector = |visit: &mut dyn FnMut(&[f64])| {
            for row in rows.iter() {
                vector.clear();
                map(row, &mut vector);
                visit(&vector);
            }
        };
        let mut largest = 0.0;
        for_each_vector(&mut |vector| largest = max_abs(largest, vector));
        if largest == 0.0 {
            return None;
        }
        let mut longest = 0.0_f64;
        for_each_vector(&mut |vector| longest = longest.max(length_in(largest, vector)));
        Some(Self {
            largest,
            in_units_of_largest: longest,
        })
    }

    /// The length as one number: infinite if `f64` can't hold it.
    pub(crate) fn value(&self) -> f64 {
        self.largest * self.in_units_of_largest
    }

    /// Whether all entries are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.largest.is_finite()
    }

    /// Divides each value by the length.
    pub(crate) fn divide(&self, values: &mut [f64]) {
        for value in values {
            *value = *value / self.largest / self.in_units_of_largest;
        }
    }
}

/// The largest of `least` and the absolute values; NaN if one of them is.
fn max_abs(least: f64, values: &[f64]) -> f64 {
    values.iter().fold(least, |largest, value| {
        // `max` would pass over a NaN.
        if largest >= value.abs() || largest.is_nan() {
            largest
        } else {
            value.abs()
        }
    })
}

/// The Euclidean length in units of `unit`, which is at least as large as each entry.
fn length_in(unit: f64, values: &[f64]) -> f64 {
    let squared = values
        .iter()
        .map(|value| (value / unit) * (value / unit))
        .sum::<f64>();
    squared.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(rows: &[f64], columns: usize) -> Option<Length> {
        let rows = Rows::from_values(rows.to_vec(), columns);
        Length::of_longest(&rows, |row, out| out.extend_from_slice(row))
    }

    fn divided(length: Length, values: &[f64]) -> Vec<f64> {
        let mut values = values.to_vec();
        length.divide(&mut values);
        values
    }

    #[test]
    fn lengths_of_any_scale() {
        assert_eq!(Length::of(&[3.0, -4.0]).unwrap().value(), 5.0);
        for scale in [1e-320, 1e-300, 1.0, 1e100, 1e307] {
            let values = [-3.0 * scale, 4.0 * scale];
            let length = Length::of(&values).unwrap();
            assert!(length.is_finite());
            let unit = divided(length, &values);
            // The values themselves are rounded to multiples of 2^-1074.
            let tolerance = 1e-15 + 5e-324 / scale;
            assert!((unit[0] + 0.6).abs() < tolerance, "{scale}: {unit:?}");
            assert!((unit[1] - 0.8).abs() < tolerance, "{scale}: {unit:?}");
        }
    }

    #[test]
    fn zeros_have_no_length() {
        assert_eq!(Length::of(&[]), None);
        assert_eq!(Length::of(&[0.0, -0.0]), None);
        assert_eq!(longest(&[0.0, -0.0], 1), None);
    }

    #[test]
    fn the_length_of_subnormal_values_keeps_its_digits() {
        let least = f64::from_bits(1);
        let length = Length::of(&[least, least]).unwrap();
        assert_eq!(
            divided(length, &[least, least]),
            vec![1.0 / 2.0_f64.sqrt(); 2]
        );
        let length = longest(&[least, 0.0, least, least, 0.0, 0.0], 2).unwrap();
        assert_eq!(
            divided(length, &[least, least]),
            vec![1.0 / 2.0_f64.sqrt(); 2]
        );
    }

    #[test]
    fn the_longest_need_not_have_the_max_abs() {
        let rows = [3.0, 3.0, 0.0, -4.0, 1.0, 1.0];
        let length = longest(&rows, 2).unwrap();
        assert!((length.value() - 18.0_f64.sqrt()).abs() < 1e-14);
        let length = longest(&rows[2..], 2).unwrap();
        assert_eq!(length.value(), 4.0);
    }

    #[test]
    fn an_infinity_or_a_nan_is_seen_wherever_it_stands() {
        for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            for at in 0..3 {
                let mut values = [1.0, 2.0, 3.0];
                values[at] = bad;
                assert!(!Length::of(&values).unwrap().is_finite(), "{values:?}");
                assert!(!longest(&values, 1).unwrap().is_finite(), "{values:?}");
            }
        }
    }
}
