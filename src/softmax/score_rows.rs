//! Loops over rows of scores that the compiler turns into vectors, however short the rows are.

use crate::loops::sum_of;

/// Values that are worked on side by side, for the vector units.
const LANES: usize = 16;

/// Rows of scores, one after the other.
///
/// The last values of a row, which may be all, are read and written as a full vector together with what follows them in
/// memory, which stays as it is: copies of a few values one by one take longer than all that is done with them.
pub(super) struct ScoreRows<'a> {
    values: &'a mut [f32],
    length: usize,
}

impl<'a> ScoreRows<'a> {
    /// Rows of the given length.
    pub fn new(values: &'a mut [f32], length: usize) -> Self {
        Self { values, length }
    }

    #[inline(always)]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.length..][..self.length]
    }

    /// The values from a place in a row on, and how many of them belong to it: fewer than there are lanes at its end.
    #[inline(always)]
    fn lanes(&self, row: usize, start: usize) -> ([f32; LANES], usize) {
        let count = (self.length - start).min(LANES);
        let values = &self.values[row * self.length + start..];
        let lanes = match values.first_chunk() {
            Some(lanes) => *lanes,
            None => {
                let mut lanes = [0.0; LANES];
                lanes[..count].copy_from_slice(&values[..count]);
                lanes
            }
        };
        (lanes, count)
    }

    #[inline(always)]
    pub fn largest(&self, row: usize) -> f32 {
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        let mut most = [f32::NEG_INFINITY; LANES];
        for start in (0..self.length).step_by(LANES) {
            let (values, count) = self.lanes(row, start);
            for lane in 0..LANES {
                let value = if lane < count {
                    values[lane]
                } else {
                    most[lane]
                };
                most[lane] = larger(most[lane], value);
            }
        }
        together(most, larger)
    }

    /// The sum of what `term` makes of the values. It does not depend on how wide the vectors are.
    #[inline(always)]
    pub fn sum_of(&self, row: usize, term: impl Fn(f32) -> f32) -> f64 {
        /// So few values are added in `f32` that nothing is lost.
        const VALUES: usize = 64 * LANES;
        let mut total = 0.0;
        for first in (0..self.length).step_by(VALUES) {
            let mut sums = [0.0_f32; LANES];
            for start in (first..self.length.min(first + VALUES)).step_by(LANES) {
                let (values, count) = self.lanes(row, start);
                for lane in 0..LANES {
                    let term = term(values[lane]);
                    sums[lane] += if lane < count { term } else { 0.0 };
                }
            }
            total += together(sums.map(f64::from), |a, b| a + b);
        }
        total
    }

    /// Replaces each value by what the change of its row makes of it.
    #[inline(always)]
    pub fn replace<C: Fn(f32) -> f32>(&mut self, change_of: impl Fn(usize) -> C) {
        let rows = self.values.len() / self.length;
        // Not one short row after the other: the processor would have to wait for what it wrote beyond the row before.
        let step = LANES.div_ceil(self.length);
        for first in 0..step {
            for row in (first..rows).step_by(step) {
                self.replace_row(row, change_of(row));
            }
        }
    }

    #[inline(always)]
    fn replace_row(&mut self, row: usize, change: impl Fn(f32) -> f32) {
        for start in (0..self.length).step_by(LANES) {
            let (mut lanes, count) = self.lanes(row, start);
            for (lane, value) in lanes.iter_mut().enumerate() {
                let changed = change(*value);
                *value = if lane < count { changed } else { *value };
            }
            let values = &mut self.values[row * self.length + start..];
            match values.first_chunk_mut() {
                Some(place) => *place = lanes,
                None => values[..count].copy_from_slice(&lanes[..count]),
            }
        }
    }
}

/// All lanes together, the two halves of them at a time.
#[inline(always)]
fn together<T: Copy>(mut lanes: [T; LANES], of_two: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = of_two(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `exp(x)` for `x` that is at most 0, to about the last digit of `f32`; below the range of normal numbers,
/// the smallest one or less. NaN gives NaN.
#[inline(always)]
pub(super) fn exp_of_negative(x: f32) -> f32 {
    /// ln 2 in two parts; a small whole number times the first one is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // NaN is neither above nor below.
    let x = if x < -87.0 { -87.0 } else { x };
    // Adding 1.5 * 2^23 rounds to a whole number, which then is in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let twos = rounded - ROUND;
    let rest = (x - twos * LN_2[0]) - twos * LN_2[1];
    // The series of exp(r) - 1 - r, over r^2, on -ln(2)/2..=ln(2)/2.
    let mut series = 1.987_569_1e-4_f32;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        series = series * rest + coefficient;
    }
    let fraction = series * rest * rest + rest + 1.0;
    // The exponent is between -126 and 0. What becomes of NaN and of positive numbers has no meaning. A conversion
    // of `twos`, which has to mind both, would be done number by number.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);
    fraction * power
}

/// The inner product of two rows.
#[inline(always)]
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
    // Adding up lanes of zeros takes longer than the few products.
    if one.len() < LANES {
        return one.iter().zip(other).map(|(x, y)| x * y).sum();
    }
    let mut sums = [0.0; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest: f32 = rest.map(|(x, y)| x * y).sum();
    for (x, y) in ones.zip(others) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.into_iter().sum::<f32>() + rest
}

/// The norm of a row; in `f64`, where no square of an `f32` overflows or vanishes.
#[inline(always)]
pub(super) fn norm(row: &[f32]) -> f64 {
    sum_of(row, row, |value, _| value * value).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_length() {
        for length in 1..50 {
            for rows in [1, 2, 3, 20] {
                let value = |i: usize| ((i * 7919) % 97) as f32 - 48.0;
                let before: Vec<f32> = (0..rows * length).map(value).collect();
                let mut values = before.clone();
                let mut found = ScoreRows::new(&mut values, length);
                for (row, before) in before.chunks(length).enumerate() {
                    assert_eq!(found.row_mut(row), before);
                    let largest = before.iter().copied().fold(f32::MIN, f32::max);
                    assert_eq!(found.largest(row), largest);
                    let total: f32 = before.iter().map(|x| x * 2.0).sum();
                    assert_eq!(found.sum_of(row, |x| x * 2.0), f64::from(total));
                }
                found.replace(|row| move |x| x + row as f32);
                for (i, (value, before)) in values.iter().zip(&before).enumerate() {
                    assert_eq!(*value, before + (i / length) as f32);
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_in_its_row() {
        let mut values = [f32::NAN, f32::INFINITY, 1.0, 2.0];
        let mut rows = ScoreRows::new(&mut values, 2);
        assert_eq!((rows.largest(1), rows.sum_of(1, |x| x)), (2.0, 3.0));
        rows.replace(|_| |x| x * 2.0);
        assert_eq!(values[2..], [2.0, 4.0]);
    }

    #[test]
    fn exponentials_are_those_of_the_standard_library() {
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let (found, expected) = (exp_of_negative(x), f64::from(x).exp());
            let error = (f64::from(found) / expected - 1.0).abs();
            assert!(error < 1.5e-7, "{x}: {found} is not {expected}");
        }
        assert_eq!(exp_of_negative(0.0), 1.0);
        for x in [-88.0, -1e30, f32::NEG_INFINITY] {
            assert!((0.0..2e-38).contains(&exp_of_negative(x)));
        }
        assert!(exp_of_negative(f32::NAN).is_nan());
    }
}
