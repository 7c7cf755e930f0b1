//! Softmax with a margin against nested loops in f64, and its gradients against central differences.

use std::f64::consts::{FRAC_PI_2, PI};

use burn_center_loss::margin::{
    AdaFace, ArcFace, BeyondPi, CombinedMargin, CosFace, MarginGradient,
};
use burn_center_loss::{CenterDType, Checking, Margin, MarginSoftmaxConfig};

use crate::contract::Case;
use crate::devices::{f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, Weighing, assert_gradients, cosine, dot, norm, weighings};

/// Every margin, with every form of it.
pub fn margins() -> Vec<Margin> {
    let arcface = ArcFace::new().with_margin(0.5);
    let mut margins = vec![Margin::None, Margin::cosface(0.35), Margin::sphereface(4)];
    let forms = [
        BeyondPi::Linear,
        BeyondPi::Continuous,
        BeyondPi::Reflect,
        BeyondPi::Easy,
    ];
    for beyond_pi in forms {
        for gradient in [MarginGradient::Exact, MarginGradient::Detached] {
            let arcface = arcface.clone().with_beyond_pi(beyond_pi);
            margins.push(Margin::ArcFace(arcface.with_gradient(gradient)));
            if beyond_pi != BeyondPi::Linear {
                let combined = CombinedMargin::new(1.3, 0.4, 0.1).with_beyond_pi(beyond_pi);
                margins.push(Margin::Combined(combined.with_gradient(gradient)));
            }
        }
    }
    let of_classes = Some(vec![0.1, 0.9, 0.4, 0.25]);
    let cosface = CosFace::new().with_class_margins(of_classes.clone());
    let adaface = AdaFace::new().with_t_alpha(0.6).with_h(1.5);
    margins.extend([
        Margin::ArcFace(arcface.with_class_margins(of_classes)),
        Margin::CosFace(cosface),
        Margin::AdaFace(adaface),
    ]);
    margins
}

/// Every margin with every way of weighing and reducing, for four classes.
fn every_case() -> Vec<(MarginSoftmaxConfig, Weighing, Case)> {
    let mut cases = vec![];
    let mut ways = weighings().into_iter().cycle();
    for margin in margins() {
        for sub_centers in [1, 3] {
            for smoothing in [0.0, 0.2] {
                // Not a divisor of the number of ways, so that every margin meets others.
                for weighing in ways.by_ref().take(5) {
                    let config = MarginSoftmaxConfig::new(4, 3)
                        .with_dtype(CenterDType::F64)
                        .with_margin(margin.clone())
                        .with_scale(3.0)
                        .with_sub_centers(sub_centers)
                        .with_label_smoothing(smoothing)
                        .with_score_budget(if cases.len() % 2 == 0 { 0 } else { usize::MAX });
                    let case = Case::new(config.clone()).weighed(&weighing);
                    cases.push((config, weighing, case));
                }
            }
        }
    }
    cases
}

/// A batch of nine samples, in which one lies almost opposite the vectors of its class, where margins go beyond pi.
fn batch(config: &MarginSoftmaxConfig) -> Plain {
    let sub_centers = config.sub_centers;
    let mut plain = Plain::new(9, 4 * sub_centers, 3, 11);
    for label in &mut plain.labels {
        *label %= 4;
    }
    let first = plain.labels[0] as usize * sub_centers;
    plain.features[0] = plain.centers[first]
        .iter()
        .map(|w| -1.7 * w + 0.05)
        .collect();
    for other in 1..sub_centers {
        plain.centers[first + other] = plain.centers[first].iter().map(|w| 1.1 * w).collect();
        plain.centers[first + other][0] += 0.1 * other as f64;
    }
    plain
}

/// What does not change with features and class vectors as far as the gradient is concerned.
#[derive(Clone)]
struct Fixed {
    /// `q_i` of AdaFace.
    qualities: Vec<f64>,
    /// How far the changed cosine of each sample is below its cosine, for a detached gradient.
    below: Option<Vec<f64>>,
}

/// The formulas of the docs.
#[derive(Clone, Copy)]
struct Formulas<'a> {
    config: &'a MarginSoftmaxConfig,
    weighing: &'a Weighing,
    plain: &'a Plain,
}

impl Formulas<'_> {
    /// The largest cosine of each sample with the vectors of each class.
    fn cosines(&self, i: usize) -> Vec<f64> {
        let x = &self.plain.features[i];
        let cosines: Vec<f64> = self.plain.centers.iter().map(|w| cosine(x, w)).collect();
        cosines
            .chunks(self.config.sub_centers)
            .map(|of_class| of_class.iter().copied().fold(f64::MIN, f64::max))
            .collect()
    }

    fn target_score(&self, cosine: f64, class: usize, quality: f64) -> f64 {
        let theta = cosine.clamp(-1.0, 1.0).acos();
        let beyond = |m1: f64, m: f64, form: BeyondPi| {
            let moved = m1 * theta + m;
            match form {
                BeyondPi::Easy if theta >= FRAC_PI_2 => None,
                BeyondPi::Linear if moved >= PI => Some(cosine - m * m.sin()),
                BeyondPi::Continuous if moved >= PI => Some(cosine - 1.0 - ((PI - m) / m1).cos()),
                _ => Some(moved.cos()),
            }
        };
        match &self.config.margin {
            Margin::None => cosine,
            Margin::ArcFace(margin) => {
                let m = margin
                    .class_margins
                    .as_ref()
                    .map_or(margin.margin, |m| m[class]);
                beyond(1.0, m, margin.beyond_pi).unwrap_or(cosine)
            }
            Margin::CosFace(margin) => {
                cosine
                    - margin
                        .class_margins
                        .as_ref()
                        .map_or(margin.margin, |m| m[class])
            }
            Margin::Combined(margin) => beyond(margin.m1, margin.m2, margin.beyond_pi)
                .map_or(cosine, |value| value - margin.m3),
            Margin::SphereFace(margin) => {
                let m = f64::from(margin.margin);
                let k = (theta * m / PI).floor();
                (-1.0_f64).powi(k as i32) * (m * theta).cos() - 2.0 * k
            }
            Margin::AdaFace(margin) => {
                let theta = cosine.clamp(-0.999, 0.999).acos();
                let moved = (theta - margin.margin * quality).clamp(0.001, PI - 0.001);
                moved.cos() - margin.margin * (1.0 + quality)
            }
        }
    }

    fn fixed(&self, is_frozen: bool) -> Fixed {
        let counts = self.plain.counts(self.weighing.ignore_label);
        let qualities = match &self.config.margin {
            Margin::AdaFace(margin) => {
                let lengths: Vec<f64> = self.plain.features.iter().map(|x| norm(x)).collect();
                let clipped: Vec<f64> = lengths.iter().map(|z| z.clamp(0.001, 100.0)).collect();
                let total: f64 = counts.iter().sum();
                let mean = dot(&clipped, &counts) / total;
                let squares: Vec<f64> = clipped.iter().map(|z| (z - mean).powi(2)).collect();
                let std = (dot(&squares, &counts) / (total - 1.0)).sqrt();
                let (mut mean_now, mut std_now) = (20.0, 100.0);
                if !is_frozen {
                    let t = margin.t_alpha;
                    mean_now = t * mean + (1.0 - t) * mean_now;
                    std_now = t * std + (1.0 - t) * std_now;
                }
                let quality =
                    |z: &f64| (margin.h * (z - mean_now) / (std_now + 0.001)).clamp(-1.0, 1.0);
                clipped.iter().map(quality).collect()
            }
            _ => vec![0.0; counts.len()],
        };
        let is_detached = match &self.config.margin {
            Margin::ArcFace(margin) => margin.gradient == MarginGradient::Detached,
            Margin::Combined(margin) => margin.gradient == MarginGradient::Detached,
            _ => false,
        };
        let below = is_detached.then(|| {
            (0..counts.len())
                .map(|i| {
                    let class = self.plain.labels[i] as usize;
                    let cosine = self.cosines(i)[class];
                    cosine - self.target_score(cosine, class, 0.0)
                })
                .collect()
        });
        Fixed { qualities, below }
    }

    fn losses(&self, fixed: &Fixed) -> Vec<f64> {
        let scale = self.config.scale;
        self.plain.weighed(self.weighing, |i| {
            let class = self.plain.labels[i] as usize;
            let mut scores = self.cosines(i);
            let target = match &fixed.below {
                Some(below) => scores[class] - below[i],
                None => self.target_score(scores[class], class, fixed.qualities[i]),
            };
            if matches!(self.config.margin, Margin::AdaFace(_)) {
                scores
                    .iter_mut()
                    .for_each(|score| *score = score.clamp(-0.999, 0.999));
            }
            scores[class] = target;
            let scale = match self.config.margin {
                Margin::SphereFace(_) => scale * norm(&self.plain.features[i]),
                _ => scale,
            };
            let scores: Vec<f64> = scores.iter().map(|score| scale * score).collect();
            let log_sum = scores.iter().map(|z| z.exp()).sum::<f64>().ln();
            let smoothing = self.config.label_smoothing;
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            log_sum - (1.0 - smoothing) * scores[class] - smoothing * mean
        })
    }
}

fn batches(config: &MarginSoftmaxConfig) -> [Plain; 2] {
    [batch(config), batch(config).with_weights()]
}

#[test]
fn values_equal_nested_loops() {
    for device in f64_devices() {
        for (config, weighing, case) in every_case() {
            for plain in &batches(&config) {
                for checking in [Checking::Strict, Checking::Deferred] {
                    let (case, name) = (case.checking(checking), case.name());
                    let (config, weighing) = (&config, &weighing);
                    let formulas = Formulas {
                        config,
                        weighing,
                        plain,
                    };
                    let found = case.run(plain, &device);
                    let expected = formulas.losses(&formulas.fixed(false));
                    assert_close(&name, &found.value, &expected, 1e-10);
                    assert_eq!(found.loss.take_skipped().unwrap().total(), 0);
                    // Evaluation leaves the statistics alone, and has a reduction.
                    let value = case.loss(plain, &device).try_evaluate(plain.batch(&device));
                    let weighing = &Weighing {
                        per_sample: false,
                        ..weighing.clone()
                    };
                    let formulas = Formulas {
                        config,
                        weighing,
                        plain,
                    };
                    let expected = formulas.losses(&formulas.fixed(true));
                    assert_close(&name, &values(value.unwrap()), &expected, 1e-10);
                }
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    for device in f64_devices() {
        for (config, weighing, case) in every_case() {
            for plain in &batches(&config) {
                let (config, weighing) = (&config, &weighing);
                let fixed = Formulas {
                    config,
                    weighing,
                    plain,
                }
                .fixed(false);
                let losses = |plain: &_| {
                    Formulas {
                        config,
                        weighing,
                        plain,
                    }
                    .losses(&fixed)
                };
                assert_gradients(&case, plain, &device, &losses, 1e-7);
            }
        }
    }
}
