//! Relatives of center loss against nested loops in f64, their settings, and where they are another loss.

use burn::tensor::{Device, Tensor};
use burn_center_loss::relatives::TripletDistance;
use burn_center_loss::{
    CenterDType, CenterLossConfig, Checking, ContrastiveCenterLossConfig, IslandLossConfig,
    TripletCenterLossConfig, UpdateRule,
};

use crate::contract::Case;
use crate::devices::{devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, Weighing, assert_gradients, cosine, squared_distance, weighings};

/// The configuration of any of these losses.
#[derive(Clone, Debug)]
pub enum Config {
    Contrastive(ContrastiveCenterLossConfig),
    Triplet(TripletCenterLossConfig),
    Island(IslandLossConfig),
}

impl Config {
    pub fn case(&self) -> Case {
        match self.clone() {
            Self::Contrastive(config) => Case::new(config),
            Self::Triplet(config) => Case::new(config),
            Self::Island(config) => Case::new(config),
        }
    }

    /// The loss of a sample by the formulas of the docs, without lambda.
    fn loss(&self, plain: &Plain, i: usize) -> f64 {
        let class = plain.labels[i] as usize;
        let squared = |j: usize| squared_distance(&plain.features[i], &plain.centers[j]);
        let others = (0..plain.centers.len()).filter(|j| *j != class);
        match self {
            Self::Contrastive(config) => {
                squared(class) / (2.0 * (others.map(squared).sum::<f64>() + config.delta))
            }
            Self::Triplet(config) => {
                let distance = |j: usize| match config.distance {
                    TripletDistance::HalfSquaredEuclidean => squared(j) / 2.0,
                    TripletDistance::Euclidean => squared(j).sqrt(),
                };
                let nearest = others.map(distance).fold(f64::INFINITY, f64::min);
                (distance(class) + config.margin - nearest).max(0.0)
            }
            Self::Island(config) => {
                let mut pairs = 0.0;
                for (j, one) in plain.centers.iter().enumerate() {
                    for (k, other) in plain.centers.iter().enumerate() {
                        if j != k {
                            pairs += cosine(one, other) + 1.0;
                        }
                    }
                }
                squared(class) / 2.0 + config.lambda1 * pairs
            }
        }
    }

    fn lambda(&self) -> f64 {
        match self {
            Self::Contrastive(config) => config.lambda,
            Self::Triplet(config) => config.lambda,
            Self::Island(config) => config.lambda,
        }
    }

    /// The value of a batch.
    fn losses(&self, plain: &Plain, weighing: &Weighing) -> Vec<f64> {
        let value = plain.weighed(weighing, |i| self.loss(plain, i));
        value.iter().map(|value| self.lambda() * value).collect()
    }

    /// The mean over a batch in which every sample counts the same.
    pub fn mean(&self, plain: &Plain) -> f64 {
        self.losses(plain, &weighings()[0])[0]
    }
}

/// Every loss with its options.
pub fn configs(num_classes: usize, feature_dim: usize) -> Vec<Config> {
    let contrastive = ContrastiveCenterLossConfig::new(num_classes, feature_dim);
    let triplet = TripletCenterLossConfig::new(num_classes, feature_dim);
    let euclidean = triplet.clone().with_distance(TripletDistance::Euclidean);
    vec![
        Config::Contrastive(contrastive.clone()),
        Config::Contrastive(contrastive.with_delta(1e-3).with_lambda(1.5)),
        Config::Triplet(triplet.clone()),
        Config::Triplet(triplet.with_margin(0.5).with_lambda(1.0)),
        Config::Triplet(euclidean.with_margin(1.0)),
        Config::Island(IslandLossConfig::new(num_classes, feature_dim).with_lambda1(0.25)),
    ]
}

/// Every loss with every way of weighing, for four classes of three columns.
fn every_case() -> Vec<(Config, Weighing, Case)> {
    let mut cases = vec![];
    for config in configs(4, 3) {
        for weighing in weighings() {
            let case = config.case().in_type(CenterDType::F64).weighed(&weighing);
            cases.push((config.clone(), weighing, case));
        }
    }
    cases
}

/// The batch, weighted, on centers, and with a zero center.
fn batches(case: &Case) -> [Plain; 4] {
    let plain = case.batch();
    let mut on_centers = plain.clone();
    for (i, row) in on_centers.features.iter_mut().enumerate() {
        *row = plain.centers[i % 4].clone();
    }
    let mut with_zero = plain.clone().with_weights();
    with_zero.centers[1] = vec![0.0; 3];
    [plain.clone(), plain.with_weights(), on_centers, with_zero]
}

#[test]
fn values_equal_nested_loops() {
    for device in f64_devices() {
        for (config, weighing, case) in every_case() {
            for plain in batches(&case) {
                for checking in [Checking::Strict, Checking::Deferred] {
                    let (case, name) = (case.checking(checking), case.name());
                    let found = case.run(&plain, &device);
                    let expected = config.losses(&plain, &weighing);
                    assert_close(&name, &found.value, &expected, 1e-12);
                    let mut reduced = weighing.clone();
                    reduced.per_sample = false;
                    let value = found.loss.try_evaluate(plain.batch(&device)).unwrap();
                    let expected = config.losses(&plain, &reduced);
                    assert_close(&name, &values(value), &expected, 1e-12);
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
                for checking in [Checking::Strict, Checking::Deferred] {
                    let case = case.checking(checking);
                    assert_gradients(&case, &plain, &device, &losses, 1e-7);
                }
            }
        }
    }
}

/// One class, and two, with more samples than classes.
#[test]
fn few_classes() {
    for device in f64_devices() {
        for num_classes in [1, 2, 3] {
            for config in configs(num_classes, 2) {
                let case = config.case().in_type(CenterDType::F64);
                let plain = Plain::new(7, num_classes, 2, 31);
                let losses = |plain: &Plain| vec![config.mean(plain)];
                let found = case.run(&plain, &device);
                assert_close(&case.name(), &found.value, &losses(&plain), 1e-12);
                assert_gradients(&case, &plain, &device, &losses, 1e-7);
            }
        }
    }
}

#[test]
fn without_pairs_island_loss_is_center_loss() {
    for device in f64_devices() {
        let island = IslandLossConfig::new(4, 3)
            .with_lambda1(0.0)
            .with_lambda(0.3);
        let center = CenterLossConfig::new(4, 3)
            .with_update_rule(UpdateRule::Gradient)
            .with_lambda(0.3);
        let [island, center] = [Case::new(island), Case::new(center)]
            .map(|case| case.in_type(CenterDType::F64).run(&case.batch(), &device));
        assert_close("value", &island.value, &center.value, 1e-12);
        assert_close(
            "features",
            &island.features.concat(),
            &center.features.concat(),
            1e-12,
        );
        let gradients = [island, center].map(|found| found.of_centers.unwrap());
        assert_close("centers", &gradients[0], &gradients[1], 1e-12);
    }
}

/// A sample that takes no part brings no pairs along, and neither does a batch without samples.
#[test]
fn pairs_come_with_the_samples() {
    for device in f64_devices() {
        let config = IslandLossConfig::new(2, 1)
            .with_lambda1(1.0)
            .with_lambda(1.0);
        let config = config.with_ignore_label(Some(-1));
        let centers = Tensor::from_data([[1.0], [2.0]], &device);
        let loss = config.init_with_centers(centers).unwrap();
        let each = |labels: [i64; 2]| {
            let features = Tensor::<2>::from_data([[1.0], [1.0]], &device);
            let labels = Tensor::from_data(labels, &device);
            values(loss.forward_no_reduction(features.clone(), labels))
        };
        // Two parallel centers: each of the two ordered pairs is 2.
        assert_eq!(each([0, 1]), [4.0, 4.5]);
        assert_eq!(each([0, -1]), [4.0, 0.0]);
        assert_eq!(each([-1, -1]), [0.0, 0.0]);
    }
}

#[test]
fn configurations() {
    let refused = |case: Case| case.config.try_init(&devices()[0]).unwrap_err().to_string();
    let not_negative = "it must be finite and not negative";
    let contrastive = ContrastiveCenterLossConfig::new(3, 2);
    let (triplet, island) = (
        TripletCenterLossConfig::new(3, 2),
        IslandLossConfig::new(3, 2),
    );
    for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let case = Case::new(contrastive.clone().with_delta(bad));
        let message = format!("delta is {bad}: it must be finite and greater than 0");
        assert_eq!(refused(case), message);
    }
    for bad in [-0.1, f64::INFINITY, f64::NAN] {
        for (case, name) in [
            (Case::new(contrastive.clone().with_lambda(bad)), "lambda"),
            (Case::new(triplet.clone().with_lambda(bad)), "lambda"),
            (Case::new(triplet.clone().with_margin(bad)), "margin"),
            (Case::new(island.clone().with_lambda(bad)), "lambda"),
            (Case::new(island.clone().with_lambda1(bad)), "lambda1"),
        ] {
            assert_eq!(refused(case), format!("{name} is {bad}: {not_negative}"));
        }
    }
}

#[test]
fn display_names_the_settings() {
    let device = &Device::flex();
    assert_eq!(
        ContrastiveCenterLossConfig::new(10, 2)
            .init(device)
            .to_string(),
        "ContrastiveCenterLoss {num_classes: 10, feature_dim: 2, delta: 1, lambda: 0.1, params: 20}"
    );
    assert_eq!(
        TripletCenterLossConfig::new(10, 2).init(device).to_string(),
        "TripletCenterLoss {num_classes: 10, feature_dim: 2, margin: 5, distance: HalfSquaredEuclidean, lambda: 0.1, \
         params: 20}"
    );
    assert_eq!(
        IslandLossConfig::new(10, 2).init(device).to_string(),
        "IslandLoss {num_classes: 10, feature_dim: 2, lambda1: 10, lambda: 0.01, params: 20}"
    );
}
