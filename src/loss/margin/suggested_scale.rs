use std::f64::consts::{PI, TAU};

use burn::config::Config;

use super::Margin;
use super::largest::check_classes;
use crate::error::{LossError, SettingError, positive, radians, within};

/// The least scale at which a softmax over cosines can be sure of a class.
///
/// ```text
/// p = 1 / (1 + sum_{j != y} exp(scale (cos_j - t)))        t = the cosine of the target class after the margin
/// ```
///
/// The scale is the least one that gives the probability `p` to a sample at `own_angle` from the vector of its
/// class. With a smaller one the loss pulls at samples that are as good as they can be. The cosines of the other
/// classes depend on the arrangement of the class vectors:
///
/// | method | cosines of the other classes | scale |
/// |---|---|---|
/// | [`on_circle`](Self::on_circle) | `cos(2 pi k / C - own_angle)` | the least root, where there is one |
/// | [`simplex`](Self::simplex) | `-1 / (C - 1)`: the least that all can have, if `C <= D + 1` | `ln((C - 1) p / (1 - p)) / (t + 1 / (C - 1))` |
/// | [`orthogonal`](Self::orthogonal) | 0: those of random vectors with many columns | `ln((C - 1) p / (1 - p)) / t` |
///
/// `C` is `num_classes` and `D` is `feature_dim`. [`scale`](Self::scale) chooses. Trained models have own angles of
/// 0.5 to 1: with the median of
/// [`MarginSoftmax::angle_statistics`](crate::MarginSoftmax::angle_statistics) for `own_angle` the answers are the
/// usual scales of 20 to 64. The fixed scale of AdaCos, `sqrt(2) ln(C - 1)`, is that of orthogonal vectors at
/// `p = 0.5` and an own angle of `pi / 4`.
///
/// [`ArcFace`](crate::margin::ArcFace) beyond pi counts as a cosine of -1. Of margins that differ by class the largest
/// counts, and [`AdaFace`](crate::margin::AdaFace) counts for a sample of mean quality. Under
/// [`SphereFace`](crate::margin::SphereFace) the answer is the scale times the length of a feature.
///
/// # Errors
///
/// All methods give [`LossError::Setting`], [`LossError::ClassCount`] or [`LossError::ClassValue`] for less than two
/// classes, less than two columns, a margin outside its range, a `probability` that is not above `1 / num_classes` and
/// below 1, and an `own_angle` outside `0..pi`.
///
/// # Example
///
/// ```
/// use burn_center_loss::Margin;
/// use burn_center_loss::margin::SuggestedScale;
///
/// let suggested = SuggestedScale::new(10, 2);
/// assert_eq!(suggested.scale()?.map(f64::round), Some(28.0));
/// let arcface = suggested.clone().with_margin(Margin::arcface(0.2));
/// assert_eq!(arcface.scale()?.map(f64::round), Some(31.0));
/// // On a circle no feature has a cosine of 0.2 more with its own class than with the next one.
/// let cosface = suggested.with_margin(Margin::cosface(0.2));
/// assert_eq!(cosface.scale()?, None);
///
/// let faces = SuggestedScale::new(10575, 512).with_margin(Margin::cosface(0.35)).with_own_angle(0.7);
/// assert_eq!(faces.scale()?.map(f64::round), Some(33.0));
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Hao Wang et al.: CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018, equation 6, for the simplex.
/// Xiao Zhang, Rui Zhao, Yu Qiao, Xiaogang Wang, Hongsheng Li: AdaCos: Adaptively Scaling Cosine Logits for Effectively
/// Learning Deep Face Representations, CVPR 2019.
#[derive(Config, Debug, PartialEq)]
pub struct SuggestedScale {
    /// The number of classes; at least 2.
    pub num_classes: usize,
    /// The width of the features; at least 2.
    pub feature_dim: usize,
    /// The margin of the target class. Default: none.
    #[config(default = "Margin::None")]
    pub margin: Margin,
    /// The probability of the target class; above `1 / num_classes` and below 1. Default: 0.99.
    #[config(default = 0.99)]
    pub probability: f64,
    /// The angle between a feature and the vector of its class, in radians, in `0..pi`. Default: 0.
    #[config(default = 0.0)]
    pub own_angle: f64,
}

impl SuggestedScale {
    /// [`on_circle`](Self::on_circle) for two columns, which is exact, and [`orthogonal`](Self::orthogonal) for more;
    /// `None` if no scale reaches the probability.
    ///
    /// # Errors
    ///
    /// See [the type](Self).
    pub fn scale(&self) -> Result<Option<f64>, LossError> {
        match self.feature_dim {
            2 => self.on_circle(),
            _ => self.orthogonal(),
        }
    }

    /// The scale for class vectors at equal angles on a circle. The feature lies between its own vector and a
    /// neighbor. `None` if no scale reaches the probability.
    ///
    /// # Errors
    ///
    /// See [the type](Self).
    pub fn on_circle(&self) -> Result<Option<f64>, LossError> {
        let target = self.target_cosine()?;
        let step = TAU / self.num_classes as f64;
        let differences = (1..self.num_classes).map(|k| {
            let other = step * k as f64 - self.own_angle;
            other.cos() - target
        });
        let odds_against = (1.0 - self.probability) / self.probability;
        Ok(least_root(
            &differences.collect::<Vec<_>>(),
            odds_against.ln(),
        ))
    }

    /// The scale for class vectors as far from each other as possible in `num_classes - 1` columns or more; `None` if
    /// no scale reaches the probability.
    ///
    /// # Errors
    ///
    /// See [the type](Self).
    pub fn simplex(&self) -> Result<Option<f64>, LossError> {
        self.for_equal_cosines(-1.0 / (self.num_classes as f64 - 1.0))
    }

    /// The scale for class vectors at right angles; `None` if no scale reaches the probability.
    ///
    /// # Errors
    ///
    /// See [the type](Self).
    pub fn orthogonal(&self) -> Result<Option<f64>, LossError> {
        self.for_equal_cosines(0.0)
    }

    fn for_equal_cosines(&self, others: f64) -> Result<Option<f64>, LossError> {
        let difference = self.target_cosine()? - others;
        let odds = self.probability / (1.0 - self.probability);
        let logarithm = ((self.num_classes as f64 - 1.0) * odds).ln();
        Ok((difference > 0.0).then_some(logarithm / difference))
    }

    /// The cosine of the target class after the margin, once all settings are checked.
    fn target_cosine(&self) -> Result<f64, LossError> {
        let Self {
            num_classes,
            feature_dim,
            margin,
            probability: p,
            own_angle,
        } = self;
        check_classes(*num_classes)?;
        let rule = "it must be at least 2";
        within("feature_dim", *feature_dim as f64, *feature_dim > 1, rule)?;
        margin.validate(*num_classes, 1.0)?;
        let is_within = *p > 1.0 / *num_classes as f64 && *p < 1.0;
        let rule = "it must be above 1 / num_classes and below 1";
        within("probability", *p, is_within, rule)?;
        let angle = radians("own_angle", *own_angle)?;
        let single = margin.additive().unwrap_or(0.0);
        let cosine = |angle: f64| if angle < PI { angle.cos() } else { -1.0 };
        Ok(match margin {
            Margin::None => angle.cos(),
            Margin::ArcFace(_) => cosine(angle + single),
            Margin::CosFace(_) => angle.cos() - single,
            Margin::Combined(combined) => cosine(combined.m1 * angle + combined.m2) - combined.m3,
            Margin::SphereFace(sphereface) => {
                let multiple = f64::from(sphereface.margin) * angle;
                let turns = (multiple / PI).floor();
                (multiple - turns * PI).cos() - 2.0 * turns
            }
            Margin::AdaFace(adaface) => angle.cos() - adaface.margin,
        })
    }
}

/// The least `s` above 0 with `ln sum exp(s d) = goal`, which is below the value at 0; `None` if there is none.
fn least_root(differences: &[f64], goal: f64) -> Option<f64> {
    let mut s = 0.0;
    loop {
        let exponents = differences.iter().map(|d| s * d);
        let largest = exponents.clone().fold(f64::NEG_INFINITY, f64::max);
        let terms = exponents.map(|exponent| (exponent - largest).exp());
        let sum: f64 = terms.clone().sum();
        let slope = terms
            .zip(differences)
            .map(|(term, d)| term * d)
            .sum::<f64>()
            / sum;
        // The function is convex, so that Newton's method rises towards the least root, or passes the minimum.
        if slope.is_nan() || slope >= 0.0 {
            return None;
        }
        let step = (goal - largest - sum.ln()) / slope;
        s += step;
        if step <= 1e-13 * s {
            return Some(s);
        }
    }
}

/// The least loss of a softmax over cosines without a margin: that of class vectors as a simplex, and features on
/// them.
///
/// ```text
/// ln(1 + (C - 1) exp(-scale C / (C - 1)))
/// ```
///
/// `C` is the number of classes. A training loss near it cannot fall further without a larger scale.
///
/// # Errors
///
/// [`SettingError`] for less than two classes and for a scale that is not finite and greater than 0.
///
/// # Example
///
/// ```
/// use burn_center_loss::margin::normface_bound;
///
/// // With a scale of 1 the loss of 10 575 classes stays above 8.
/// assert!(normface_bound(10575, 1.0)? > 8.0);
/// assert!(normface_bound(10575, 20.0)? < 1e-4);
/// # Ok::<(), burn_center_loss::SettingError>(())
/// ```
///
/// # References
///
/// Feng Wang, Xiang Xiang, Jian Cheng, Alan L. Yuille: NormFace: L2 Hypersphere Embedding for Face Verification, ACM
/// Multimedia 2017, proposition 2.
pub fn normface_bound(num_classes: usize, scale: f64) -> Result<f64, SettingError> {
    check_classes(num_classes)?;
    positive("scale", scale)?;
    let others = num_classes as f64 - 1.0;
    let difference = num_classes as f64 / others;
    Ok((others * (-scale * difference).exp()).ln_1p())
}
