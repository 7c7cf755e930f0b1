//! Proxy losses against nested loops in f64, and their gradients against central differences.

use burn::nn::loss::Reduction;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Gradients, Tensor};
use burn_center_loss::{
    Batch, Checking, ClassBalance, Denominator, LeftOut, Precision, ProxyAnchor, ProxyAnchorConfig,
    ProxyError, ProxyNca, ProxyNcaConfig, SoftTriple, SoftTripleConfig,
};

use crate::center_plain::Plain;
use crate::devices::values;
use crate::fixtures::assert_close;
use crate::margin_plain::f64_devices;
use crate::storage::centers_id;
use crate::tensors::typed_matrix;

/// The configuration of any proxy loss.
#[derive(Clone, Debug)]
pub enum Config {
    Anchor(ProxyAnchorConfig),
    Nca(ProxyNcaConfig),
    SoftTriple(SoftTripleConfig),
}

/// Any proxy loss.
#[derive(Clone, Debug)]
pub enum Loss {
    Anchor(ProxyAnchor),
    Nca(ProxyNca),
    SoftTriple(SoftTriple),
}

/// The same expression for each kind of loss or configuration.
macro_rules! of_each {
    ($any:expr, $of:ident => $expression:expr) => {
        match $any {
            Self::Anchor($of) => $expression,
            Self::Nca($of) => $expression,
            Self::SoftTriple($of) => $expression,
        }
    };
}

impl Config {
    pub fn try_make(&self, device: &Device) -> Result<Loss, ProxyError> {
        Ok(match self {
            Self::Anchor(config) => Loss::Anchor(config.try_init(device)?),
            Self::Nca(config) => Loss::Nca(config.try_init(device)?),
            Self::SoftTriple(config) => Loss::SoftTriple(config.try_init(device)?),
        })
    }

    pub fn make(&self, device: &Device) -> Loss {
        self.try_make(device).unwrap()
    }

    pub fn try_with_centers(&self, centers: Tensor<2>) -> Result<Loss, ProxyError> {
        Ok(match self {
            Self::Anchor(config) => Loss::Anchor(config.init_with_centers(centers)?),
            Self::Nca(config) => Loss::Nca(config.init_with_centers(centers)?),
            Self::SoftTriple(config) => Loss::SoftTriple(config.init_with_centers(centers)?),
        })
    }

    pub fn sub_centers(&self) -> usize {
        match self {
            Self::Anchor(_) | Self::Nca(_) => 1,
            Self::SoftTriple(config) => config.sub_centers,
        }
    }

    pub fn num_classes(&self) -> usize {
        of_each!(self, config => config.num_classes)
    }

    pub fn ignore_label(&self) -> Option<i64> {
        of_each!(self, config => config.ignore_label)
    }

    pub fn with_checking(mut self, checking: Checking) -> Self {
        of_each!(&mut self, config => config.checking = checking);
        self
    }

    pub fn with_ignore_label(mut self, label: Option<i64>) -> Self {
        of_each!(&mut self, config => config.ignore_label = label);
        self
    }

    pub fn with_precision(mut self, precision: Precision) -> Self {
        of_each!(&mut self, config => config.precision = precision);
        self
    }

    /// Weights of classes, class balance and reduction, of a loss that is a sum over samples.
    fn weighing(&self) -> Option<(Option<&[f64]>, ClassBalance, &Reduction)> {
        match self {
            Self::Anchor(_) => None,
            Self::Nca(config) => Some((
                config.class_weights.as_deref(),
                config.class_balance,
                &config.reduction,
            )),
            Self::SoftTriple(config) => Some((
                config.class_weights.as_deref(),
                config.class_balance,
                &config.reduction,
            )),
        }
    }

    pub fn is_mean_over_rows(&self) -> bool {
        matches!(self.weighing(), Some((_, _, Reduction::BatchMean)))
    }

    /// The name of the configuration with its numbers.
    pub fn name(&self) -> String {
        of_each!(self, config => config.to_string())
    }
}

impl Loss {
    pub fn try_forward(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, ProxyError> {
        of_each!(self, loss => loss.try_forward(batch))
    }

    pub fn try_evaluate(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, ProxyError> {
        of_each!(self, loss => loss.try_evaluate(batch))
    }

    /// `None` for a loss that has no loss per sample.
    pub fn try_forward_no_reduction(
        &self,
        batch: impl Into<Batch>,
    ) -> Option<Result<Tensor<1>, ProxyError>> {
        match self {
            Self::Anchor(_) => None,
            Self::Nca(loss) => Some(loss.try_forward_no_reduction(batch)),
            Self::SoftTriple(loss) => Some(loss.try_forward_no_reduction(batch)),
        }
    }

    pub fn logits(&self, features: Tensor<2>) -> Result<Tensor<2>, ProxyError> {
        of_each!(self, loss => loss.logits(features))
    }

    pub fn centers(&self) -> Tensor<2> {
        of_each!(self, loss => loss.centers())
    }

    pub fn take_left_out(&self) -> Result<LeftOut, ProxyError> {
        of_each!(self, loss => loss.take_left_out())
    }

    /// The gradient of the proxies, if there is one.
    pub fn centers_gradient(&self, gradients: Gradients) -> Option<Tensor<2>> {
        of_each!(self, loss => {
            GradientsParams::from_grads(gradients, loss).get::<2>(centers_id(loss))
        })
    }
}

/// A configuration, and whether its losses are left as they are, one per sample.
#[derive(Clone, Debug)]
pub struct Case {
    pub config: Config,
    pub per_sample: bool,
}

impl Case {
    pub fn forward(&self, loss: &Loss, batch: impl Into<Batch>) -> Result<Tensor<1>, ProxyError> {
        if self.per_sample {
            loss.try_forward_no_reduction(batch)
                .expect("only losses over samples are left per sample")
        } else {
            loss.try_forward(batch)
        }
    }

    pub fn name(&self) -> String {
        format!("per sample: {}, {}", self.per_sample, self.config.name())
    }
}

/// A way of weighting and reducing a loss over samples.
struct Weighing {
    per_sample: bool,
    balance: ClassBalance,
    reduction: Reduction,
    class_weights: Option<Vec<f64>>,
    ignore_label: Option<i64>,
}

/// Every way, for four classes.
fn weighings() -> Vec<Weighing> {
    let mut weighings = vec![];
    for balance in [ClassBalance::None, ClassBalance::Histogram] {
        for (per_sample, reduction) in [
            (false, Reduction::Mean),
            (false, Reduction::Sum),
            (false, Reduction::BatchMean),
            (true, Reduction::Mean),
        ] {
            let weights = Some(vec![0.5, 1.5, 2.5, 0.0]);
            for (class_weights, ignore_label) in [(None, None), (weights, Some(1))] {
                weighings.push(Weighing {
                    per_sample,
                    balance,
                    reduction: reduction.clone(),
                    class_weights,
                    ignore_label,
                });
            }
        }
    }
    weighings
}

/// Every loss with every option, for four classes of three columns.
pub fn every_case() -> Vec<Case> {
    let mut configs = vec![];
    for (alpha, margin) in [(1.0, 0.0), (8.0, 0.1), (3.0, 0.5)] {
        for ignore_label in [None, Some(1)] {
            let config = ProxyAnchorConfig::new(4, 3)
                .with_alpha(alpha)
                .with_margin(margin)
                .with_ignore_label(ignore_label);
            configs.push((Config::Anchor(config), false));
        }
    }
    for weighing in weighings() {
        let Weighing {
            per_sample,
            balance,
            reduction,
            class_weights,
            ignore_label,
        } = weighing;
        for (denominator, scale) in [
            (Denominator::AllClasses, 1.0),
            (Denominator::OtherClasses, 2.5),
        ] {
            let config = ProxyNcaConfig::new(4, 3)
                .with_denominator(denominator)
                .with_softmax_scale(scale)
                .with_class_balance(balance)
                .with_reduction(reduction.clone())
                .with_class_weights(class_weights.clone())
                .with_ignore_label(ignore_label);
            configs.push((Config::Nca(config), per_sample));
        }
        for (sub_centers, scale, gamma, margin) in [(1, 5.0, 0.1, 0.0), (3, 2.0, 0.4, 0.2)] {
            let config = SoftTripleConfig::new(4, 3)
                .with_sub_centers(sub_centers)
                .with_scale(scale)
                .with_gamma(gamma)
                .with_margin(margin)
                .with_class_balance(balance)
                .with_reduction(reduction.clone())
                .with_class_weights(class_weights.clone())
                .with_ignore_label(ignore_label);
            configs.push((Config::SoftTriple(config), per_sample));
        }
    }
    configs
        .into_iter()
        .map(|(config, per_sample)| Case {
            config: config.with_precision(Precision::F64),
            per_sample,
        })
        .collect()
}

/// A batch of nine samples of four classes, with as many proxies as the configuration has. The last class
/// has no sample.
pub fn batch(config: &Config) -> Plain {
    let mut plain = Plain::new(9, 4 * config.sub_centers(), 3, 11);
    for label in &mut plain.labels {
        *label %= 3;
    }
    plain
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// The cosine of two vectors; 0 if one of them is zero.
fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let lengths = dot(x, x).sqrt() * dot(y, y).sqrt();
    if lengths == 0.0 {
        0.0
    } else {
        dot(x, y) / lengths
    }
}

fn log_sum_exp(exponents: impl Iterator<Item = f64>) -> f64 {
    let exponents: Vec<f64> = exponents.collect();
    let largest = exponents.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = exponents.iter().map(|z| (z - largest).exp()).sum();
    largest + sum.ln()
}

/// The formulas of the docs.
struct Formulas<'a> {
    config: &'a Config,
    plain: &'a Plain,
}

impl Formulas<'_> {
    /// The weight of each sample, 0 for an ignored one.
    fn counts(&self) -> Vec<f64> {
        let weights = self.plain.weights.as_deref();
        let count = |i: usize| match self.config.ignore_label() == Some(self.plain.labels[i]) {
            true => 0.0,
            false => weights.map_or(1.0, |weights| weights[i]),
        };
        (0..self.plain.labels.len()).map(count).collect()
    }

    fn class(&self, i: usize) -> usize {
        self.plain.labels[i] as usize
    }

    fn anchor(&self, config: &ProxyAnchorConfig) -> f64 {
        let counts = self.counts();
        let (mut positive, mut negative, mut present) = (0.0, 0.0, 0.0);
        for (j, proxy) in self.plain.centers.iter().enumerate() {
            // The exponent of the 1 is 0.
            let (mut own, mut others) = (vec![0.0], vec![0.0]);
            for (i, x) in self.plain.features.iter().enumerate() {
                let cosine = cosine(x, proxy);
                if counts[i] == 0.0 {
                    continue;
                }
                if self.class(i) == j {
                    own.push(counts[i].ln() - config.alpha * (cosine - config.margin));
                } else {
                    others.push(counts[i].ln() + config.alpha * (cosine + config.margin));
                }
            }
            present += f64::from(own.len() > 1);
            positive += log_sum_exp(own.into_iter());
            negative += log_sum_exp(others.into_iter());
        }
        let negative = negative / config.num_classes as f64;
        if present > 0.0 {
            positive / present + negative
        } else {
            negative
        }
    }

    fn nca(&self, config: &ProxyNcaConfig, i: usize) -> f64 {
        let squared =
            |j: usize| 2.0 - 2.0 * cosine(&self.plain.features[i], &self.plain.centers[j]);
        let exponent = |j: usize| -config.softmax_scale * squared(j);
        let own = self.class(i);
        let others = (0..config.num_classes)
            .filter(|j| config.denominator == Denominator::AllClasses || *j != own);
        log_sum_exp(others.map(exponent)) - exponent(own)
    }

    fn soft_triple(&self, config: &SoftTripleConfig, i: usize) -> f64 {
        let similarity = |proxies: &[Vec<f64>]| {
            let cosines: Vec<f64> = proxies
                .iter()
                .map(|proxy| cosine(&self.plain.features[i], proxy))
                .collect();
            let total = log_sum_exp(cosines.iter().map(|cosine| cosine / config.gamma));
            let share = |cosine: &f64| (cosine / config.gamma - total).exp() * cosine;
            cosines.iter().map(share).sum::<f64>()
        };
        let mut scores: Vec<f64> = self
            .plain
            .centers
            .chunks(config.sub_centers)
            .map(similarity)
            .collect();
        scores[self.class(i)] -= config.margin;
        let own = config.scale * scores[self.class(i)];
        log_sum_exp(scores.into_iter().map(|score| config.scale * score)) - own
    }

    fn values(&self, per_sample: bool) -> Vec<f64> {
        let Some((class_weights, balance, reduction)) = self.config.weighing() else {
            let Config::Anchor(config) = self.config else {
                panic!("every other loss is over samples");
            };
            return vec![self.anchor(config)];
        };
        let counts = self.counts();
        let of_class = |i: usize| class_weights.map_or(1.0, |weights| weights[self.class(i)]);
        let losses: Vec<f64> = (0..counts.len())
            .map(|i| {
                if counts[i] == 0.0 {
                    return 0.0;
                }
                let loss = match self.config {
                    Config::Anchor(_) => panic!("there is no loss per sample"),
                    Config::Nca(config) => self.nca(config, i),
                    Config::SoftTriple(config) => self.soft_triple(config, i),
                };
                let divisor: f64 = match balance {
                    ClassBalance::None => 1.0,
                    ClassBalance::Histogram => (0..counts.len())
                        .filter(|k| self.class(*k) == self.class(i))
                        .map(|k| counts[k])
                        .sum(),
                };
                counts[i] * of_class(i) * loss / divisor
            })
            .collect();
        let sum: f64 = losses.iter().sum();
        match (per_sample, reduction) {
            (true, _) => losses,
            (false, Reduction::Sum) => vec![sum],
            (false, Reduction::BatchMean) => vec![sum / losses.len() as f64],
            (false, Reduction::Mean | Reduction::Auto) => {
                let total: f64 = (0..counts.len()).map(|i| counts[i] * of_class(i)).sum();
                vec![if total > 0.0 { sum / total } else { 0.0 }]
            }
        }
    }
}

/// The value of a batch by the formulas.
pub fn expected(case: &Case, plain: &Plain) -> Vec<f64> {
    let config = &case.config;
    Formulas { config, plain }.values(case.per_sample)
}

/// The batch, weighted, and with zero vectors.
fn batches(case: &Case) -> [Plain; 3] {
    let plain = batch(&case.config);
    let mut with_zeros = plain.clone().with_weights();
    with_zeros.features[2] = vec![0.0; 3];
    with_zeros.centers[1] = vec![0.0; 3];
    [plain.clone(), plain.with_weights(), with_zeros]
}

#[test]
fn values_equal_nested_loops() {
    for device in f64_devices() {
        for case in every_case() {
            for plain in batches(&case) {
                for checking in [Checking::Strict, Checking::Deferred] {
                    let config = case.config.clone().with_checking(checking);
                    let loss = config
                        .try_with_centers(typed_matrix(&plain.centers, DType::F64, &device))
                        .unwrap();
                    let name = case.name();
                    let value = case.forward(&loss, plain.batch(&device)).unwrap();
                    assert_close(&name, &values(value), &expected(&case, &plain), 1e-11);
                    let reduced = Case {
                        config,
                        per_sample: false,
                    };
                    let value = loss.try_evaluate(plain.batch(&device)).unwrap();
                    assert_close(&name, &values(value), &expected(&reduced, &plain), 1e-11);
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
        for case in every_case() {
            let [plain, weighted, _] = batches(&case);
            for plain in [plain, weighted] {
                let loss = case
                    .config
                    .try_with_centers(typed_matrix(&plain.centers, DType::F64, &device))
                    .unwrap();
                let features = plain.features(&device).require_grad();
                let batch = Batch::new(features.clone(), plain.labels(&device));
                let batch = match plain.weights(&device) {
                    Some(weights) => batch.with_weights(weights),
                    None => batch,
                };
                let gradients = case.forward(&loss, batch).unwrap().sum().backward();
                let total = |plain: &Plain| expected(&case, plain).iter().sum::<f64>();
                let slope = |change: &dyn Fn(&mut Plain, f64)| {
                    let (mut up, mut down) = (plain.clone(), plain.clone());
                    change(&mut up, STEP);
                    change(&mut down, -STEP);
                    (total(&up) - total(&down)) / (2.0 * STEP)
                };
                let of_features = values(features.grad(&gradients).unwrap());
                let of_centers = values(loss.centers_gradient(gradients).unwrap());
                let (rows, columns) = (plain.features.len(), plain.features[0].len());
                let entries = |rows: usize| (0..rows * columns).map(|e| (e / columns, e % columns));
                let differences: Vec<f64> = entries(rows)
                    .map(|(i, d)| slope(&|plain, step| plain.features[i][d] += step))
                    .collect();
                assert_close(&case.name(), &of_features, &differences, 1e-7);
                let differences: Vec<f64> = entries(plain.centers.len())
                    .map(|(j, d)| slope(&|plain, step| plain.centers[j][d] += step))
                    .collect();
                assert_close(&case.name(), &of_centers, &differences, 1e-7);
            }
        }
    }
}
