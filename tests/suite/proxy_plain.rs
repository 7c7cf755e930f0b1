//! Proxy losses against nested loops in f64, and their gradients against central differences.

use burn_center_loss::proxy::Denominator;
use burn_center_loss::{
    CenterDType, Checking, ProxyAnchorConfig, ProxyNcaConfig, SoftTripleConfig,
};

use crate::contract::Case;
use crate::devices::{f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, Weighing, assert_gradients, cosine, log_sum_exp, weighings};

/// The configuration of any proxy loss.
#[derive(Clone, Debug)]
pub enum Config {
    Anchor(ProxyAnchorConfig),
    Nca(ProxyNcaConfig),
    SoftTriple(SoftTripleConfig),
}

impl Config {
    pub fn case(&self) -> Case {
        match self.clone() {
            Self::Anchor(config) => Case::new(config),
            Self::Nca(config) => Case::new(config),
            Self::SoftTriple(config) => Case::new(config),
        }
    }

    fn anchor(&self, config: &ProxyAnchorConfig, plain: &Plain, counts: &[f64]) -> f64 {
        let (mut positive, mut negative, mut present) = (0.0, 0.0, 0.0);
        for (j, proxy) in plain.centers.iter().enumerate() {
            // The exponent of the 1 is 0.
            let (mut of_class, mut others) = (vec![0.0], vec![0.0]);
            for (i, x) in plain.features.iter().enumerate() {
                let cosine = cosine(x, proxy);
                if counts[i] == 0.0 {
                    continue;
                }
                if plain.labels[i] as usize == j {
                    of_class.push(counts[i].ln() - config.scale * (cosine - config.margin));
                } else {
                    others.push(counts[i].ln() + config.scale * (cosine + config.margin));
                }
            }
            present += f64::from(of_class.len() > 1);
            positive += log_sum_exp(of_class.into_iter());
            negative += log_sum_exp(others.into_iter());
        }
        // No class is present where no sample counts, and both sums are 0.
        positive / f64::max(present, 1.0) + negative / config.num_classes as f64
    }

    fn nca(config: &ProxyNcaConfig, plain: &Plain, i: usize) -> f64 {
        let squared = |j: usize| 2.0 - 2.0 * cosine(&plain.features[i], &plain.centers[j]);
        let exponent = |j: usize| -config.scale * squared(j);
        let class = plain.labels[i] as usize;
        let others = (0..config.num_classes)
            .filter(|j| config.denominator == Denominator::AllClasses || *j != class);
        log_sum_exp(others.map(exponent)) - exponent(class)
    }

    fn soft_triple(config: &SoftTripleConfig, plain: &Plain, i: usize) -> f64 {
        let similarity = |proxies: &[Vec<f64>]| {
            let cosines = proxies
                .iter()
                .map(|proxy| cosine(&plain.features[i], proxy));
            let total = log_sum_exp(cosines.clone().map(|cosine| cosine / config.gamma));
            let share = |cosine: f64| (cosine / config.gamma - total).exp() * cosine;
            cosines.map(share).sum::<f64>()
        };
        let classes = plain.centers.chunks(config.sub_centers);
        let mut scores: Vec<f64> = classes.map(similarity).collect();
        scores[plain.labels[i] as usize] -= config.margin;
        let target = config.scale * scores[plain.labels[i] as usize];
        log_sum_exp(scores.into_iter().map(|score| config.scale * score)) - target
    }

    /// The value of a batch by the formulas of the docs.
    pub fn losses(&self, plain: &Plain, weighing: &Weighing) -> Vec<f64> {
        match self {
            Self::Anchor(config) => {
                vec![self.anchor(config, plain, &plain.counts(weighing.ignore_label))]
            }
            Self::Nca(config) => plain.weighed(weighing, |i| Self::nca(config, plain, i)),
            Self::SoftTriple(config) => {
                plain.weighed(weighing, |i| Self::soft_triple(config, plain, i))
            }
        }
    }

    /// The mean over a batch in which every sample counts the same.
    pub fn mean(&self, plain: &Plain) -> f64 {
        self.losses(plain, &weighings()[0])[0]
    }
}

/// Every loss with every option, for four classes of three columns.
fn every_case() -> Vec<(Config, Weighing, Case)> {
    let mut configs = vec![];
    for (scale, margin) in [(1.0, 0.0), (8.0, 0.1), (3.0, 0.5)] {
        let config = ProxyAnchorConfig::new(4, 3).with_scale(scale);
        configs.push(Config::Anchor(config.with_margin(margin)));
    }
    for (denominator, scale) in [
        (Denominator::AllClasses, 1.0),
        (Denominator::OtherClasses, 2.5),
    ] {
        let config = ProxyNcaConfig::new(4, 3).with_scale(scale);
        configs.push(Config::Nca(config.with_denominator(denominator)));
    }
    for (sub_centers, scale, gamma, margin) in [(1, 5.0, 0.1, 0.0), (3, 2.0, 0.4, 0.2)] {
        let config = SoftTripleConfig::new(4, 3)
            .with_sub_centers(sub_centers)
            .with_scale(scale);
        configs.push(Config::SoftTriple(
            config.with_gamma(gamma).with_margin(margin),
        ));
    }
    let mut cases = vec![];
    for config in configs {
        // Only the ignored label concerns a loss that is no sum over samples.
        let ways = if matches!(config, Config::Anchor(_)) {
            2
        } else {
            16
        };
        for weighing in weighings().into_iter().take(ways) {
            let case = config.case().in_type(CenterDType::F64).weighed(&weighing);
            cases.push((config.clone(), weighing, case));
        }
    }
    cases
}

/// The batch, weighted, and with zero vectors.
fn batches(case: &Case) -> [Plain; 3] {
    let plain = case.batch();
    let mut with_zeros = plain.clone().with_weights();
    with_zeros.features[2] = vec![0.0; 3];
    with_zeros.centers[1] = vec![0.0; 3];
    [plain.clone(), plain.with_weights(), with_zeros]
}

#[test]
fn values_equal_nested_loops() {
    for device in f64_devices() {
        for (config, weighing, case) in every_case() {
            let mut alone = case.batch();
            alone.features.truncate(1);
            alone.labels.truncate(1);
            for plain in batches(&case).into_iter().chain([alone]) {
                for checking in [Checking::Strict, Checking::Deferred] {
                    let (case, name) = (case.checking(checking), case.name());
                    let found = case.run(&plain, &device);
                    assert_close(
                        &name,
                        &found.value,
                        &config.losses(&plain, &weighing),
                        1e-11,
                    );
                    let value = found.loss.try_evaluate(plain.batch(&device)).unwrap();
                    let mut reduced = weighing.clone();
                    reduced.per_sample = false;
                    assert_close(
                        &name,
                        &values(value),
                        &config.losses(&plain, &reduced),
                        1e-11,
                    );
                    assert_eq!(found.loss.take_skipped().unwrap().total(), 0);
                }
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    for device in f64_devices() {
        for (config, weighing, case) in every_case() {
            for plain in batches(&case).into_iter().take(2) {
                let losses = |plain: &_| config.losses(plain, &weighing);
                assert_gradients(&case, &plain, &device, &losses, 1e-7);
            }
        }
    }
}
