//! The center loss against the numbers of three existing implementations.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device};
use burn_center_loss::{CenterLossConfig, ClassBalance, UpdateRule};
use serde::Deserialize;

use crate::contract::{Case as Loss, Found};
use crate::devices::{autodiff_devices, values};
use crate::fixtures::{assert_close, cases};
use crate::plain::Plain;

const TOLERANCE: f64 = 1e-5;

/// The inputs that the three fixture files have in common.
#[derive(Deserialize)]
struct Inputs {
    name: String,
    batch_size: usize,
    num_classes: usize,
    feature_dim: usize,
    alpha: f64,
    labels: Vec<i64>,
    features: Vec<Vec<f64>>,
    centers_before: Vec<Vec<f64>>,
    centers_after: Vec<Vec<f64>>,
    grad_features: Vec<Vec<f64>>,
}

impl Inputs {
    fn config(&self) -> CenterLossConfig {
        CenterLossConfig::new(self.num_classes, self.feature_dim)
    }

    fn plain(&self) -> Plain {
        Plain {
            features: self.features.clone(),
            labels: self.labels.clone(),
            weights: None,
            centers: self.centers_before.clone(),
        }
    }

    /// Compares the gradients of a call.
    fn run(&self, config: CenterLossConfig, device: &Device) -> Found {
        let found = Loss::new(config).run(&self.plain(), device);
        let gradient = found.features.concat();
        self.assert_close("gradient", &gradient, &self.grad_features.concat());
        found
    }

    fn assert_close(&self, what: &str, actual: &[f64], expected: &[f64]) {
        assert_close(
            &format!("{} {what}", self.name),
            actual,
            expected,
            TOLERANCE,
        );
    }

    /// Compares the centers after a step with the gradient of the mean.
    fn assert_stepped(&self, config: CenterLossConfig, device: &Device) {
        let plain = self.plain();
        let loss = Loss::new(config).loss(&plain, device);
        let value = loss.forward(plain.typed(DType::F32, device), plain.labels(device));
        let centers = values(loss.stepped(&value, self.alpha).centers());
        self.assert_close("centers", &centers, &self.centers_after.concat());
    }
}

#[test]
fn caffe_paper_rule() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        inputs: Inputs,
        loss_weight: f64,
        loss: f64,
        weighted_loss: f64,
        centers_after_second_step: Vec<Vec<f64>>,
    }
    for device in autodiff_devices() {
        for case in cases::<Case>("caffe_center_loss.json") {
            let (inputs, plain) = (&case.inputs, case.inputs.plain());
            let batch = || (plain.typed(DType::F32, &device), plain.labels(&device));
            let rule = UpdateRule::paper().with_alpha(inputs.alpha);
            let config = inputs.config().with_update_rule(rule);
            let unweighted = Loss::new(config.clone()).loss(&plain, &device);
            let value = unweighted.try_evaluate(batch().into()).unwrap();
            inputs.assert_close("loss", &values(value), &[case.loss]);

            let Found { value, loss, .. } =
                inputs.run(config.with_lambda(case.loss_weight), &device);
            inputs.assert_close("weighted", &value, &[case.weighted_loss]);
            let centers = values(loss.centers());
            inputs.assert_close("centers", &centers, &inputs.centers_after.concat());
            loss.try_forward(batch().into()).unwrap();
            let centers = values(loss.centers());
            let expected = case.centers_after_second_step.concat();
            inputs.assert_close("centers after two steps", &centers, &expected);
        }
    }
}

#[test]
fn mxnet_histogram_weighted_gradient_rule() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        inputs: Inputs,
        lmbd: f64,
        per_sample_loss: Vec<f64>,
        loss_sum: f64,
        loss_mean: f64,
        grad_centers: Vec<Vec<f64>>,
    }
    for device in autodiff_devices() {
        for case in cases::<Case>("mxnet_center_loss.json") {
            let inputs = &case.inputs;
            let config = |reduction| {
                inputs
                    .config()
                    .with_update_rule(UpdateRule::Gradient)
                    .with_class_balance(ClassBalance::Histogram)
                    .with_lambda(case.lmbd)
                    .with_reduction(reduction)
            };
            let sum = inputs.run(config(Reduction::Sum), &device);
            inputs.assert_close("loss", &sum.value, &[case.loss_sum]);
            let of_centers = sum.of_centers.unwrap();
            let expected = case.grad_centers.concat();
            inputs.assert_close("gradient of the centers", &of_centers, &expected);
            let mean = Loss::new(config(Reduction::Mean));
            let found = mean.run(&inputs.plain(), &device);
            inputs.assert_close("mean", &found.value, &[case.loss_mean]);
            let each = Loss {
                per_sample: true,
                ..mean
            };
            let found = each.run(&inputs.plain(), &device);
            inputs.assert_close("losses", &found.value, &case.per_sample_loss);
            // The trainer there divides the gradient of the sum by the batch size.
            inputs.assert_stepped(config(Reduction::Mean), &device);
        }
    }
}

#[test]
fn kaiyangzhou_gradient_rule() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        inputs: Inputs,
        loss_float64: f64,
        grad_centers: Vec<Vec<f64>>,
    }
    for device in autodiff_devices() {
        for case in cases::<Case>("kaiyangzhou_center_loss.json") {
            let inputs = &case.inputs;
            let config = inputs
                .config()
                .with_update_rule(UpdateRule::Gradient)
                .with_lambda(2.0);
            let found = inputs.run(config.clone(), &device);
            // That code clamps the masked B x C matrix from below, which adds 1e-12 for each of the other classes, and
            // for a sample on its center too.
            let squared = |(x, y): (&Vec<f64>, &i64)| -> f64 {
                let center = &inputs.centers_before[*y as usize];
                x.iter().zip(center).map(|(x, c)| (x - c).powi(2)).sum()
            };
            let squares = inputs.features.iter().zip(&inputs.labels).map(squared);
            let clamped: f64 = squares.map(|squared| (1e-12 - squared).max(0.0)).sum();
            let clamped = clamped / inputs.batch_size as f64;
            let expected = case.loss_float64 - (inputs.num_classes - 1) as f64 * 1e-12 - clamped;
            assert!(
                (found.value[0] - expected).abs() <= TOLERANCE * expected.abs() + 1e-15,
                "{}: {:?} is not {expected}",
                inputs.name,
                found.value
            );
            let (of_centers, expected) = (found.of_centers.unwrap(), case.grad_centers.concat());
            inputs.assert_close("gradient of the centers", &of_centers, &expected);
            inputs.assert_stepped(config, &device);
        }
    }
}
