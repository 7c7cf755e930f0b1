//! Center loss against nested loops in f64, and its gradients against central differences.

use burn::tensor::Device;
use burn_center_loss::center::{DirectRule, Normalization};
use burn_center_loss::{
    CenterDType, CenterDistance, CenterLoss, CenterLossConfig, Checking, UpdateRule,
};

use crate::contract::Case;
use crate::devices::{devices_with, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, Weighing, assert_gradients, norm, weighings};

/// The formulas of the docs.
pub struct Formulas<'a> {
    pub config: &'a CenterLossConfig,
    pub weighing: &'a Weighing,
}

impl Formulas<'_> {
    pub fn losses(&self, plain: &Plain) -> Vec<f64> {
        let config = self.config;
        plain.weighed(self.weighing, |i| {
            let mut x = plain.features[i].clone();
            let mut c = plain.centers[plain.labels[i] as usize].clone();
            if config.distance == CenterDistance::Cosine {
                x = unit(&x);
                c = unit(&c);
            }
            let beyond = (norm(&subtract(&x, &c)) - config.radius).max(0.0);
            config.lambda * 0.5 * beyond * beyond
        })
    }

    /// The centers after one update.
    pub fn updated(&self, plain: &Plain) -> Vec<f64> {
        let UpdateRule::Direct(rule) = &self.config.update_rule else {
            return plain.centers.concat();
        };
        let counts = plain.counts(self.weighing.ignore_label);
        let mut centers = plain.centers.clone();
        for (class, center) in centers.iter_mut().enumerate() {
            let before = center.clone();
            let samples = (0..counts.len()).filter(|i| plain.labels[*i] == class as i64);
            let (mut total, mut sum) = (0.0, vec![0.0; before.len()]);
            for i in samples.filter(|i| counts[*i] > 0.0) {
                let (x, distance) = match self.config.distance {
                    CenterDistance::Euclidean => {
                        let x = plain.features[i].clone();
                        let distance = norm(&subtract(&x, &before));
                        (x, distance)
                    }
                    CenterDistance::Cosine => {
                        let x = unit(&plain.features[i]);
                        let distance = norm(&subtract(&x, &unit(&before)));
                        (x, distance)
                    }
                };
                let beyond = match self.config.radius > 0.0 {
                    true => (1.0 - self.config.radius / distance).max(0.0),
                    false => 1.0,
                };
                total += counts[i];
                for (sum, difference) in sum.iter_mut().zip(subtract(&x, &before)) {
                    *sum += counts[i] * beyond * difference;
                }
            }
            if total > 0.0 {
                let step = rule.alpha / divisor(rule, total);
                center
                    .iter_mut()
                    .zip(sum)
                    .for_each(|(value, sum)| *value += step * sum);
            }
        }
        centers.concat()
    }
}

/// What a direct rule divides the sum of the differences of a class by.
pub fn divisor(rule: &DirectRule, total: f64) -> f64 {
    match rule.normalization {
        Normalization::Paper => 1.0 + total,
        Normalization::Mean => total,
        Normalization::Sum => 1.0,
    }
}

fn unit(x: &[f64]) -> Vec<f64> {
    x.iter().map(|v| v / norm(x)).collect()
}

fn subtract(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x - y).collect()
}

/// The direct rules, at the given rate.
pub fn direct_rules(alpha: f64) -> [UpdateRule; 3] {
    [UpdateRule::paper(), UpdateRule::mean(), UpdateRule::sum()].map(|rule| rule.with_alpha(alpha))
}

/// Every rule with every way of measuring, weighing and reducing.
fn every_case() -> Vec<(CenterLossConfig, Weighing, Case)> {
    let mut cases = vec![];
    let mut rules = direct_rules(0.3).to_vec();
    rules.extend([UpdateRule::Gradient, UpdateRule::Frozen]);
    for rule in rules {
        for distance in [CenterDistance::Euclidean, CenterDistance::Cosine] {
            for radius in [0.0, 0.75] {
                for weighing in weighings() {
                    let config = CenterLossConfig::new(4, 3)
                        .with_dtype(CenterDType::F64)
                        .with_update_rule(rule.clone())
                        .with_distance(distance)
                        .with_radius(radius)
                        .with_lambda(0.7);
                    let case = Case::new(config.clone()).weighed(&weighing);
                    cases.push((config, weighing, case));
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

/// A loss with the centers of a batch, in f64.
pub fn loss(config: &CenterLossConfig, plain: &Plain, device: &Device) -> CenterLoss {
    let config = config.clone().with_dtype(CenterDType::F64);
    config.init_with_centers(plain.centers(device)).unwrap()
}

/// The centers after one update by the formulas, without weights of classes.
pub fn updated(config: &CenterLossConfig, plain: &Plain) -> Vec<f64> {
    let mut weighing = weighings().swap_remove(0);
    weighing.ignore_label = config.ignore_label;
    let weighing = &weighing;
    Formulas { config, weighing }.updated(plain)
}

#[test]
fn value_and_update_equal_nested_loops() {
    for device in devices_with(burn::tensor::DType::F64) {
        let device = device.autodiff();
        for plain in batches() {
            for (config, weighing, case) in every_case() {
                for checking in [Checking::Strict, Checking::Deferred] {
                    let found = case.checking(checking).run(&plain, &device);
                    let (config, weighing, name) = (&config, &weighing, case.name());
                    let formulas = Formulas { config, weighing };
                    assert_close(&name, &found.value, &formulas.losses(&plain), 1e-12);
                    let centers = values(found.loss.centers());
                    assert_close(&name, &centers, &formulas.updated(&plain), 1e-12);
                    assert_eq!(found.loss.take_skipped().unwrap().total(), 0);
                }
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    for device in devices_with(burn::tensor::DType::F64) {
        let device = device.autodiff();
        for plain in batches() {
            for (config, weighing, case) in every_case() {
                let (config, weighing) = (&config, &weighing);
                let losses = |plain: &_| Formulas { config, weighing }.losses(plain);
                assert_gradients(&case, &plain, &device, &losses, 1e-8);
            }
        }
    }
}
