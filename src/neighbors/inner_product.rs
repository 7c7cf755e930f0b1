//! Inner products that are never NaN.

/// Terms of at least this size are added up scaled down, since a few of them may exceed `f64::MAX`.
const LARGE: f64 = f64::from_bits((1023 + 500) << 52);

/// Half of the scale in bits: large terms are multiplied by `HALF_SCALE` twice, which is 2^-1100.
const HALF_SCALE: f64 = f64::from_bits((1023 - 550) << 52);

/// `x . y` of finite numbers, summed in their order.
///
/// If the plain sum is not finite, a term or a partial sum has exceeded `f64::MAX`. The sum is then computed as though
/// `f64` had larger exponents: the result is the sum if `f64` can hold it, else an infinity of its sign.
pub(crate) fn inner_product(x: &[f64], y: &[f64]) -> f64 {
    let sum = x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    if sum.is_finite() {
        sum
    } else {
        inner_product_with_large_terms(x, y)
    }
}

/// Adds up large and other terms apart.
///
/// A large term has a factor of at least 2^250, which stays a normal number when it is scaled by 2^-1100. The scaled
/// term is between 2^-600 and 2^948, so that neither the term nor the sum of up to 2^75 of them overflows or loses bits.
#[cold]
fn inner_product_with_large_terms(x: &[f64], y: &[f64]) -> f64 {
    let (mut large, mut other) = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(y) {
        let term = x * y;
        if term.abs() < LARGE {
            other += term;
        } else if x.abs() < y.abs() {
            large += x * (y * HALF_SCALE * HALF_SCALE);
        } else {
            large += y * (x * HALF_SCALE * HALF_SCALE);
        }
    }
    large / HALF_SCALE / HALF_SCALE + other
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn ordinary_products_are_the_plain_sum() {
        assert_eq!(
            inner_product(&[1.0, 2.0, -3.0], &[4.0, 0.5, 2.0]).to_bits(),
            (-1.0_f64).to_bits()
        );
        assert_eq!(inner_product(&[], &[]), 0.0);
    }

    #[test]
    fn large_terms_that_cancel_leave_the_rest() {
        let (x, y) = ([1e200, 1e200, 3.0], [1e200, -1e200, 2.0]);
        assert_eq!(inner_product(&x, &y), 6.0);
        assert_eq!(inner_product(&x[..2], &y[..2]), 0.0);
    }

    #[test]
    fn a_sum_that_overflows_on_the_way_is_the_sum() {
        let max = f64::MAX;
        assert_eq!(inner_product(&[max, max, max], &[1.0, 1.0, -1.0]), max);
        assert_eq!(inner_product(&[1.0, 1.0, 1.0], &[max, max, -max]), max);
        assert_eq!(
            inner_product(&[max, -max, 0.5], &[2.0, 2.0, max]),
            max / 2.0
        );
        assert_eq!(
            inner_product(&[2e154, 1e154, -2e154], &[2e154, 1e154, 2e154]),
            1e154 * 1e154
        );
    }

    #[test]
    fn a_sum_beyond_the_largest_number_is_an_infinity_of_its_sign() {
        assert_eq!(
            inner_product(&[1e200, 1.0], &[1e200, -1e300]),
            f64::INFINITY
        );
        assert_eq!(
            inner_product(&[-1e200, 1.0], &[1e200, 1e300]),
            f64::NEG_INFINITY
        );
        assert_eq!(
            inner_product(&[f64::MAX; 3], &[f64::MAX, -f64::MAX, -f64::MAX]),
            f64::NEG_INFINITY
        );
        assert_eq!(
            inner_product(&[f64::MAX, f64::MIN_POSITIVE], &[f64::MAX, 1.0]),
            f64::INFINITY
        );
    }

    #[test]
    fn both_sides_of_the_limit_between_large_and_other_terms_count() {
        // Two terms that overflow and cancel make the sum take the long way.
        for factor in [0.25, 0.5, 1.0, 2.0, 4.0] {
            let term = LARGE * factor;
            for (x, y) in [(term, 1.0), (1.0, term), (-term, -1.0), (-1.0, -term)] {
                assert_eq!(inner_product(&[1e200, 1e200, x], &[1e200, -1e200, y]), term);
            }
        }
    }

    /// Integer mantissas and one exponent for each factor, so that the sum of the products is known exactly.
    fn products() -> impl Strategy<Value = Vec<(i32, i32)>> {
        prop::collection::vec((-1000_i32..=1000, -1000_i32..=1000), 1..20)
    }

    proptest! {
        #[test]
        fn of_any_scale_equals_exact_integers(terms in products(), scale in (-100_i32..1014, -100_i32..1014)) {
            let power = |exponent: i32| f64::from_bits(((1023 + exponent) as u64) << 52);
            let x: Vec<f64> = terms.iter().map(|(x, _)| f64::from(*x) * power(scale.0)).collect();
            let y: Vec<f64> = terms.iter().map(|(_, y)| f64::from(*y) * power(scale.1)).collect();
            let exact: i64 = terms.iter().map(|(x, y)| i64::from(*x) * i64::from(*y)).sum();
            // One factor after the other, the smaller one first: only the product itself can overflow.
            let (less, more) = (scale.0.min(scale.1), scale.0.max(scale.1));
            let expected = exact as f64 * power(less) * power(more);
            prop_assert_eq!(inner_product(&x, &y), expected);
        }

        #[test]
        fn of_any_finite_numbers_is_no_nan(
            terms in prop::collection::vec((any::<u64>(), any::<u64>()), 1..20),
        ) {
            let finite = |bits: u64| {
                let value = f64::from_bits(bits);
                if value.is_finite() { value } else { f64::MAX }
            };
            let x: Vec<f64> = terms.iter().map(|(x, _)| finite(*x)).collect();
            let y: Vec<f64> = terms.iter().map(|(_, y)| finite(*y)).collect();
            prop_assert!(!inner_product(&x, &y).is_nan());
        }
    }
}
