//! Softmax with a margin against the numbers of pytorch-metric-learning, insightface and AdaFace.

use burn::tensor::{DType, Device};
use burn_center_loss::margin::{AdaFace, ArcFace, BeyondPi, MarginGradient};
use burn_center_loss::{Margin, MarginSoftmax, MarginSoftmaxConfig};
use serde::Deserialize;

use crate::contract::LossUnderTest;
use crate::devices::{autodiff_devices, devices, values};
use crate::fixtures::{assert_close, cases};
use crate::tensors::{labels, typed_matrix};

const TOLERANCE: f64 = 1e-5;

/// A batch and what becomes of it.
#[derive(Deserialize)]
struct Batch {
    labels: Vec<i64>,
    embeddings: Vec<Vec<f64>>,
    per_sample_loss: Vec<f64>,
    loss: f64,
    grad_embeddings: Vec<Vec<f64>>,
    grad_weight: Vec<Vec<f64>>,
}

impl Batch {
    /// Compares losses and gradients. `is_transposed` tells whether the gradient of the class vectors is
    /// `[feature_dim, num_classes]`.
    fn check(
        &self,
        name: &str,
        [loss, each]: [&dyn LossUnderTest; 2],
        device: &Device,
        is_transposed: bool,
    ) {
        let y = labels(&self.labels, device);
        let features = typed_matrix(&self.embeddings, DType::F32, device).require_grad();
        let value = loss.forward(features.clone(), y.clone());
        let gradients = value.backward();
        let name = |what: &str| format!("{name}, {what}");
        assert_close(&name("loss"), &values(value), &[self.loss], TOLERANCE);
        let gradient = features.grad(&gradients).unwrap();
        let expected = self.grad_embeddings.concat();
        assert_close(&name("features"), &values(gradient), &expected, TOLERANCE);
        let gradient = loss.of_centers(gradients).unwrap();
        let expected = rows(&self.grad_weight, is_transposed).concat();
        assert_close(&name("centers"), &gradient, &expected, TOLERANCE);
        let losses = each
            .try_each((features, y).into())
            .expect("a loss per sample");
        assert_close(
            &name("losses"),
            &values(losses.unwrap()),
            &self.per_sample_loss,
            TOLERANCE,
        );
    }
}

/// The class vectors as rows.
fn rows(matrix: &[Vec<f64>], is_transposed: bool) -> Vec<Vec<f64>> {
    if !is_transposed {
        return matrix.to_vec();
    }
    (0..matrix[0].len())
        .map(|column| matrix.iter().map(|row| row[column]).collect())
        .collect()
}

fn with_vectors(config: &MarginSoftmaxConfig, rows: &[Vec<f64>], device: &Device) -> MarginSoftmax {
    let centers = typed_matrix(rows, DType::F32, device);
    config.init_with_centers(centers).unwrap()
}

/// A case of pytorch-metric-learning or insightface.
#[derive(Deserialize)]
struct Case {
    name: String,
    num_classes: usize,
    feature_dim: usize,
    margin: Option<f64>,
    scale: Option<f64>,
    temperature: Option<f64>,
    #[serde(default = "one")]
    sub_centers: usize,
    loss_kind: Option<String>,
    weight: Vec<Vec<f64>>,
    logits: Option<Vec<Vec<f64>>>,
    #[serde(flatten)]
    batch: Batch,
}

fn one() -> usize {
    1
}

impl Case {
    /// With budgets that keep all scores and none.
    fn check(&self, margin: Margin, is_transposed: bool) {
        let scale = match (self.scale, self.temperature) {
            (Some(scale), _) => scale,
            (None, Some(temperature)) => 1.0 / temperature,
            (None, None) => panic!("{} has no scale", self.name),
        };
        for device in autodiff_devices() {
            for budget in [usize::MAX, 0] {
                let config = MarginSoftmaxConfig::new(self.num_classes, self.feature_dim)
                    .with_margin(margin.clone())
                    .with_scale(scale)
                    .with_sub_centers(self.sub_centers)
                    .with_score_budget(budget);
                let loss = with_vectors(&config, &rows(&self.weight, is_transposed), &device);
                let name = format!("{}, {device:?}, budget {budget}", self.name);
                self.batch
                    .check(&name, [&loss, &loss], &device, is_transposed);
            }
        }
    }

    fn margin(&self) -> f64 {
        self.margin.expect("the case has a margin")
    }
}

fn degrees(case: &Case) -> Margin {
    let arcface = ArcFace::new().with_margin(case.margin().to_radians());
    Margin::ArcFace(arcface.with_beyond_pi(BeyondPi::Linear))
}

#[test]
fn pml_arcface() {
    for case in cases::<Case>("pml_arcface.json") {
        case.check(degrees(&case), true);
    }
}

#[test]
fn pml_subcenter_arcface() {
    for case in cases::<Case>("pml_subcenter_arcface.json") {
        assert!(case.sub_centers > 1);
        case.check(degrees(&case), true);
    }
}

#[test]
fn pml_cosface() {
    for case in cases::<Case>("pml_cosface.json") {
        case.check(Margin::cosface(case.margin()), true);
    }
}

#[test]
fn pml_normalized_softmax() {
    for case in cases::<Case>("pml_normalized_softmax.json") {
        case.check(Margin::None, true);
    }
}

#[test]
fn pml_sphereface() {
    for case in cases::<Case>("pml_sphereface.json") {
        case.check(Margin::sphereface(case.margin() as u32), true);
    }
}

#[test]
fn insightface_margins() {
    for case in cases::<Case>("insightface_margin.json") {
        let margin = match case.loss_kind.as_deref() {
            Some("arcface") => Margin::ArcFace(
                ArcFace::new()
                    .with_margin(case.margin())
                    .with_beyond_pi(BeyondPi::Reflect)
                    .with_gradient(MarginGradient::Detached),
            ),
            Some("cosface") => Margin::cosface(case.margin()),
            kind => panic!("{kind:?} is no margin"),
        };
        case.check(margin, false);
        // Without the margin, the logits of other classes are those of the file.
        let scale = case.scale.unwrap();
        let expected = case.logits.as_ref().unwrap();
        for device in devices() {
            let config = MarginSoftmaxConfig::new(case.num_classes, case.feature_dim);
            let loss = with_vectors(&config.with_scale(scale), &case.weight, &device);
            let features = typed_matrix(&case.batch.embeddings, DType::F32, &device);
            let logits = values(loss.logits(features).unwrap());
            for (i, row) in logits.chunks(case.num_classes).enumerate() {
                let others = (0..case.num_classes).filter(|j| *j as i64 != case.batch.labels[i]);
                for j in others {
                    assert_close(
                        "logit",
                        &[row[j] / scale],
                        &[expected[i][j] / scale],
                        TOLERANCE,
                    );
                }
            }
        }
    }
}

#[test]
fn adaface() {
    #[derive(Deserialize)]
    struct Step {
        #[serde(flatten)]
        batch: Batch,
        batch_mean_after: f64,
        batch_std_after: f64,
    }
    #[derive(Deserialize)]
    struct Steps {
        name: String,
        num_classes: usize,
        feature_dim: usize,
        margin: f64,
        h: f64,
        scale: f64,
        t_alpha: f64,
        weight: Vec<Vec<f64>>,
        steps: Vec<Step>,
    }
    for device in autodiff_devices() {
        for budget in [usize::MAX, 0] {
            for case in cases::<Steps>("adaface.json") {
                let margin = AdaFace::new()
                    .with_margin(case.margin)
                    .with_h(case.h)
                    .with_t_alpha(case.t_alpha);
                let config = MarginSoftmaxConfig::new(case.num_classes, case.feature_dim)
                    .with_margin(Margin::AdaFace(margin))
                    .with_scale(case.scale)
                    .with_score_budget(budget);
                let make = || with_vectors(&config, &case.weight, &device);
                let (loss, each) = (make(), make());
                for (nth, step) in case.steps.iter().enumerate() {
                    let name = format!("{} step {nth}", case.name);
                    step.batch.check(&name, [&loss, &each], &device, false);
                    let statistics = loss.norm_statistics().unwrap();
                    assert_close(
                        &name,
                        &[statistics.mean, statistics.std],
                        &[step.batch_mean_after, step.batch_std_after],
                        1e-6,
                    );
                }
            }
        }
    }
}
