//! Updates of one loss given to another: they move its centers as the formulas say, or an error leaves everything as it was.

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::center::DirectRule;
use burn_center_loss::{
    CenterDType, CenterDistance, CenterLoss, CenterLossConfig, CenterUpdate, Checking, LossError,
    UpdateRule,
};
use proptest::prelude::*;

use crate::center_plain::{direct_rules, divisor};
use crate::devices::{devices_with, property_cases, values};
use crate::plain::{Plain, norm};
use crate::tensors::{labels, typed_matrix};

/// A loss, with its centers on the host.
#[derive(Clone, Debug)]
struct Made {
    config: CenterLossConfig,
    /// An index among the devices of the data type.
    device: usize,
    centers: Vec<Vec<f64>>,
}

/// A batch for a loss, with labels of any class or of none.
#[derive(Clone, Debug)]
struct Measured {
    by: Made,
    features: Vec<Vec<f64>>,
    labels: Vec<i64>,
    weights: Option<Vec<f64>>,
}

const IGNORED: i64 = -7;

fn value() -> impl Strategy<Value = f64> {
    // Exact in every data type.
    (-16_i32..=16).prop_map(|value| f64::from(value) / 4.0)
}

fn rows(count: usize, feature_dim: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(value(), feature_dim), count)
}

prop_compose! {
    fn made()(
        // Most losses fit each other.
        num_classes in prop_oneof![3 => Just(4_usize), 1 => 1_usize..7],
        feature_dim in prop_oneof![5 => Just(2_usize), 1 => 1_usize..4],
    )(
        centers in rows(num_classes, feature_dim),
        is_double in prop::bool::weighted(0.2),
        is_deferred in any::<bool>(),
        is_cosine in prop::bool::weighted(0.2),
        rule in prop_oneof![
            9 => prop::sample::select(direct_rules(0.5).to_vec()),
            1 => prop::sample::select(vec![UpdateRule::Gradient, UpdateRule::Frozen]),
        ],
        device in 0_usize..4,
    ) -> Made {
        let [num_classes, feature_dim] = [centers.len(), centers[0].len()];
        Made {
            config: CenterLossConfig::new(num_classes, feature_dim)
                .with_dtype(if is_double { CenterDType::F64 } else { CenterDType::F32 })
                .with_checking(if is_deferred { Checking::Deferred } else { Checking::Strict })
                .with_distance(if is_cosine { CenterDistance::Cosine } else { CenterDistance::Euclidean })
                .with_ignore_label(Some(IGNORED))
                .with_update_rule(rule),
            device,
            centers,
        }
    }
}

prop_compose! {
    fn measured()(by in made(), batch_size in 1_usize..6)(
        features in rows(batch_size, by.config.feature_dim),
        labels in prop::collection::vec(
            prop_oneof![6 => 0..by.config.num_classes as i64, 1 => Just(IGNORED)],
            batch_size,
        ),
        weights in prop::option::of(prop::collection::vec(
            prop::sample::select(vec![0.0, 0.25, 1.0, 3.0]),
            batch_size,
        )),
        is_bad in prop::bool::weighted(0.3),
        by in Just(by),
    ) -> Measured {
        let mut labels = labels;
        // Only deferred checking takes a batch with a label of no class.
        if is_bad && by.config.checking == Checking::Deferred {
            labels[0] = by.config.num_classes as i64;
        }
        Measured { by, features, labels, weights }
    }
}

impl Made {
    fn dtype(&self) -> DType {
        match self.config.dtype {
            CenterDType::F32 => DType::F32,
            CenterDType::F64 => DType::F64,
        }
    }

    fn device(&self) -> Device {
        let devices = devices_with(self.dtype());
        devices[self.device % devices.len()].clone()
    }

    fn loss(&self) -> CenterLoss {
        let centers = typed_matrix(&self.centers, self.dtype(), &self.device().autodiff());
        self.config.init_with_centers(centers).unwrap()
    }
}

/// An update by the docs: for each class the total weight and the weighted sum of the differences.
#[derive(Clone, Default)]
struct Totals(Vec<(f64, Vec<f64>)>);

impl Totals {
    fn add(&mut self, other: &Totals) {
        while self.0.len() < other.0.len() {
            self.0.push(Default::default());
        }
        for ((total, sum), (more, other)) in self.0.iter_mut().zip(&other.0) {
            *total += more;
            sum.resize(other.len().max(sum.len()), 0.0);
            sum.iter_mut()
                .zip(other)
                .for_each(|(sum, other)| *sum += other);
        }
    }

    /// The centers after the update.
    fn applied_to(&self, made: &Made, rule: &DirectRule) -> Vec<f64> {
        let mut centers = made.centers.clone();
        for (center, (total, sum)) in centers.iter_mut().zip(&self.0) {
            if *total > 0.0 {
                for (value, sum) in center.iter_mut().zip(sum) {
                    *value += rule.alpha * sum / divisor(rule, *total);
                }
            }
        }
        centers.concat()
    }
}

impl Measured {
    fn update(&self) -> CenterUpdate {
        let plain = Plain {
            features: self.features.clone(),
            labels: self.labels.clone(),
            weights: self.weights.clone(),
            centers: vec![],
        };
        let features = plain.typed(self.by.dtype(), &self.by.device());
        self.by.loss().measure(plain.batch_of(features)).unwrap().1
    }

    fn totals(&self) -> Totals {
        let Made {
            config, centers, ..
        } = &self.by;
        let empty = (0.0, vec![0.0; config.feature_dim]);
        let mut totals = Totals(vec![empty; config.num_classes]);
        for (i, label) in self.labels.iter().enumerate() {
            let Some(class) = usize::try_from(*label)
                .ok()
                .filter(|class| *class < centers.len())
            else {
                continue;
            };
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[i]);
            let norm = norm(&self.features[i]);
            let scale = match config.distance {
                CenterDistance::Cosine if norm > 0.0 => norm,
                _ => 1.0,
            };
            totals.0[class].0 += weight;
            let pairs = self.features[i].iter().zip(&centers[class]);
            for (sum, (x, c)) in totals.0[class].1.iter_mut().zip(pairs) {
                *sum += weight * (x / scale - c);
            }
        }
        totals
    }

    /// Whether [`CenterUpdate::merge`] takes the two.
    fn merges_with(&self, other: &Self) -> bool {
        self.by.config.feature_dim == other.by.config.feature_dim
            && self.by.dtype() == other.by.dtype()
    }
}

fn bits(loss: &CenterLoss) -> Vec<u64> {
    values(loss.centers())
        .into_iter()
        .map(f64::to_bits)
        .collect()
}

/// Asserts that the loss still does all that does not need an update.
fn assert_whole(loss: &CenterLoss, made: &Made) {
    let centers = bits(loss);
    assert!(format!("{loss:?}").contains("CenterLoss"));
    assert!(loss.to_string().contains("num_classes"));
    let bytes = loss.clone().into_record().into_bytes().unwrap();
    let record = ModuleRecord::from_bytes(bytes).unwrap();
    assert_eq!(bits(&made.loss().load_record(record)), centers);
    let features = Tensor::zeros([1, made.config.feature_dim], (&made.device(), made.dtype()));
    let value = loss.evaluate(features, labels(&[0], &made.device()));
    assert!(values(value)[0].is_finite());
}

/// The error that the docs announce for such an update, if one is.
fn refusal(made: &Made, parts: &[Measured], is_frozen: bool) -> Option<&'static str> {
    let widest = parts.iter().map(|part| part.by.config.num_classes).max();
    let of = &parts[0].by;
    match &made.config.update_rule {
        UpdateRule::Gradient | UpdateRule::Frozen => Some("rule"),
        UpdateRule::Direct(_) if is_frozen => Some("frozen"),
        _ if of.config.feature_dim != made.config.feature_dim => Some("width"),
        _ if of.dtype() != made.dtype() => Some("type"),
        _ if widest > Some(made.config.num_classes) => Some("classes"),
        _ => None,
    }
}

fn kind(error: &LossError) -> &'static str {
    match error {
        LossError::Rule { .. } => "rule",
        LossError::Frozen => "frozen",
        LossError::Update {
            name: "feature_dim",
            ..
        } => "width",
        LossError::Update {
            name: "num_classes",
            ..
        } => "classes",
        LossError::Update { name: "dtype", .. } => "type",
        error => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(property_cases(1000))]

    #[test]
    fn updates_fit_or_are_refused(
        target in made(),
        parts in prop::collection::vec(measured(), 1..4),
        is_frozen in prop::bool::weighted(0.1),
    ) {
        let loss = target.loss();
        let loss = if is_frozen { loss.freeze() } else { loss };
        let before = bits(&loss);
        let mut merged = parts[0].update();
        let mut totals = parts[0].totals();
        let mut all = vec![parts[0].clone()];
        for part in &parts[1..] {
            match merged.clone().merge(part.update()) {
                Ok(both) => {
                    prop_assert!(parts[0].merges_with(part));
                    merged = both;
                    totals.add(&part.totals());
                    all.push(part.clone());
                }
                Err(error) => {
                    prop_assert!(!parts[0].merges_with(part), "{}", error);
                    prop_assert!(["width", "type"].contains(&kind(&error)), "{}", error);
                }
            }
        }
        prop_assert_eq!(merged.feature_dim(), parts[0].by.config.feature_dim);
        prop_assert_eq!(merged.num_classes(), all.iter().map(|part| part.by.config.num_classes).max().unwrap());

        match (loss.apply(merged), refusal(&target, &all, is_frozen), &target.config.update_rule) {
            (Ok(()), None, UpdateRule::Direct(rule)) => {
                let tolerance = if target.dtype() == DType::F64 { 1e-12 } else { 1e-5 };
                let expected = totals.applied_to(&target, rule);
                for (actual, expected) in values(loss.centers()).iter().zip(&expected) {
                    prop_assert!((actual - expected).abs() <= tolerance * 64.0, "{} {}", actual, expected);
                }
                prop_assert_eq!(loss.step(), 1);
            }
            (Err(error), Some(expected), _) => {
                prop_assert_eq!(kind(&error), expected, "{}", error);
                prop_assert_eq!(bits(&loss), before);
                prop_assert_eq!(loss.step(), 0);
            }
            (result, expected, _) => prop_assert!(false, "{:?}, but {:?}", result, expected),
        }
        assert_whole(&loss, &target);
    }
}

#[test]
fn classes_that_a_smaller_loss_lacks() {
    for device in devices_with(DType::F32) {
        let large = CenterLossConfig::new(10, 1).init(&device);
        let small = CenterLossConfig::new(3, 1).init(&device);
        let before = bits(&small);
        let batch = (Tensor::ones([1, 1], &device), labels(&[9], &device));
        let (_, update) = large.measure(batch).unwrap();
        assert_eq!(
            small.apply(update).unwrap_err().to_string(),
            "the update has num_classes 10: it must be at most 3"
        );
        assert_eq!(bits(&small), before);
    }
}

#[test]
fn updates_in_another_data_type() {
    for device in devices_with(DType::F64) {
        let double = CenterLossConfig::new(3, 1)
            .with_dtype(CenterDType::F64)
            .init(&device);
        let single = CenterLossConfig::new(3, 1).init(&device);
        let before = bits(&single);
        let batch = (Tensor::ones([1, 1], &device), labels(&[0], &device));
        let (_, update) = double.measure(batch).unwrap();
        assert_eq!(
            single.apply(update).unwrap_err().to_string(),
            "the update has dtype F64: it must be F32"
        );
        assert_eq!(bits(&single), before);
    }
}
