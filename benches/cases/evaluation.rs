//! Retrieval of a set against itself, a ROC curve, and score normalisation.

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::evaluation::{
    RetrievalConfig, RetrievalReport, RetrievalSet, RocCurve, ScoreNorm, ScoreNormConfig,
};

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

/// The numbers of rows of each side, of rows of the cohort, of columns, and of cohort scores of a row.
#[derive(Clone, Copy)]
pub struct ScoreNormShape {
    pub rows: usize,
    pub cohort: usize,
    pub feature_dim: usize,
    pub top_k: usize,
}

/// Trials of two sides, as many for each row, which are normalized by a cohort.
pub struct ScoreNormCase {
    norm: ScoreNorm,
    enroll: Tensor<2>,
    test: Tensor<2>,
    trials: Vec<(usize, usize)>,
}

impl ScoreNormCase {
    pub fn new(shape: ScoreNormShape, trials: usize, device: &Device) -> Self {
        device.seed(1);
        let random = |rows| {
            let normal = Distribution::Normal(0.0, 1.0);
            Tensor::<2>::random([rows, shape.feature_dim], normal, device)
        };
        let trials = (0..trials).map(|at| (at % shape.rows, at * 7 % shape.rows));
        let config = ScoreNormConfig::new().with_top_k(Some(shape.top_k));
        Self {
            norm: config
                .init(random(shape.cohort))
                .expect("the cohort is valid"),
            enroll: random(shape.rows),
            test: random(shape.rows),
            trials: trials.collect(),
        }
    }

    /// The adaptive s-norm of all trials.
    pub fn s_norm(&self) -> Vec<f64> {
        self.norm
            .s_norm(self.enroll.clone(), self.test.clone(), &self.trials)
            .expect("the trials are valid")
    }
}
