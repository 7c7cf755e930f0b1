//! Calibration by a line whose logistic function is the probability of a genuine pair.

use super::cllr::softplus;
use crate::evaluation::error::EvaluationError;
use crate::evaluation::input::{check_prior, check_values, read_pairs, read_scores};

/// A bound on the steps of Newton's method, which takes about ten.
const MAX_STEPS: usize = 200;

/// How often a step is halved at most.
const MAX_HALVINGS: usize = 60;

/// Logistic calibration: the log-likelihood ratio is a line over the score.
///
/// ```text
/// llr = slope * score + offset
/// ```
///
/// [`fit`](Self::fit) and [`fit_platt`](Self::fit_platt) find slope and offset; fit on other pairs than those that are
/// evaluated. A calibration changes neither the equal error rate nor any other measure of the order of the scores. A
/// slope below 0, of scores that are in the wrong order, is returned as it is.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{DetectionCost, EvaluationError, LogisticCalibration, cllr};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let scores = [0.9, 0.8, 0.3, 0.4, 0.1, 0.0];
/// let same = [true, true, true, false, false, false];
/// let calibration = LogisticCalibration::fit(&scores, &same, 0.5)?;
/// let llrs = calibration.llrs(&scores)?;
/// assert!(cllr(&llrs, &same)? < cllr(&scores, &same)?);
/// // The least score to accept where one pair in ten is genuine.
/// let threshold = DetectionCost::new().with_target_prior(0.1).bayes_threshold()?;
/// let score = (threshold - calibration.offset) / calibration.slope;
/// assert!((0.3..0.9).contains(&score));
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// N. Brümmer et al., *Fusion of heterogeneous speaker recognition systems in the STBU submission for the NIST speaker
/// recognition evaluation 2006*, IEEE Transactions on Audio, Speech, and Language Processing, 2007.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticCalibration {
    /// Change of the log-likelihood ratio for a unit of the score.
    pub slope: f64,
    /// The log-likelihood ratio of the score 0.
    pub offset: f64,
}

impl LogisticCalibration {
    /// Fits scored pairs by logistic regression, both kinds weighted by a prior.
    ///
    /// ```text
    /// minimum of P mean over genuine pairs of softplus(-(llr + t))
    ///          + (1 - P) mean over impostor pairs of softplus(llr + t)
    /// P = target_prior, t = ln(P / (1 - P)), softplus(v) = ln(1 + exp(v))
    /// ```
    ///
    /// The prior 1/2 minimizes [`cllr`](fn@super::cllr). Another one puts the weight on thresholds that suit it.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no scores, one is not finite, the lengths differ, `same` is true throughout or
    /// false throughout, or the prior is not above 0 and below 1. [`EvaluationError::Separable`] if the scores of one kind
    /// are all at least as large as those of the other: then the minimum is at an infinite slope.
    pub fn fit<S: Copy + Into<f64>>(
        scores: &[S],
        same: &[bool],
        target_prior: f64,
    ) -> Result<Self, EvaluationError> {
        check_prior(target_prior)?;
        let [genuine, impostors] = read_finite_pairs(scores, same)?;
        let [of_genuine, of_impostors] = [&genuine, &impostors].map(range);
        if of_genuine[0] >= of_impostors[1] || of_impostors[0] >= of_genuine[1] {
            return Err(EvaluationError::Separable {
                genuine: of_genuine,
                impostors: of_impostors,
            });
        }
        let prior_odds = (target_prior / (1.0 - target_prior)).ln();
        let shares = [target_prior, 1.0 - target_prior];
        let regression = Regression::new([genuine, impostors], shares, [1.0, 0.0]);
        Ok(regression.minimum().minus(prior_odds))
    }

    /// Fits scored pairs by Platt's method, for few pairs and for pairs that a threshold tells apart.
    ///
    /// ```text
    /// minimum of the sum over all pairs of y softplus(-v) + (1 - y) softplus(v),  v = llr + ln(n / m)
    /// y = (n + 1) / (n + 2) for genuine pairs, 1 / (m + 2) for impostor pairs
    /// ```
    ///
    /// n and m are the numbers of genuine and impostor pairs. The targets y bound the slope. If all scores are equal the
    /// slope is 0.
    ///
    /// # Differences from the references
    ///
    /// The log-odds of the data, ln(n / m), are taken from the offset: Platt's own line, and scikit-learn's, is v.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit), but for separable scores.
    ///
    /// # References
    ///
    /// J. Platt, *Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods*,
    /// Advances in Large Margin Classifiers, 1999.
    pub fn fit_platt<S: Copy + Into<f64>>(
        scores: &[S],
        same: &[bool],
    ) -> Result<Self, EvaluationError> {
        let [genuine, impostors] = read_finite_pairs(scores, same)?;
        let [n, m] = [genuine.len() as f64, impostors.len() as f64];
        let targets = [(n + 1.0) / (n + 2.0), 1.0 / (m + 2.0)];
        let shares = [n / (n + m), m / (n + m)];
        let regression = Regression::new([genuine, impostors], shares, targets);
        Ok(regression.minimum().minus((n / m).ln()))
    }

    /// The log-likelihood ratio of each score.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no scores or one is NaN.
    pub fn llrs<S: Copy + Into<f64>>(&self, scores: &[S]) -> Result<Vec<f64>, EvaluationError> {
        let mut values = read_scores("scores", scores)?;
        for value in &mut values {
            // A slope of 0 says nothing of infinite scores either.
            let product = if self.slope == 0.0 {
                0.0
            } else {
                self.slope * *value
            };
            *value = product + self.offset;
        }
        Ok(values)
    }

    fn minus(self, log_odds: f64) -> Self {
        Self {
            offset: self.offset - log_odds,
            ..self
        }
    }
}

fn read_finite_pairs<S: Copy + Into<f64>>(
    scores: &[S],
    same: &[bool],
) -> Result<[Vec<f64>; 2], EvaluationError> {
    let pairs = read_pairs("scores", scores, same)?;
    let values: Vec<f64> = scores.iter().map(|score| (*score).into()).collect();
    check_values(
        "scores",
        &values,
        f64::is_finite,
        "every score must be finite",
    )?;
    Ok(pairs)
}

/// The least and the largest score.
fn range<'a>(scores: impl IntoIterator<Item = &'a f64>) -> [f64; 2] {
    let start = [f64::INFINITY, f64::NEG_INFINITY];
    let widen = |[low, high]: [f64; 2], score: &f64| [low.min(*score), high.max(*score)];
    scores.into_iter().fold(start, widen)
}

/// A weighted logistic regression on scores that are brought to mean 0 and deviation 1.
struct Regression {
    /// Standardized scores of genuine and of impostor pairs.
    scores: [Vec<f64>; 2],
    /// The least and the largest of them.
    range: [f64; 2],
    /// The weight of a pair of each kind.
    weights: [f64; 2],
    targets: [f64; 2],
    /// The offset of the best of all flat lines.
    flat: f64,
    mean: f64,
    deviation: f64,
}

/// Sums at a line: the objective, its gradient and its second derivatives by the slope of the line that is turned around
/// its point at `pivot`, and by its height.
struct Sums {
    pivot: f64,
    objective: f64,
    gradient: [f64; 2],
    curvature: [f64; 3],
}

impl Regression {
    /// Takes the weight of each kind, which together are 1, and the targets.
    fn new(mut scores: [Vec<f64>; 2], shares: [f64; 2], targets: [f64; 2]) -> Self {
        let weights = [0, 1].map(|kind| shares[kind] / scores[kind].len() as f64);
        let count = scores.iter().flatten().count() as f64;
        // Values within -1..=1, whose sums and squares do not overflow.
        let [low, high] = range(scores.iter().flatten());
        let largest = high.max(-low);
        let scale = if largest > 0.0 { largest } else { 1.0 };
        let values = || scores.iter().flatten().map(|score| score / scale);
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        for score in scores.iter_mut().flatten() {
            *score = (*score / scale - mean) / deviation;
        }
        let genuine = shares[0] * targets[0] + shares[1] * targets[1];
        Self {
            range: range(scores.iter().flatten()),
            scores,
            weights,
            targets,
            flat: (genuine / (1.0 - genuine)).ln(),
            mean: mean * scale,
            deviation: deviation * scale,
        }
    }

    /// The line with the least objective, over the scores as they came, by Newton's method.
    fn minimum(&self) -> LogisticCalibration {
        let mut line = [0.0, self.flat];
        let mut sums = self.sums(line);
        for _ in 0..MAX_STEPS {
            let step = sums.newton_step(line[0]);
            let largest = line[0].abs().max(line[1].abs());
            let is_last = step[0].abs().max(step[1].abs()) <= 1e-12 * (1.0 + largest);
            let Some(lower) = self.lower(line, step, sums.objective) else {
                break;
            };
            (line, sums) = lower;
            if is_last {
                break;
            }
        }
        LogisticCalibration {
            slope: line[0] / self.deviation,
            offset: line[1] - line[0] * (self.mean / self.deviation),
        }
    }

    /// The line after the step, which is halved until the objective does not rise but for rounding.
    fn lower(
        &self,
        line: [f64; 2],
        mut step: [f64; 2],
        objective: f64,
    ) -> Option<([f64; 2], Sums)> {
        for _ in 0..MAX_HALVINGS {
            let next = [line[0] + step[0], line[1] + step[1]];
            let sums = self.sums(next);
            if sums.objective <= objective * (1.0 + 1e-14) {
                return Some((next, sums));
            }
            step = step.map(|part| part / 2.0);
        }
        None
    }

    fn sums(&self, [slope, offset]: [f64; 2]) -> Sums {
        let [low, high] = self.range;
        // Where the line crosses 0 the curvature is largest. Around another pivot small differences would be lost.
        let pivot = if slope == 0.0 {
            0.0
        } else {
            (-offset / slope).clamp(low, high)
        };
        let mut sums = Sums {
            pivot,
            objective: 0.0,
            gradient: [0.0; 2],
            curvature: [0.0; 3],
        };
        for kind in 0..2 {
            let (weight, target) = (self.weights[kind], self.targets[kind]);
            for score in &self.scores[kind] {
                let value = slope * score + offset;
                let small = (-value.abs()).exp();
                // The logistic function of the value, and that of its negative.
                let (large, small) = (1.0 / (1.0 + small), small / (1.0 + small));
                let (yes, no) = if value >= 0.0 {
                    (large, small)
                } else {
                    (small, large)
                };
                let loss = target * softplus(-value) + (1.0 - target) * softplus(value);
                let gradient = weight * ((1.0 - target) * yes - target * no);
                let curvature = weight * yes * no;
                let arm = score - pivot;
                sums.objective += weight * loss;
                sums.gradient[0] += gradient * arm;
                sums.gradient[1] += gradient;
                sums.curvature[0] += curvature * arm * arm;
                sums.curvature[1] += curvature * arm;
                sums.curvature[2] += curvature;
            }
        }
        sums
    }
}

impl Sums {
    /// The change of slope and offset to the minimum of the parabola with these derivatives, as far as it is to be
    /// trusted: at far steeper slopes than the present one all derivatives may vanish.
    fn newton_step(&self, slope: f64) -> [f64; 2] {
        let [of_slope, mixed, of_height] = self.curvature;
        // Quotients first: at an extreme prior all sums are so small that their products would vanish.
        let [turn, lift] = self.gradient.map(|sum| sum / of_height);
        let arm = mixed / of_height;
        let spread = of_slope / of_height - arm * arm;
        // Nothing depends on the slope if all scores are equal.
        let step = if spread > 0.0 {
            (arm * lift - turn) / spread
        } else {
            0.0
        };
        let most = 4.0 + slope.abs();
        let step = step.clamp(-most, most);
        [step, -lift - arm * step - self.pivot * step]
    }
}
