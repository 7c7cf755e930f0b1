//! The relatives of center loss against the golden numbers.

use burn::tensor::{DType, Tensor};
use burn_center_loss::relatives::TripletDistance;
use burn_center_loss::{
    CenterDType, ContrastiveCenterLossConfig, IslandLossConfig, TripletCenterLossConfig,
};
use serde::Deserialize;

use crate::contract::Case as Loss;
use crate::devices::{autodiff_devices, f64_devices};
use crate::fixtures::{assert_close, cases};
use crate::plain::Plain;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    ContrastiveCenter {
        delta: f64,
        per_sample_loss: Vec<f64>,
    },
    TripletCenter {
        margin: f64,
        distance: Distance,
        per_sample_loss: Vec<f64>,
        active: Vec<u8>,
    },
    Island {
        lambda1: f64,
        per_sample_center: Vec<f64>,
        pair_term: f64,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Distance {
    HalfSquaredEuclidean,
    Euclidean,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(flatten)]
    kind: Kind,
    num_classes: usize,
    feature_dim: usize,
    labels: Vec<i64>,
    features: Vec<Vec<f64>>,
    centers: Vec<Vec<f64>>,
    loss: f64,
    grad_features: Vec<Vec<f64>>,
    grad_centers: Vec<Vec<f64>>,
}

impl Case {
    /// The loss, and the losses of the samples.
    fn loss(&self) -> (Loss, Vec<f64>) {
        let (num_classes, feature_dim) = (self.num_classes, self.feature_dim);
        match &self.kind {
            Kind::ContrastiveCenter {
                delta,
                per_sample_loss,
            } => {
                let config = ContrastiveCenterLossConfig::new(num_classes, feature_dim)
                    .with_delta(*delta)
                    .with_lambda(1.0);
                (Loss::new(config), per_sample_loss.clone())
            }
            Kind::TripletCenter {
                margin,
                distance,
                per_sample_loss,
                ..
            } => {
                let distance = match distance {
                    Distance::HalfSquaredEuclidean => TripletDistance::HalfSquaredEuclidean,
                    Distance::Euclidean => TripletDistance::Euclidean,
                };
                let config = TripletCenterLossConfig::new(num_classes, feature_dim)
                    .with_margin(*margin)
                    .with_distance(distance)
                    .with_lambda(1.0);
                (Loss::new(config), per_sample_loss.clone())
            }
            Kind::Island {
                lambda1,
                per_sample_center,
                pair_term,
            } => {
                let config = IslandLossConfig::new(num_classes, feature_dim)
                    .with_lambda1(*lambda1)
                    .with_lambda(1.0);
                let pairs = lambda1 * pair_term;
                let each = per_sample_center.iter().map(|center| center + pairs);
                (Loss::new(config), each.collect())
            }
        }
    }
}

/// The inputs of the file are those of `f32`.
fn single(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |row: &Vec<f64>| row.iter().map(|value| f64::from(*value as f32)).collect();
    rows.iter().map(row).collect()
}

#[test]
fn center_relatives() {
    let types = [
        (CenterDType::F32, DType::F32, autodiff_devices(), 1e-5),
        (CenterDType::F64, DType::F64, f64_devices(), 1e-11),
    ];
    for case in cases::<Case>("center_relatives.json") {
        let (loss, each) = case.loss();
        let plain = Plain {
            features: single(&case.features),
            labels: case.labels.clone(),
            weights: None,
            centers: single(&case.centers),
        };
        for (center_dtype, dtype, devices, tolerance) in &types {
            let mut loss = loss.in_type(*center_dtype);
            for device in devices {
                let name = |what: &str| format!("{}, {dtype:?}, {device:?}: {what}", case.name);
                loss.per_sample = false;
                let found = loss.run_with(&plain, *dtype, device, Tensor::sum);
                assert_close(&name("loss"), &found.value, &[case.loss], *tolerance);
                let (features, centers) = (case.grad_features.concat(), case.grad_centers.concat());
                let gradient = found.features.concat();
                assert_close(&name("features"), &gradient, &features, *tolerance);
                let gradient = found.of_centers.unwrap();
                assert_close(&name("centers"), &gradient, &centers, *tolerance);
                loss.per_sample = true;
                let found = loss.run(&plain, device);
                assert_close(&name("each"), &found.value, &each, *tolerance);
                if let Kind::TripletCenter { active, .. } = &case.kind {
                    for (row, active) in found.features.iter().zip(active) {
                        let has_gradient = row.iter().any(|g| *g != 0.0);
                        assert!(*active == 1 || !has_gradient, "{}", name("at rest"));
                    }
                }
            }
        }
    }
}
