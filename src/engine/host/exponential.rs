//! Exponentials that the compiler turns into vectors.

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
    let rounded = x * core::f32::consts::LOG2_E + ROUND;
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

#[cfg(test)]
mod tests {
    use super::*;

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
