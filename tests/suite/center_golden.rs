//! The center loss against the numbers of three existing implementations.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{CenterLoss, CenterLossConfig, ClassBalance, UpdateRule};
use serde::Deserialize;

use crate::contract::LossUnderTest;
use crate::devices::{autodiff_devices, values};
use crate::fixtures::{assert_close, cases};
use crate::tensors::{labels, typed_matrix};

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

    fn loss(&self, config: CenterLossConfig, device: &Device) -> CenterLoss {
        config
            .init_with_centers(typed_matrix(&self.centers_before, DType::F32, device))
            .unwrap()
    }

    fn features(&self, device: &Device) -> Tensor<2> {
        typed_matrix(&self.features, DType::F32, device).require_grad()
    }

    fn labels(&self, device: &Device) -> Tensor<1, Int> {
        labels(&self.labels, device)
    }
}

const TOLERANCE: f64 = 1e-5;

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
            let name = |what: &str| format!("{} {what}", case.inputs.name);
            let rule = UpdateRule::paper().with_alpha(case.inputs.alpha);
            let config = case.inputs.config().with_update_rule(rule);
            let plain = case.inputs.loss(config.clone(), &device);
            let (features, labels) = (case.inputs.features(&device), case.inputs.labels(&device));
            let unweighted = plain.evaluate(features.clone(), labels.clone());
            assert_close(&name("loss"), &values(unweighted), &[case.loss], TOLERANCE);

            let loss = case
                .inputs
                .loss(config.with_lambda(case.loss_weight), &device);
            let value = loss.forward(features.clone(), labels.clone());
            let gradients = value.backward();
            let gradient = features.grad(&gradients).unwrap();
            assert_close(
                &name("weighted"),
                &values(value),
                &[case.weighted_loss],
                TOLERANCE,
            );
            assert_close(
                &name("gradient"),
                &values(gradient),
                &case.inputs.grad_features.concat(),
                TOLERANCE,
            );
            assert_close(
                &name("centers"),
                &values(loss.centers()),
                &case.inputs.centers_after.concat(),
                TOLERANCE,
            );
            loss.forward(features, labels);
            assert_close(
                &name("centers after two steps"),
                &values(loss.centers()),
                &case.centers_after_second_step.concat(),
                TOLERANCE,
            );
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
            let name = |what: &str| format!("{} {what}", case.inputs.name);
            let (features, labels) = (case.inputs.features(&device), case.inputs.labels(&device));
            let loss = |reduction| {
                let config = case
                    .inputs
                    .config()
                    .with_update_rule(UpdateRule::Gradient)
                    .with_class_balance(ClassBalance::Histogram)
                    .with_lambda(case.lmbd)
                    .with_reduction(reduction);
                case.inputs.loss(config, &device)
            };
            for (reduction, expected) in [
                (Reduction::Sum, case.loss_sum),
                (Reduction::Mean, case.loss_mean),
            ] {
                let value = loss(reduction).forward(features.clone(), labels.clone());
                assert_close(&name("loss"), &values(value), &[expected], TOLERANCE);
            }
            let each = loss(Reduction::Sum).forward_no_reduction(features.clone(), labels.clone());
            assert_close(
                &name("losses"),
                &values(each),
                &case.per_sample_loss,
                TOLERANCE,
            );

            let sum = loss(Reduction::Sum);
            let gradients = sum.forward(features.clone(), labels.clone()).backward();
            let gradient = features.grad(&gradients).unwrap();
            let of_centers = sum.of_centers(gradients).unwrap();
            assert_close(
                &name("gradient"),
                &values(gradient),
                &case.inputs.grad_features.concat(),
                TOLERANCE,
            );
            assert_close(
                &name("gradient of the centers"),
                &of_centers,
                &case.grad_centers.concat(),
                TOLERANCE,
            );

            // The trainer there steps with the gradient of the sum divided by the batch size: the gradient of the mean.
            let mean = loss(Reduction::Mean);
            let value = mean.forward(features, labels);
            let mean = mean.stepped(&value, case.inputs.alpha);
            assert_close(
                &name("centers"),
                &values(mean.centers()),
                &case.inputs.centers_after.concat(),
                TOLERANCE,
            );
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
            let name = |what: &str| format!("{} {what}", case.inputs.name);
            let config = case
                .inputs
                .config()
                .with_update_rule(UpdateRule::Gradient)
                .with_lambda(2.0);
            let loss = case.inputs.loss(config, &device);
            let (features, labels) = (case.inputs.features(&device), case.inputs.labels(&device));
            let value = loss.forward(features.clone(), labels);
            // That code clamps the masked B x C matrix from below, which adds 1e-12 for each of the other classes, and
            // for a sample on its center too.
            let clamped: f64 = case
                .inputs
                .features
                .iter()
                .zip(&case.inputs.labels)
                .map(|(x, y)| {
                    let center = &case.inputs.centers_before[*y as usize];
                    let squared: f64 = x.iter().zip(center).map(|(x, c)| (x - c).powi(2)).sum();
                    (1e-12 - squared).max(0.0)
                })
                .sum::<f64>()
                / case.inputs.batch_size as f64;
            let expected =
                case.loss_float64 - (case.inputs.num_classes - 1) as f64 * 1e-12 - clamped;
            let actual = values(value.clone())[0];
            assert!(
                (actual - expected).abs() <= TOLERANCE * expected.abs() + 1e-15,
                "{}: {actual} is not {expected}",
                name("loss")
            );
            let gradients = value.backward();
            let gradient = features.grad(&gradients).unwrap();
            assert_close(
                &name("gradient"),
                &values(gradient),
                &case.inputs.grad_features.concat(),
                TOLERANCE,
            );
            assert_close(
                &name("gradient of the centers"),
                &loss.of_centers(gradients).unwrap(),
                &case.grad_centers.concat(),
                TOLERANCE,
            );
            let loss = loss.stepped(&value, case.inputs.alpha);
            assert_close(
                &name("centers"),
                &values(loss.centers()),
                &case.inputs.centers_after.concat(),
                TOLERANCE,
            );
        }
    }
}
