//! Retrieval of a set against itself, and a ROC curve.

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalReport, RetrievalSet, RocCurve};

/// The numbers of samples, classes and columns.
#[derive(Clone, Copy)]
pub struct RetrievalShape {
    pub samples: usize,
    pub num_classes: usize,
    pub feature_dim: usize,
}

impl RetrievalShape {
    pub fn new(samples: usize, num_classes: usize, feature_dim: usize) -> Self {
        Self {
            samples,
            num_classes,
            feature_dim,
        }
    }
}

/// Samples around one center per class, up to half as far from it as the centers are spread.
pub struct RetrievalCase {
    set: RetrievalSet,
}

impl RetrievalCase {
    pub fn new(shape: RetrievalShape, device: &Device) -> Self {
        device.seed(1);
        let random = |rows, most| {
            Tensor::<2>::random(
                [rows, shape.feature_dim],
                Distribution::Uniform(0.0, most),
                device,
            )
        };
        let labels =
            Tensor::<1, Int>::arange(0..shape.samples as i64, device) % shape.num_classes as i64;
        let centers = random(shape.num_classes, 1.0);
        let features = centers.select(0, labels.clone()) + random(shape.samples, 0.5);
        Self {
            set: RetrievalSet::new(features, labels),
        }
    }

    /// Precision@1, R-precision and MAP@R of each sample, and with `average_precision` the values that need all ranks.
    pub fn evaluate(&self, average_precision: bool) -> RetrievalReport {
        RetrievalConfig::new()
            .with_average_precision(average_precision)
            .evaluate(&self.set)
            .expect("the set is valid")
    }
}

/// Scores that say nothing about which pairs belong together.
pub struct RocCase {
    scores: Vec<f32>,
    same: Vec<bool>,
}

impl RocCase {
    pub fn new(scores: usize, device: &Device) -> Self {
        device.seed(1);
        let random = || {
            let values = Tensor::<1>::random([scores], Distribution::Uniform(0.0, 1.0), device);
            let values: Vec<f32> = values.into_data().iter::<f32>().collect();
            values
        };
        Self {
            scores: random(),
            same: random().into_iter().map(|value| value < 0.5).collect(),
        }
    }

    pub fn curve(&self) -> RocCurve {
        RocCurve::new(&self.scores, &self.same).expect("both kinds of pairs are there")
    }
}
