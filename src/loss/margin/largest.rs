use std::f64::consts::{FRAC_PI_2, PI};
use std::ops::RangeInclusive;

use super::Margin;
use crate::error::{SettingError, at_least_one, within};

impl Margin {
    /// Bounds of the largest margin that features can meet, for [`ArcFace`](crate::margin::ArcFace) and
    /// [`CosFace`](crate::margin::CosFace); `None` for the other margins.
    ///
    /// A feature on the vector of its class meets an angular margin `m` if no other vector is nearer than `m`,
    /// and a cosine margin `m` if no other cosine is above `1 - m`. All classes can meet a margin of `phi`, or of
    /// `1 - cos(phi)`, if `phi` is the [`largest_angle`]. A larger margin is no error: the loss trains, but
    /// features of some classes violate it. Between the two bounds the answer is not known.
    ///
    /// # Errors
    ///
    /// Those of [`largest_angle`].
    ///
    /// # Example
    ///
    /// ```
    /// use burn_center_loss::Margin;
    ///
    /// // Ten classes on a circle are 36 degrees apart, and 1 - cos(36 degrees) is 0.191.
    /// let largest = Margin::cosface(0.2).largest(10, 2)?.unwrap();
    /// assert!(0.2 > *largest.end());
    /// assert!(0.5 < *Margin::arcface(0.5).largest(10, 2)?.unwrap().start());
    /// # Ok::<(), burn_center_loss::SettingError>(())
    /// ```
    pub fn largest(
        &self,
        num_classes: usize,
        feature_dim: usize,
    ) -> Result<Option<RangeInclusive<f64>>, SettingError> {
        let (lower, upper) = largest_angle(num_classes, feature_dim)?.into_inner();
        Ok(match self {
            Self::ArcFace(_) => Some(lower..=upper),
            Self::CosFace(_) => Some(1.0 - lower.cos()..=1.0 - upper.cos()),
            Self::None | Self::Combined(_) | Self::SphereFace(_) | Self::AdaFace(_) => None,
        })
    }

    /// The margin of [`ArcFace`](crate::margin::ArcFace) or [`CosFace`](crate::margin::CosFace), the largest one
    /// if classes differ.
    pub(super) fn additive(&self) -> Option<f64> {
        let margin = match self {
            Self::ArcFace(arcface) => arcface.margin,
            Self::CosFace(cosface) => cosface.margin,
            Self::None | Self::Combined(_) | Self::SphereFace(_) | Self::AdaFace(_) => return None,
        };
        let of_classes = self.class_margins();
        Some(of_classes.map_or(margin, |margins| {
            margins.iter().copied().fold(0.0, f64::max)
        }))
    }
}

/// Bounds of the largest possible smallest angle between `num_classes` directions in `feature_dim` dimensions, in
/// radians. Both are equal where the angle is known exactly.
///
/// | | angle |
/// |---|---|
/// | `feature_dim` = 2 | `2 pi / C` |
/// | `C <= D + 1` | `arccos(-1 / (C - 1))`: the simplex |
/// | `D + 2 <= C <= 2 D` | `pi / 2` (Rankin) |
/// | `C > 2 D` | from the `phi` with cap share `1 / (C - 1)`, to `pi / 2` or twice the `phi` with cap share `1 / C` |
///
/// `C` is `num_classes` and `D` is `feature_dim`. The cap share of `phi` is the part of the sphere within the angle
/// `phi` of a direction, `I(sin^2 phi; (D - 1) / 2, 1 / 2) / 2` with the regularised incomplete beta function. The
/// lower bound holds because another direction fits as long as the caps of those placed do not cover the sphere,
/// the upper one because caps of half the angle do not overlap. In three dimensions the bound of Fejes Tóth is an
/// upper one too, `arccos((cot^2 w - 1) / 2)` with `w = C pi / (6 (C - 2))`.
///
/// # Errors
///
/// [`SettingError`] for less than two classes or no dimension.
///
/// # Example
///
/// ```
/// use burn_center_loss::margin::largest_angle;
///
/// assert_eq!(largest_angle(20, 10)?, std::f64::consts::FRAC_PI_2..=std::f64::consts::FRAC_PI_2);
/// // Faces: 10575 people in 512 dimensions.
/// let angle = largest_angle(10575, 512)?;
/// assert!(*angle.start() > 1.4 && *angle.end() < 1.5708);
/// # Ok::<(), burn_center_loss::SettingError>(())
/// ```
///
/// # References
///
/// R. A. Rankin: The Closest Packing of Spherical Caps in n Dimensions, Glasgow Mathematical Journal 1955. László
/// Fejes Tóth: On the Densest Packing of Spherical Caps, American Mathematical Monthly 1949.
pub fn largest_angle(
    num_classes: usize,
    feature_dim: usize,
) -> Result<RangeInclusive<f64>, SettingError> {
    check_classes(num_classes)?;
    at_least_one("feature_dim", feature_dim as u64)?;
    let classes = num_classes as f64;
    let exact = if num_classes - 1 <= feature_dim {
        (-1.0 / (classes - 1.0)).acos()
    } else if feature_dim == 1 {
        0.0
    } else if feature_dim == 2 {
        2.0 * PI / classes
    } else if num_classes.div_ceil(2) <= feature_dim {
        FRAC_PI_2
    } else {
        let lower = cap_angle(1.0 / (classes - 1.0), feature_dim);
        let mut upper = FRAC_PI_2.min(2.0 * cap_angle(1.0 / classes, feature_dim));
        if feature_dim == 3 {
            let w = classes * PI / (6.0 * (classes - 2.0));
            upper = upper.min(((w.tan().powi(-2) - 1.0) / 2.0).acos());
        }
        return Ok(lower..=upper);
    };
    Ok(exact..=exact)
}

/// Checks that there is more than one class.
pub(super) fn check_classes(num_classes: usize) -> Result<(), SettingError> {
    let rule = "it must be at least 2";
    within("num_classes", num_classes as f64, num_classes > 1, rule)?;
    Ok(())
}

/// The angle, up to a right one, within which this share of the directions is. `feature_dim` is at least 2.
fn cap_angle(share: f64, feature_dim: usize) -> f64 {
    let power = feature_dim - 2;
    // The integral of sin^power from 0 to pi.
    let first = if power.is_multiple_of(2) { PI } else { 2.0 };
    let factors = (2..=power).filter(|k| k % 2 == power % 2);
    let whole: f64 = factors.fold(first, |product, k| product * (k - 1) as f64 / k as f64);
    let (mut lower, mut upper) = (0.0, FRAC_PI_2);
    for _ in 0..60 {
        let middle = 0.5 * (lower + upper);
        if sine_integral(middle, power as f64) < share * whole {
            lower = middle;
        } else {
            upper = middle;
        }
    }
    0.5 * (lower + upper)
}

/// The integral of `sin^power` from 0 to an angle below a right one, by the power series of the incomplete beta
/// function in the squared sine, whose terms are positive.
fn sine_integral(angle: f64, power: f64) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let (mut sum, mut term, mut k) = (1.0, 1.0, power);
    // The rest of the series is at most the last term divided by the squared cosine.
    while term > 1e-17 * sum * cosine * cosine {
        k += 2.0;
        term *= sine * sine * k / (k + 1.0);
        sum += term;
    }
    sine.powf(power + 1.0) * cosine * sum / (power + 1.0)
}
