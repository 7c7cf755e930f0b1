//! Proxy losses against the numbers of pytorch-metric-learning 2.9.

use burn::tensor::{DType, Tensor};
use burn_center_loss::{ProxyAnchorConfig, ProxyNcaConfig, SoftTripleConfig};
use serde::Deserialize;

use crate::contract::Case as Loss;
use crate::devices::autodiff_devices;
use crate::fixtures::{assert_close, cases};
use crate::plain::Plain;

const TOLERANCE: f64 = 1e-5;

/// What all cases have.
#[derive(Deserialize)]
struct Batch {
    name: String,
    num_classes: usize,
    feature_dim: usize,
    labels: Vec<i64>,
    embeddings: Vec<Vec<f64>>,
    loss: f64,
    grad_embeddings: Vec<Vec<f64>>,
}

impl Batch {
    /// Compares the loss and both gradients with those of the file.
    fn check(&self, loss: &Loss, proxies: &[Vec<f64>], grad_proxies: &[Vec<f64>]) {
        let plain = self.plain(proxies);
        for device in autodiff_devices() {
            let name = |what: &str| format!("{}, {device:?}: {what}", self.name);
            let found = loss.run_with(&plain, DType::F32, &device, Tensor::sum);
            assert_close(&name("loss"), &found.value, &[self.loss], TOLERANCE);
            let expected = self.grad_embeddings.concat();
            assert_close(
                &name("features"),
                &found.features.concat(),
                &expected,
                TOLERANCE,
            );
            let (gradient, expected) = (found.of_centers.unwrap(), grad_proxies.concat());
            assert_close(&name("proxies"), &gradient, &expected, TOLERANCE);
        }
    }

    fn plain(&self, proxies: &[Vec<f64>]) -> Plain {
        Plain {
            features: self.embeddings.clone(),
            labels: self.labels.clone(),
            weights: None,
            centers: proxies.to_vec(),
        }
    }
}

#[test]
fn pml_proxy_anchor() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        batch: Batch,
        alpha: f64,
        margin: f64,
        proxies: Vec<Vec<f64>>,
        grad_proxies: Vec<Vec<f64>>,
        positive_term_per_class: Vec<f64>,
        negative_term_per_class: Vec<f64>,
    }
    for case in cases::<Case>("pml_proxy_anchor.json") {
        let config = ProxyAnchorConfig::new(case.batch.num_classes, case.batch.feature_dim)
            .with_scale(case.alpha)
            .with_margin(case.margin);
        let loss = Loss::new(config);
        case.batch.check(&loss, &case.proxies, &case.grad_proxies);

        // The terms of the file are those of the formula.
        let mut classes = case.batch.labels.clone();
        classes.sort_unstable();
        classes.dedup();
        let positive: f64 = case.positive_term_per_class.iter().sum();
        let negative: f64 = case.negative_term_per_class.iter().sum();
        let of_terms = positive / classes.len() as f64 + negative / case.batch.num_classes as f64;
        assert_close(&case.batch.name, &[of_terms], &[case.batch.loss], 1e-6);
    }
}

#[test]
fn pml_proxy_nca() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        batch: Batch,
        softmax_scale: f64,
        proxies: Vec<Vec<f64>>,
        grad_proxies: Vec<Vec<f64>>,
        per_sample_loss: Vec<f64>,
    }
    for case in cases::<Case>("pml_proxy_nca.json") {
        for budget in [usize::MAX, 0] {
            let config = ProxyNcaConfig::new(case.batch.num_classes, case.batch.feature_dim)
                .with_scale(case.softmax_scale)
                .with_score_budget(budget);
            let mut loss = Loss::new(config);
            case.batch.check(&loss, &case.proxies, &case.grad_proxies);
            loss.per_sample = true;
            for device in autodiff_devices() {
                let found = loss.run(&case.batch.plain(&case.proxies), &device);
                assert_close(
                    &case.batch.name,
                    &found.value,
                    &case.per_sample_loss,
                    TOLERANCE,
                );
            }
        }
    }
}

#[test]
fn pml_soft_triple() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        batch: Batch,
        centers_per_class: usize,
        la: f64,
        gamma: f64,
        margin: f64,
        weight: Vec<Vec<f64>>,
        grad_weight: Vec<Vec<f64>>,
    }
    for case in cases::<Case>("pml_soft_triple.json") {
        let config = SoftTripleConfig::new(case.batch.num_classes, case.batch.feature_dim)
            .with_sub_centers(case.centers_per_class)
            .with_scale(case.la)
            .with_gamma(case.gamma)
            .with_margin(case.margin);
        let (proxies, gradient) = (columns(&case.weight), columns(&case.grad_weight));
        case.batch.check(&Loss::new(config), &proxies, &gradient);
    }
}

/// The columns of a matrix.
fn columns(matrix: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..matrix[0].len())
        .map(|column| matrix.iter().map(|row| row[column]).collect())
        .collect()
}
