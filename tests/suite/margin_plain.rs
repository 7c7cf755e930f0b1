//! Softmax with a margin against nested loops in f64, and its gradients against central differences.

use std::f64::consts::{FRAC_PI_2, PI};

use burn::nn::loss::Reduction;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{
    AdaFace, ArcFace, Batch, BeyondPi, Checking, ClassBalance, CombinedMargin, CosFace, LeftOut,
    Margin, MarginGradient, MarginSoftmax, MarginSoftmaxConfig, MarginSoftmaxError, Precision,
    SphereFace,
};

use crate::center_plain::Plain;
use crate::devices::{devices_with, values};
use crate::fixtures::assert_close;
use crate::storage::centers_id;
use crate::tensors::{labels, typed_matrix};

/// A configuration, and whether its losses are left as they are, one per sample.
#[derive(Clone, Debug)]
pub struct Case {
    pub config: MarginSoftmaxConfig,
    pub per_sample: bool,
}

impl Case {
    pub fn forward(
        &self,
        loss: &MarginSoftmax,
        batch: impl Into<Batch>,
    ) -> Result<Tensor<1>, MarginSoftmaxError> {
        if self.per_sample {
            loss.try_forward_no_reduction(batch)
        } else {
            loss.try_forward(batch)
        }
    }

    pub fn name(&self) -> String {
        format!("per sample: {}, {}", self.per_sample, self.config)
    }

    pub fn loss(&self, plain: &Plain, dtype: DType, device: &Device) -> MarginSoftmax {
        self.config
            .init_with_centers(typed_matrix(&plain.centers, dtype, device))
            .unwrap()
    }
}

/// The devices, with autodiff, that have exponentials in `f64`.
pub fn f64_devices() -> Vec<Device> {
    let config = MarginSoftmaxConfig::new(2, 2).with_precision(Precision::F64);
    let has_exponentials = |device: &Device| config.try_init(device).is_ok();
    let devices = devices_with(DType::F64).into_iter();
    devices
        .filter(has_exponentials)
        .map(Device::autodiff)
        .collect()
}

/// Every margin, with every form of it.
pub fn margins() -> Vec<Margin> {
    let arcface = ArcFace::new().with_margin(0.5);
    let mut margins = vec![
        Margin::None,
        CosFace::new().into(),
        SphereFace::new().into(),
    ];
    let forms = [
        BeyondPi::Linear,
        BeyondPi::Continuous,
        BeyondPi::Reflect,
        BeyondPi::Easy,
    ];
    for beyond_pi in forms {
        for gradient in [MarginGradient::Exact, MarginGradient::Detached] {
            let arcface = arcface.clone().with_beyond_pi(beyond_pi);
            margins.push(arcface.with_gradient(gradient).into());
            if beyond_pi != BeyondPi::Linear {
                let combined = CombinedMargin::new(1.3, 0.4, 0.1).with_beyond_pi(beyond_pi);
                margins.push(combined.with_gradient(gradient).into());
            }
        }
    }
    let of_classes = Some(vec![0.1, 0.9, 0.4, 0.25]);
    margins.push(arcface.with_class_margins(of_classes.clone()).into());
    margins.push(CosFace::new().with_class_margins(of_classes).into());
    margins.push(AdaFace::new().with_t_alpha(0.6).with_h(1.5).into());
    margins
}

/// Every margin with every way of weighting and reducing, for four classes.
pub fn every_case() -> Vec<Case> {
    let mut cases = vec![];
    for margin in margins() {
        for sub_centers in [1, 3] {
            for smoothing in [0.0, 0.2] {
                let (mut reduction, mut per_sample) = (Reduction::Mean, false);
                for balance in [ClassBalance::None, ClassBalance::Histogram] {
                    let config = MarginSoftmaxConfig::new(4, 3)
                        .with_margin(margin.clone())
                        .with_scale(3.0)
                        .with_sub_centers(sub_centers)
                        .with_label_smoothing(smoothing)
                        .with_class_balance(balance)
                        .with_reduction(reduction.clone())
                        .with_precision(Precision::F64);
                    let weighted = config
                        .clone()
                        .with_class_weights(Some(vec![0.5, 1.5, 2.5, 0.0]))
                        .with_ignore_label(Some(1));
                    for config in [config, weighted] {
                        cases.push(Case { config, per_sample });
                        (reduction, per_sample) = match (reduction, per_sample) {
                            (Reduction::Mean, false) => (Reduction::Sum, false),
                            (Reduction::Sum, false) => (Reduction::BatchMean, false),
                            (Reduction::BatchMean, false) => (Reduction::Mean, true),
                            _ => (Reduction::Mean, false),
                        };
                    }
                }
            }
        }
    }
    cases
}

/// A batch of nine samples of four classes, with as many class vectors as the case has.
pub fn batch(case: &Case) -> Plain {
    let mut plain = Plain::new(9, 4 * case.config.sub_centers, 3, 11);
    for label in &mut plain.labels {
        *label %= 4;
    }
    // One sample lies almost opposite the vectors of its class, where margins go beyond pi.
    let own = plain.labels[0] as usize * case.config.sub_centers;
    plain.features[0] = plain.centers[own].iter().map(|w| -1.7 * w + 0.05).collect();
    for other in 1..case.config.sub_centers {
        plain.centers[own + other] = plain.centers[own].iter().map(|w| 1.1 * w).collect();
        plain.centers[own + other][0] += 0.1 * other as f64;
    }
    plain
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn length(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
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
struct Formulas<'a> {
    config: &'a MarginSoftmaxConfig,
    plain: &'a Plain,
}

impl Formulas<'_> {
    fn counts(&self) -> Vec<f64> {
        let weights = self.plain.weights.as_deref();
        (0..self.plain.labels.len())
            .map(
                |i| match self.config.ignore_label == Some(self.plain.labels[i]) {
                    true => 0.0,
                    false => weights.map_or(1.0, |weights| weights[i]),
                },
            )
            .collect()
    }

    /// The largest cosine of each sample with the vectors of each class.
    fn cosines(&self, i: usize) -> Vec<f64> {
        let x = &self.plain.features[i];
        let of = |w: &Vec<f64>| dot(x, w) / (length(x) * length(w));
        let cosines: Vec<f64> = self.plain.centers.iter().map(of).collect();
        cosines
            .chunks(self.config.sub_centers)
            .map(|of_class| of_class.iter().copied().fold(f64::MIN, f64::max))
            .collect()
    }

    fn own_score(&self, cosine: f64, class: usize, quality: f64) -> f64 {
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
        let counts = self.counts();
        let qualities = match &self.config.margin {
            Margin::AdaFace(margin) => {
                let lengths: Vec<f64> = self.plain.features.iter().map(|x| length(x)).collect();
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
                    cosine - self.own_score(cosine, class, 0.0)
                })
                .collect()
        });
        Fixed { qualities, below }
    }

    fn losses(&self, fixed: &Fixed) -> Vec<f64> {
        let counts = self.counts();
        let class_weight = |i: usize| match &self.config.class_weights {
            Some(weights) => weights[self.plain.labels[i] as usize],
            None => 1.0,
        };
        (0..counts.len())
            .map(|i| {
                if counts[i] == 0.0 {
                    return 0.0;
                }
                let class = self.plain.labels[i] as usize;
                let mut scores = self.cosines(i);
                let own = match &fixed.below {
                    Some(below) => scores[class] - below[i],
                    None => self.own_score(scores[class], class, fixed.qualities[i]),
                };
                if matches!(self.config.margin, Margin::AdaFace(_)) {
                    scores = scores
                        .iter()
                        .map(|cosine| cosine.clamp(-0.999, 0.999))
                        .collect();
                }
                scores[class] = own;
                let mut scale = self.config.scale;
                if matches!(self.config.margin, Margin::SphereFace(_)) {
                    scale *= length(&self.plain.features[i]);
                }
                let scores: Vec<f64> = scores.iter().map(|score| scale * score).collect();
                let log_sum = scores.iter().map(|z| z.exp()).sum::<f64>().ln();
                let e = self.config.label_smoothing;
                let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                let loss = log_sum - (1.0 - e) * scores[class] - e * mean;
                let balance: f64 = match self.config.class_balance {
                    ClassBalance::None => 1.0,
                    ClassBalance::Histogram => (0..counts.len())
                        .filter(|k| self.plain.labels[*k] == class as i64)
                        .map(|k| counts[k])
                        .sum(),
                };
                counts[i] * class_weight(i) * loss / balance
            })
            .collect()
    }

    fn reduced(&self, per_sample: bool, fixed: &Fixed) -> Vec<f64> {
        let losses = self.losses(fixed);
        let sum: f64 = losses.iter().sum();
        match (per_sample, &self.config.reduction) {
            (true, _) => losses,
            (false, Reduction::Sum) => vec![sum],
            (false, Reduction::BatchMean) => vec![sum / losses.len() as f64],
            (false, Reduction::Mean | Reduction::Auto) => {
                let counts = self.counts();
                let total: f64 = (0..counts.len())
                    .map(|i| match &self.config.class_weights {
                        Some(weights) if counts[i] > 0.0 => {
                            counts[i] * weights[self.plain.labels[i] as usize]
                        }
                        _ => counts[i],
                    })
                    .sum();
                vec![sum / total]
            }
        }
    }
}

fn batches(case: &Case) -> [Plain; 2] {
    [batch(case), batch(case).with_weights()]
}

fn typed_batch(plain: &Plain, features: Tensor<2>, device: &Device) -> Batch {
    let dtype = features.dtype();
    let batch = Batch::new(features, labels(&plain.labels, device));
    match plain.weights.as_deref() {
        Some(weights) => batch.with_weights(Tensor::from_data(weights, (device, dtype))),
        None => batch,
    }
}

#[test]
fn values_equal_nested_loops() {
    for device in f64_devices() {
        for mut case in every_case() {
            for plain in batches(&case) {
                for (checking, budget) in [(Checking::Strict, usize::MAX), (Checking::Deferred, 0)]
                {
                    case.config.checking = checking;
                    case.config.score_budget = budget;
                    let loss = case.loss(&plain, DType::F64, &device);
                    let features = typed_matrix(&plain.features, DType::F64, &device);
                    let batch = typed_batch(&plain, features.clone(), &device);
                    let name = case.name();
                    let formulas = Formulas {
                        config: &case.config,
                        plain: &plain,
                    };
                    let resting = values(loss.try_evaluate(batch.clone()).unwrap());
                    let expected = formulas.reduced(false, &formulas.fixed(true));
                    assert_close(&name, &resting, &expected, 1e-10);
                    let value = values(case.forward(&loss, batch).unwrap());
                    let expected = formulas.reduced(case.per_sample, &formulas.fixed(false));
                    assert_close(&name, &value, &expected, 1e-10);
                    assert_eq!(loss.take_left_out(), Ok(LeftOut::default()));
                }
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    const STEP: f64 = 1e-5;
    for device in f64_devices() {
        for mut case in every_case() {
            for (nth, plain) in batches(&case).into_iter().enumerate() {
                case.config.score_budget = [0, usize::MAX][nth];
                let loss = case.loss(&plain, DType::F64, &device);
                let features = typed_matrix(&plain.features, DType::F64, &device).require_grad();
                let batch = typed_batch(&plain, features.clone(), &device);
                let gradients = case.forward(&loss, batch).unwrap().sum().backward();
                let fixed = Formulas {
                    config: &case.config,
                    plain: &plain,
                }
                .fixed(false);
                let total = |plain: &Plain| {
                    let formulas = Formulas {
                        config: &case.config,
                        plain,
                    };
                    formulas
                        .reduced(case.per_sample, &fixed)
                        .iter()
                        .sum::<f64>()
                };
                let slope = |change: &dyn Fn(&mut Plain, f64)| {
                    let (mut up, mut down) = (plain.clone(), plain.clone());
                    change(&mut up, STEP);
                    change(&mut down, -STEP);
                    (total(&up) - total(&down)) / (2.0 * STEP)
                };
                let name = case.name();
                let gradient = features.grad(&gradients).unwrap();
                let mut expected = vec![];
                for i in 0..plain.features.len() {
                    for d in 0..plain.features[i].len() {
                        expected.push(slope(&|plain, step| plain.features[i][d] += step));
                    }
                }
                assert_close(&name, &values(gradient), &expected, 1e-7);
                let gradients = GradientsParams::from_grads(gradients, &loss);
                let gradient = gradients.get::<2>(centers_id(&loss)).unwrap();
                let mut expected = vec![];
                for j in 0..plain.centers.len() {
                    for d in 0..plain.centers[j].len() {
                        expected.push(slope(&|plain, step| plain.centers[j][d] += step));
                    }
                }
                assert_close(&name, &values(gradient), &expected, 1e-7);
            }
        }
    }
}

#[test]
fn single_precision_equals_double_precision() {
    for device in f64_devices() {
        for mut case in every_case() {
            for plain in batches(&case) {
                let run = |case: &Case, dtype: DType| {
                    let loss = case.loss(&plain, dtype, &device);
                    let features = typed_matrix(&plain.features, dtype, &device).require_grad();
                    let batch = typed_batch(&plain, features.clone(), &device);
                    let value = case.forward(&loss, batch).unwrap();
                    let gradients = value.clone().sum().backward();
                    let of_features = values(features.grad(&gradients).unwrap());
                    let gradients = GradientsParams::from_grads(gradients, &loss);
                    let of_centers = gradients.get::<2>(centers_id(&loss)).unwrap();
                    [values(value), of_features, values(of_centers)]
                };
                let double = run(&case, DType::F64);
                case.config.precision = Precision::F32;
                let single = run(&case, DType::F32);
                case.config.precision = Precision::F64;
                for (single, double) in single.iter().zip(&double) {
                    assert_close(&case.name(), single, double, 1e-5);
                }
            }
        }
    }
}
