//! Softmax over distances against numbers in 60 digits.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::evaluation::known_scores_by_rejection;
use burn_center_loss::{CenterDType, DistanceSoftmax, DistanceSoftmaxConfig, SoftmaxDistance};
use serde::Deserialize;

use crate::contract::LossUnderTest;
use crate::devices::{ONE_IN, autodiff_devices, f64_devices, values};
use crate::fixtures::{assert_close, cases};
use crate::tensors::{ints, labels, typed_matrix};

#[derive(Deserialize)]
struct Case {
    name: String,
    num_classes: usize,
    feature_dim: usize,
    prototypes: usize,
    distance: String,
    scale: f64,
    margin: f64,
    pull: f64,
    trained_centers: bool,
    labels: Vec<i64>,
    features: Vec<Vec<f64>>,
    centers: Vec<Vec<f64>>,
    per_sample_loss: Vec<f64>,
    loss: f64,
    grad_features: Vec<Vec<f64>>,
    grad_centers: Vec<Vec<f64>>,
    predictions: Vec<i64>,
    predictions_by_probability: Option<Vec<i64>>,
    probabilities: Vec<Vec<f64>>,
    rejection_scores: Option<Vec<f64>>,
}

impl Case {
    fn config(&self) -> DistanceSoftmaxConfig {
        DistanceSoftmaxConfig::new(self.num_classes, self.feature_dim)
            .with_distance(match self.distance.as_str() {
                "squared_euclidean" => SoftmaxDistance::SquaredEuclidean,
                "euclidean" => SoftmaxDistance::Euclidean,
                other => panic!("{other} is no distance"),
            })
            .with_scale(self.scale)
            .with_margin(self.margin)
            .with_pull(self.pull)
            .with_sub_centers(self.prototypes)
            .with_trained_centers(self.trained_centers)
    }

    fn loss(&self, budget: usize, dtype: DType, device: &Device) -> DistanceSoftmax {
        let is_double = dtype == DType::F64;
        let config = self.config().with_score_budget(budget);
        let config = config.with_dtype(if is_double {
            CenterDType::F64
        } else {
            CenterDType::F32
        });
        let centers = typed_matrix(&self.centers, dtype, device);
        config.init_with_centers(centers).unwrap()
    }

    /// With budgets that keep all scores and none.
    fn check(&self, dtype: DType, device: &Device, tolerance: f64) {
        // Software Vulkan takes a minute for each.
        let budgets: &[usize] = if ONE_IN > 1 {
            &[usize::MAX]
        } else {
            &[usize::MAX, 0]
        };
        for budget in budgets.iter().copied() {
            let name = |what: &str| {
                format!(
                    "{}, {what}, {dtype:?}, {device:?}, budget {budget}",
                    self.name
                )
            };
            let loss = self.loss(budget, dtype, device);
            let y = labels(&self.labels, device);
            let features = typed_matrix(&self.features, dtype, device).require_grad();
            let (value, logits) = loss.forward_with_logits(features.clone(), y.clone());
            let gradients = value.backward();
            assert_close(&name("loss"), &values(value), &[self.loss], tolerance);
            let gradient = values(features.grad(&gradients).unwrap());
            let expected = self.grad_features.concat();
            assert_close(&name("features"), &gradient, &expected, tolerance);
            let gradient = loss.of_centers(gradients);
            assert_eq!(gradient.is_some(), self.trained_centers, "{}", self.name);
            if let Some(gradient) = gradient {
                let expected = self.grad_centers.concat();
                assert_close(&name("centers"), &gradient, &expected, tolerance);
            }
            let each = loss.forward_no_reduction(features.clone(), y);
            assert_close(
                &name("losses"),
                &values(each),
                &self.per_sample_loss,
                tolerance,
            );
            for logits in [logits, loss.logits(features).unwrap()] {
                self.check_predictions(&name("probabilities"), logits, tolerance);
            }
        }
        let classifier = self.loss(0, dtype, device).nearest_center().unwrap();
        let features = typed_matrix(&self.features, dtype, device).without_autodiff();
        let found = classifier.predict(features.clone()).unwrap();
        assert_eq!(ints(found), self.predictions, "{}", self.name);
        if let Some(expected) = &self.rejection_scores {
            let found = known_scores_by_rejection(&classifier, features, self.scale).unwrap();
            let found: Vec<f64> = found.iter().map(|score| -score).collect();
            assert_close(&self.name, &found, expected, tolerance);
        }
    }

    fn check_predictions(&self, name: &str, logits: Tensor<2>, tolerance: f64) {
        let rows = values(logits);
        for (i, row) in rows.chunks(self.num_classes).enumerate() {
            let largest = row.iter().copied().fold(f64::MIN, f64::max);
            let exponentials: Vec<f64> = row.iter().map(|z| (z - largest).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            let found: Vec<f64> = exponentials.iter().map(|e| e / sum).collect();
            assert_close(
                &format!("{name} of {i}"),
                &found,
                &self.probabilities[i],
                tolerance,
            );
            if let Some(expected) = &self.predictions_by_probability {
                let place = row.iter().position(|z| *z == largest).unwrap();
                assert_eq!(place as i64, expected[i], "{name}");
            }
        }
    }
}

#[test]
fn in_single_precision() {
    for device in autodiff_devices() {
        for case in cases::<Case>("distance_softmax.json") {
            // Squared distances between neighbours that are far from all centers' mean lose digits in products.
            if case.name != "two_far_groups" {
                case.check(DType::F32, &device, 1e-5);
            }
        }
    }
}

#[test]
fn in_double_precision() {
    for device in f64_devices() {
        for mut case in cases::<Case>("distance_softmax.json") {
            for value in case.features.iter_mut().chain(&mut case.centers).flatten() {
                *value = f64::from(*value as f32);
            }
            let tolerance = match case.name.as_str() {
                // Its numbers have nine digits.
                "far_from_all_centers" => 1e-8,
                "two_far_groups" => 1e-9,
                _ => 1e-11,
            };
            case.check(DType::F64, &device, tolerance);
        }
    }
}
