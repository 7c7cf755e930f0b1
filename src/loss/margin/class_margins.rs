//! One margin per class.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use num_traits::Float;

use super::error::MarginSoftmaxError;
use crate::error::SettingError;

/// Checks that there is one margin per class, each of which `is_good`.
pub(super) fn check(
    margins: Option<&[f64]>,
    num_classes: usize,
    is_good: impl Fn(f64) -> bool,
) -> Result<(), MarginSoftmaxError> {
    let Some(margins) = margins else {
        return Ok(());
    };
    if margins.len() != num_classes {
        return Err(MarginSoftmaxError::ClassMarginCount {
            found: margins.len(),
            num_classes,
        });
    }
    match margins.iter().position(|margin| !is_good(*margin)) {
        Some(class) => Err(MarginSoftmaxError::ClassMargin {
            class,
            value: margins[class],
        }),
        None => Ok(()),
    }
}

/// Margins for classes of different sizes: the smaller a class, the larger its margin.
///
/// ```text
/// r_j = n_j^(-1/4)
/// m_j = least + (most - least) * (r_j - min r) / (max r - min r)
/// ```
///
/// `n_j` is the number of samples of class `j`. The largest class gets `least`, the smallest one `most`. If
/// all classes are of one size, all get `least`. These are the dynamic margins of the winners of Google
/// Landmark Recognition 2020, as mmpretrain computes them, with 0.05 and 0.5.
///
/// # Errors
///
/// [`SettingError`] for a class without samples, and for bounds that are negative, not finite or in the
/// wrong order.
///
/// # Example
///
/// ```
/// use burn_center_loss::class_margins_from_counts;
///
/// let margins = class_margins_from_counts(&[1, 16, 256], 0.2..=0.5)?;
/// let expected = [0.5, 0.2 + 0.3 * (0.5 - 0.25) / (1.0 - 0.25), 0.2];
/// assert!(margins.iter().zip(expected).all(|(m, e): (&f64, f64)| (m - e).abs() < 1e-12));
/// # Ok::<(), burn_center_loss::SettingError>(())
/// ```
///
/// # References
///
/// Qishen Ha, Bo Liu, Fuxu Liu, Peiyuan Liao: Google Landmark Recognition 2020 Competition Third Place
/// Solution, 2020.
#[doc(alias = "DynamicArcFace")]
pub fn class_margins_from_counts(
    counts: &[u64],
    bounds: RangeInclusive<f64>,
) -> Result<Vec<f64>, SettingError> {
    let (least, most) = bounds.into_inner();
    for (name, value, is_good) in [
        ("the lower bound of the margins", least, least >= 0.0),
        ("the upper bound of the margins", most, most >= least),
    ] {
        if !(value.is_finite() && is_good) {
            let rule = "it must be finite, not negative, and in the order of the bounds";
            return Err(SettingError { name, value, rule });
        }
    }
    if counts.contains(&0) {
        return Err(SettingError {
            name: "the number of samples of a class",
            value: 0.0,
            rule: "it must be at least 1",
        });
    }
    let rarities: Vec<f64> = counts
        .iter()
        .map(|count| Float::powf(*count as f64, -0.25))
        .collect();
    let smallest = rarities.iter().copied().fold(f64::INFINITY, f64::min);
    let range = rarities.iter().copied().fold(0.0, f64::max) - smallest;
    let margin = |rarity: f64| {
        if range > 0.0 {
            least + (most - least) * (rarity - smallest) / range
        } else {
            least
        }
    };
    Ok(rarities.into_iter().map(margin).collect())
}
