//! Values and gradients against nested loops in f64, and gradients against central differences.

use burn::nn::loss::Reduction;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    Batch, CenterDistance, CenterLoss, CenterLossConfig, CenterLossError, Checking, ClassBalance,
    DirectRule, LeftOut, Normalization, Precision, UpdateRule,
};

use crate::devices::{devices_with, values};
use crate::fixtures::assert_close;
use crate::storage::centers_id;
use crate::tensors::{labels, typed_matrix};

/// A batch and centers in f64 on the host; the same numbers on every run.
#[derive(Clone)]
pub struct Plain {
    pub features: Vec<Vec<f64>>,
    pub labels: Vec<i64>,
    pub weights: Option<Vec<f64>>,
    pub centers: Vec<Vec<f64>>,
}

impl Plain {
    pub fn new(batch_size: usize, num_classes: usize, feature_dim: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut rows = |count: usize| -> Vec<Vec<f64>> {
            let value = |bits: u64| (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
            (0..count)
                .map(|_| (0..feature_dim).map(|_| 2.0 * value(next())).collect())
                .collect()
        };
        let (features, centers) = (rows(batch_size), rows(num_classes));
        let labels = (0..batch_size)
            .map(|_| (next() % num_classes as u64) as i64)
            .collect();
        Self {
            features,
            labels,
            weights: None,
            centers,
        }
    }

    pub fn with_weights(mut self) -> Self {
        let weight = |i: usize| [1.0, 0.5, 2.0, 0.0, 3.25][i % 5];
        self.weights = Some((0..self.features.len()).map(weight).collect());
        self
    }

    pub fn loss(&self, config: &CenterLossConfig, device: &Device) -> CenterLoss {
        config
            .init_with_centers(typed_matrix(&self.centers, DType::F64, device))
            .unwrap()
    }

    pub fn features(&self, device: &Device) -> Tensor<2> {
        typed_matrix(&self.features, DType::F64, device)
    }

    pub fn labels(&self, device: &Device) -> Tensor<1, Int> {
        labels(&self.labels, device)
    }

    pub fn weights(&self, device: &Device) -> Option<Tensor<1>> {
        let weights = self.weights.as_deref()?;
        Some(Tensor::from_data(weights, (device, DType::F64)))
    }

    pub fn batch(&self, device: &Device) -> Batch {
        let batch = Batch::new(self.features(device), self.labels(device));
        match self.weights(device) {
            Some(weights) => batch.with_weights(weights),
            None => batch,
        }
    }

    pub fn config(&self) -> CenterLossConfig {
        CenterLossConfig::new(self.centers.len(), self.centers[0].len())
            .with_precision(Precision::F64)
    }

    /// Weight of each sample, zero for an ignored one.
    fn counts(&self, config: &CenterLossConfig) -> Vec<f64> {
        (0..self.labels.len())
            .map(|i| match config.ignore_label == Some(self.labels[i]) {
                true => 0.0,
                false => self.weights.as_ref().map_or(1.0, |w| w[i]),
            })
            .collect()
    }

    fn class_total(&self, config: &CenterLossConfig, label: i64) -> f64 {
        let counts = self.counts(config);
        (0..counts.len())
            .filter(|i| self.labels[*i] == label)
            .map(|i| counts[i])
            .sum()
    }

    /// The losses of the samples, or what they reduce to, by the formulas of the docs.
    pub fn value(&self, case: &Case) -> Vec<f64> {
        let losses = self.losses(&case.config);
        let sum: f64 = losses.iter().sum();
        match (case.per_sample, &case.config.reduction) {
            (true, _) => losses,
            (false, Reduction::Sum) => vec![sum],
            (false, Reduction::BatchMean) => vec![sum / losses.len() as f64],
            (false, Reduction::Mean | Reduction::Auto) => {
                let total = self.total(&case.config);
                vec![if total > 0.0 { sum / total } else { 0.0 }]
            }
        }
    }

    fn class_weight(&self, config: &CenterLossConfig, i: usize) -> f64 {
        match &config.class_weights {
            Some(weights) if self.counts(config)[i] > 0.0 => weights[self.labels[i] as usize],
            _ => 1.0,
        }
    }

    fn total(&self, config: &CenterLossConfig) -> f64 {
        let counts = self.counts(config);
        (0..counts.len())
            .map(|i| counts[i] * self.class_weight(config, i))
            .sum()
    }

    fn losses(&self, config: &CenterLossConfig) -> Vec<f64> {
        let counts = self.counts(config);
        (0..counts.len())
            .map(|i| {
                if counts[i] == 0.0 {
                    return 0.0;
                }
                let mut x = self.features[i].clone();
                let mut c = self.centers[self.labels[i] as usize].clone();
                if config.distance == CenterDistance::Cosine {
                    x = unit(&x);
                    c = unit(&c);
                }
                let beyond = (norm(&subtract(&x, &c)) - config.radius).max(0.0);
                let balance = match config.class_balance {
                    ClassBalance::None => 1.0,
                    ClassBalance::Histogram => self.class_total(config, self.labels[i]),
                };
                let weight = counts[i] * self.class_weight(config, i);
                config.lambda * weight * 0.5 * beyond * beyond / balance
            })
            .collect()
    }

    /// The centers after one update, by the formulas of the docs.
    pub fn updated(&self, config: &CenterLossConfig) -> Vec<Vec<f64>> {
        let UpdateRule::Direct(rule) = &config.update_rule else {
            return self.centers.clone();
        };
        let counts = self.counts(config);
        let mut centers = self.centers.clone();
        for (j, center) in centers.iter_mut().enumerate() {
            let before = self.centers[j].clone();
            let total = self.class_total(config, j as i64);
            let mut pull = vec![0.0; before.len()];
            for i in (0..counts.len()).filter(|i| self.labels[*i] == j as i64 && counts[*i] > 0.0) {
                let mut x = self.features[i].clone();
                let mut distance = norm(&subtract(&x, &before));
                if config.distance == CenterDistance::Cosine {
                    x = unit(&x);
                    distance = norm(&subtract(&x, &unit(&before)));
                }
                let beyond = match config.radius > 0.0 {
                    true => (1.0 - config.radius / distance).max(0.0),
                    false => 1.0,
                };
                for (pull, offset) in pull.iter_mut().zip(subtract(&x, &before)) {
                    *pull += counts[i] * beyond * offset;
                }
            }
            let divisor = match rule.normalization {
                Normalization::Paper => 1.0 + total,
                Normalization::Mean => total,
                Normalization::Sum => 1.0,
            };
            if total > 0.0 {
                for (value, pull) in center.iter_mut().zip(pull) {
                    *value += rule.alpha * pull / divisor;
                }
            }
        }
        centers
    }
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn unit(x: &[f64]) -> Vec<f64> {
    x.iter().map(|v| v / norm(x)).collect()
}

fn subtract(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x - y).collect()
}

/// The direct rules, at the given rate.
pub fn direct_rules(alpha: f64) -> [UpdateRule; 3] {
    [DirectRule::paper(), DirectRule::mean(), DirectRule::sum()]
        .map(|rule| rule.with_alpha(alpha).into())
}

/// A configuration, and whether its losses are left as they are, one per sample.
#[derive(Clone, Debug)]
pub struct Case {
    pub config: CenterLossConfig,
    pub per_sample: bool,
}

impl Case {
    pub fn forward(
        &self,
        loss: &CenterLoss,
        batch: impl Into<Batch>,
    ) -> Result<Tensor<1>, CenterLossError> {
        if self.per_sample {
            loss.try_forward_no_reduction(batch)
        } else {
            loss.try_forward(batch)
        }
    }

    pub fn name(&self) -> String {
        format!("per sample: {}, {}", self.per_sample, self.config)
    }
}

/// Every rule with every way of measuring, weighting and reducing.
pub fn every_case(plain: &Plain) -> Vec<Case> {
    let mut cases = vec![];
    let mut rules = direct_rules(0.3).to_vec();
    rules.extend([UpdateRule::Gradient, UpdateRule::Frozen]);
    for rule in rules {
        for distance in [CenterDistance::Euclidean, CenterDistance::Cosine] {
            for radius in [0.0, 0.75] {
                for balance in [ClassBalance::None, ClassBalance::Histogram] {
                    for (reduction, per_sample) in [
                        (Reduction::Mean, false),
                        (Reduction::Sum, false),
                        (Reduction::BatchMean, false),
                        (Reduction::Auto, false),
                        (Reduction::Mean, true),
                    ] {
                        let config = plain
                            .config()
                            .with_update_rule(rule.clone())
                            .with_distance(distance)
                            .with_radius(radius)
                            .with_class_balance(balance)
                            .with_reduction(reduction)
                            .with_lambda(0.7);
                        let weights = (0..plain.centers.len()).map(|j| 0.5 + j as f64).collect();
                        let weighted = config
                            .clone()
                            .with_class_weights(Some(weights))
                            .with_ignore_label(Some(1));
                        cases.extend([config, weighted].map(|config| Case { config, per_sample }));
                    }
                }
            }
        }
    }
    cases
}

fn batches() -> [Plain; 2] {
    let plain = Plain::new(9, 4, 3, 5);
    [plain.clone(), plain.with_weights()]
}

#[test]
fn value_and_update_equal_nested_loops() {
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        for plain in batches() {
            for mut case in every_case(&plain) {
                for checking in [Checking::Strict, Checking::Deferred] {
                    case.config.checking = checking;
                    let loss = plain.loss(&case.config, &device);
                    let value = case.forward(&loss, plain.batch(&device)).unwrap();
                    let name = case.name();
                    assert_close(&name, &values(value), &plain.value(&case), 1e-12);
                    let updated = plain.updated(&case.config).concat();
                    assert_close(&name, &values(loss.centers()), &updated, 1e-12);
                    assert_eq!(loss.take_left_out(), Ok(LeftOut::default()));
                }
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    const STEP: f64 = 1e-5;
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        for plain in batches() {
            for case in every_case(&plain) {
                let loss = plain.loss(&case.config, &device);
                let features = plain.features(&device).require_grad();
                let batch = Batch::new(features.clone(), plain.labels(&device));
                let batch = match plain.weights(&device) {
                    Some(weights) => batch.with_weights(weights),
                    None => batch,
                };
                let value = case.forward(&loss, batch).unwrap();
                let gradients = value.sum().backward();
                let total = |plain: &Plain| plain.value(&case).iter().sum::<f64>();
                let slope = |change: &dyn Fn(&mut Plain, f64)| {
                    let (mut up, mut down) = (plain.clone(), plain.clone());
                    change(&mut up, STEP);
                    change(&mut down, -STEP);
                    (total(&up) - total(&down)) / (2.0 * STEP)
                };

                let gradient = features.grad(&gradients).unwrap();
                let mut expected = vec![];
                for i in 0..plain.features.len() {
                    for d in 0..plain.features[i].len() {
                        expected.push(slope(&|plain, step| plain.features[i][d] += step));
                    }
                }
                let name = case.name();
                assert_close(&name, &values(gradient), &expected, 1e-8);

                let gradients = GradientsParams::from_grads(gradients, &loss);
                let of_centers = gradients.get::<2>(centers_id(&loss));
                if case.config.update_rule != UpdateRule::Gradient {
                    assert!(of_centers.is_none(), "{name}");
                    continue;
                }
                let mut expected = vec![];
                for j in 0..plain.centers.len() {
                    for d in 0..plain.centers[j].len() {
                        expected.push(slope(&|plain, step| plain.centers[j][d] += step));
                    }
                }
                assert_close(&name, &values(of_centers.unwrap()), &expected, 1e-8);
            }
        }
    }
}

#[test]
fn single_precision_equals_nested_loops() {
    for device in devices_with(DType::F32).into_iter().map(Device::autodiff) {
        for plain in batches() {
            for mut case in every_case(&plain) {
                for checking in [Checking::Strict, Checking::Deferred] {
                    case.config.checking = checking;
                    case.config.precision = Precision::F32;
                    let single = |rows: &[Vec<f64>]| typed_matrix(rows, DType::F32, &device);
                    let weights = plain
                        .weights
                        .as_deref()
                        .map(|w| Tensor::<1>::from_data(w, (&device, DType::F32)));
                    let loss = case
                        .config
                        .init_with_centers(single(&plain.centers))
                        .unwrap();
                    let batch = Batch::new(single(&plain.features), plain.labels(&device));
                    let batch = match weights {
                        Some(weights) => batch.with_weights(weights),
                        None => batch,
                    };
                    let value = case.forward(&loss, batch).unwrap();
                    let name = case.name();
                    assert_close(&name, &values(value), &plain.value(&case), 1e-5);
                    let updated = plain.updated(&case.config).concat();
                    assert_close(&name, &values(loss.centers()), &updated, 1e-5);
                }
            }
        }
    }
}
