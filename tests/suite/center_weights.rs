//! Sample and class weights from the smallest to the largest number, against a loop that neither overflows nor vanishes.

use burn::nn::loss::Reduction;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{
    Batch, BatchError, CenterDistance, CenterLoss, CenterLossConfig, CenterLossError, CentersError,
    Checking, ClassBalance, Precision, UpdateRule,
};
use proptest::prelude::*;

use crate::center_oracle::{Expected, Oracle, assert_all, normal};
use crate::center_plain::{Case, direct_rules};
use crate::devices::{devices_with, flushes_subnormals, property_cases, values};
use crate::numbers::Number;
use crate::storage::centers_id;
use crate::tensors::{labels, typed_matrix};

const BATCH_SIZE: usize = 4;
const CENTERS: [[f64; 2]; 3] = [[0.5, -1.0], [2.0, 0.0], [-0.25, 3.0]];

/// A batch of which everything but the weights is ordinary.
#[derive(Clone, Debug)]
struct Weighted {
    case: Case,
    dtype: DType,
    features: Vec<Vec<f64>>,
    labels: Vec<usize>,
    weights: Vec<f64>,
}

fn single_weight() -> impl Strategy<Value = f64> {
    let special = [
        0.0,
        f32::from_bits(1),
        1e-40,
        f32::MIN_POSITIVE,
        1e-20,
        0.3,
        1.0,
        7.0,
        1e20,
        f32::MAX / 2.0,
        f32::MAX,
    ];
    prop_oneof![
        3 => prop::sample::select(special.to_vec()),
        1 => (0..f32::INFINITY.to_bits()).prop_map(f32::from_bits),
    ]
    .prop_map(f64::from)
}

fn double_weight() -> impl Strategy<Value = f64> {
    let special = [
        0.0,
        f64::from_bits(1),
        1e-310,
        f64::MIN_POSITIVE,
        1e-160,
        1e-45,
        0.3,
        1.0,
        7.0,
        1e38,
        1e160,
        f64::MAX / 2.0,
        f64::MAX,
    ];
    prop_oneof![
        3 => prop::sample::select(special.to_vec()),
        1 => (0..f64::INFINITY.to_bits()).prop_map(f64::from_bits),
    ]
}

fn rules() -> impl Strategy<Value = UpdateRule> {
    let mut rules = direct_rules(0.3).to_vec();
    rules.extend([UpdateRule::Gradient, UpdateRule::Frozen]);
    prop::sample::select(rules)
}

prop_compose! {
    fn weighted(dtype: DType, weight: impl Strategy<Value = f64>)(
        rule in rules(),
        // One value per sample has no reduction.
        reduction in prop::option::of(prop::sample::select(vec![
            Reduction::Mean,
            Reduction::Sum,
            Reduction::BatchMean,
            Reduction::Auto,
        ])),
        is_balanced in any::<bool>(),
        radius in prop::sample::select(vec![0.0, 0.75]),
        distance in prop::sample::select(vec![CenterDistance::Euclidean, CenterDistance::Cosine]),
        class_weights in prop::option::of(prop::collection::vec(double_weight(), CENTERS.len())),
        labels in prop::collection::vec(0..CENTERS.len(), BATCH_SIZE),
        // Some values are those of a center, which gives differences of zero.
        values in prop::collection::vec(
            prop::sample::select(vec![0.5, -1.0, 2.0, 3.0, -1.75, 0.125]),
            2 * BATCH_SIZE,
        ),
        weights in prop::collection::vec(weight, BATCH_SIZE),
    ) -> Weighted {
        let precision = match dtype {
            DType::F64 => Precision::F64,
            _ => Precision::F32,
        };
        let config = CenterLossConfig::new(CENTERS.len(), 2)
            .with_precision(precision)
            .with_update_rule(rule)
            .with_class_balance(if is_balanced { ClassBalance::Histogram } else { ClassBalance::None })
            .with_distance(distance)
            .with_radius(radius)
            .with_class_weights(class_weights);
        let per_sample = reduction.is_none();
        let config = match reduction {
            Some(reduction) => config.with_reduction(reduction),
            None => config,
        };
        Weighted {
            case: Case { config, per_sample },
            dtype,
            features: values.chunks(2).map(<[f64]>::to_vec).collect(),
            labels,
            weights,
        }
    }
}

/// What a forward pass gives.
struct Outcome {
    value: Vec<f64>,
    gradient: Vec<f64>,
    center_gradient: Option<Vec<f64>>,
}

impl Weighted {
    fn tolerance(&self) -> f64 {
        match self.dtype {
            DType::F64 => 1e-12,
            _ => 1e-5,
        }
    }

    fn run(&self, loss: &CenterLoss, device: &Device) -> Result<Outcome, CenterLossError> {
        let features = typed_matrix(&self.features, self.dtype, device).require_grad();
        let y: Vec<i64> = self.labels.iter().map(|label| *label as i64).collect();
        let weights = Tensor::from_data(self.weights.as_slice(), (device, self.dtype));
        let batch = Batch::new(features.clone(), labels(&y, device)).with_weights(weights);
        let value = self.case.forward(loss, batch)?;
        let gradients = value.clone().sum().backward();
        let gradient = values(features.grad(&gradients).unwrap());
        let gradients = GradientsParams::from_grads(gradients, loss);
        Ok(Outcome {
            value: values(value),
            gradient,
            center_gradient: gradients.get::<2>(centers_id(loss)).map(values),
        })
    }

    /// Whether a weight, or its product with a class weight, is so small that it or its share of a sum may be below
    /// the normal numbers.
    fn has_subnormals(&self) -> bool {
        let least = normal(self.dtype).0 * Number::from(1024.0);
        let of_classes = self.case.config.class_weights.as_deref().unwrap_or(&[1.0]);
        let products = self
            .weights
            .iter()
            .flat_map(|weight| of_classes.iter().map(move |of_class| [*weight, *of_class]));
        products.into_iter().any(|[weight, of_class]| {
            let product = Number::from(weight) * Number::from(of_class);
            let parts = [product, Number::from(weight)];
            parts.iter().any(|part| !part.is_zero() && *part < least)
        })
    }

    fn check(&self, checking: Checking) {
        let config = self.case.config.clone().with_checking(checking);
        let centers: Vec<Vec<f64>> = CENTERS.iter().map(|row| row.to_vec()).collect();
        let classes: Vec<Option<usize>> = self.labels.iter().copied().map(Some).collect();
        let oracle = Oracle {
            config: &config,
            per_sample: self.case.per_sample,
            features: &self.features,
            classes: &classes,
            weights: &self.weights,
            centers: &centers,
        };
        for device in devices_with(self.dtype).into_iter().map(Device::autodiff) {
            if self.has_subnormals() && flushes_subnormals(&device, self.dtype) {
                continue;
            }
            let loss = config
                .init_with_centers(typed_matrix(&centers, self.dtype, &device))
                .unwrap();
            let outcome = self.run(&loss, &device);
            let after = values(loss.centers());
            match (checking, outcome) {
                (Checking::Strict, Ok(outcome)) => self.assert_equal(&oracle, &outcome, &after),
                (Checking::Strict, Err(error)) => {
                    self.assert_justified(&oracle, &error);
                    assert_eq!(after, centers.concat(), "{error}: centers");
                    assert_eq!(loss.step(), 0, "{error}: schedules");
                }
                (Checking::Deferred, Ok(outcome)) => {
                    self.assert_where_in_range(&oracle, &outcome, &after);
                }
                (Checking::Deferred, Err(error)) => {
                    let is_step = matches!(error, CenterLossError::Centers(_));
                    assert!(is_step, "{error}");
                    self.assert_justified(&oracle, &error);
                    assert_eq!(after, centers.concat(), "{error}: centers");
                }
            }
        }
    }

    fn assert_equal(&self, oracle: &Oracle, outcome: &Outcome, after: &[f64]) {
        let (tolerance, dtype) = (self.tolerance(), self.dtype);
        let all = |name, actual: &[f64], expected: Vec<Expected>| {
            assert_all(name, actual, &expected, tolerance, dtype);
        };
        all("value", &outcome.value, oracle.value());
        all("gradient", &outcome.gradient, oracle.gradient().concat());
        if let Some(gradient) = &outcome.center_gradient {
            all(
                "gradient of the centers",
                gradient,
                oracle.center_gradient().concat(),
            );
        }
        all("centers", after, oracle.updated().concat());
    }

    /// Asserts that loss, gradient or step is indeed beyond the data type.
    fn assert_justified(&self, oracle: &Oracle, error: &CenterLossError) {
        let limit = normal(self.dtype).1 * Number::from(0.999 - 1e-4);
        let length = |row: &Vec<Expected>| {
            let squares = row.iter().map(|entry| entry.value * entry.value);
            squares.sum::<Number>().sqrt() + row[0].scale * self.tolerance().into()
        };
        if matches!(error, CenterLossError::Batch(_)) && oracle.is_coefficient_beyond() {
            return;
        }
        let is_cosine = oracle.config.distance == CenterDistance::Cosine;
        let scales = |rows: Vec<Vec<Expected>>| {
            let scales = rows.concat().into_iter().map(|entry| entry.scale);
            scales.fold(Number::ZERO, Number::max)
        };
        let largest = match error {
            // This bound is above all that is computed on the way: slopes by the direction, of some
            // parts, before they are divided by a norm of at most 4.
            CenterLossError::Batch(BatchError::Overflow { what, .. })
                if is_cosine && *what != "loss" =>
            {
                let largest = scales(oracle.gradient()).max(scales(oracle.center_gradient()));
                largest * Number::from(4.0 * 4.0)
            }
            CenterLossError::Batch(BatchError::Overflow { what, .. }) => match *what {
                "loss" => oracle
                    .value()
                    .iter()
                    .map(|loss| loss.value + loss.scale * self.tolerance().into())
                    .fold(Number::ZERO, Number::max),
                "gradient of the features" => oracle
                    .gradient()
                    .iter()
                    .map(length)
                    .fold(Number::ZERO, Number::max),
                // An upper bound whatever the directions of the samples.
                "gradient of the centers" => scales(oracle.center_gradient()),
                other => panic!("nothing is called {other}"),
            },
            CenterLossError::Centers(CentersError::UpdateOverflow { .. }) => {
                let factors = (0..CENTERS.len()).map(|class| oracle.factor(class));
                let factor = factors.fold(Number::ZERO, Number::max);
                // Bounds of factor and reach, either of which may be of another class.
                factor * oracle.reach().max(Number::from(1.0)) * Number::from(4.0)
            }
            error => panic!("{error} is no overflow"),
        };
        assert!(
            largest >= limit,
            "{error}, but it is only {:e}",
            largest.to_f64()
        );
    }

    fn assert_where_in_range(&self, oracle: &Oracle, outcome: &Outcome, after: &[f64]) {
        let is_plain = oracle.config.distance == CenterDistance::Euclidean
            && oracle.config.radius == 0.0
            && oracle.config.update_rule != UpdateRule::Gradient;
        let check = |name: &str, actual: &[f64], expected: &[Expected]| {
            assert_eq!(actual.len(), expected.len(), "{name}: length");
            for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
                // Where terms are beyond the type, cosine and radius may subtract infinity from infinity.
                if is_plain || expected.is_within(self.dtype) {
                    assert!(!actual.is_nan(), "{name}[{i}] is NaN");
                }
                if expected.is_normal(self.dtype) {
                    let name = format!("{name}[{i}]");
                    expected.assert_is(*actual, self.tolerance(), self.dtype, &name);
                }
            }
        };
        check("value", &outcome.value, &oracle.value());
        check("gradient", &outcome.gradient, &oracle.gradient().concat());
        if let Some(gradient) = &outcome.center_gradient {
            check(
                "gradient of the centers",
                gradient,
                &oracle.center_gradient().concat(),
            );
        }
        assert!(
            after.iter().all(|value| value.is_finite()),
            "centers are {after:?}"
        );
        // A step that might overflow is left out.
        let limit = normal(self.dtype).1 / Number::from(4.0 * 1.001 * BATCH_SIZE as f64);
        for (class, expected) in oracle.updated().iter().enumerate() {
            if oracle.factor(class) * oracle.reach().max(Number::from(1.0)) < limit {
                check("centers", &after[2 * class..][..2], expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(property_cases(500))]

    #[test]
    fn strict_single(weighted in weighted(DType::F32, single_weight())) {
        weighted.check(Checking::Strict);
    }

    #[test]
    fn strict_double(weighted in weighted(DType::F64, double_weight())) {
        weighted.check(Checking::Strict);
    }

    #[test]
    fn deferred_single(weighted in weighted(DType::F32, single_weight())) {
        weighted.check(Checking::Deferred);
    }

    #[test]
    fn deferred_double(weighted in weighted(DType::F64, double_weight())) {
        weighted.check(Checking::Deferred);
    }
}

/// Weights of samples and classes whose products the data type cannot hold, on a batch whose distances bring some
/// gradients back into its range.
#[test]
fn products_of_weights_beyond_the_type() {
    let reductions = [
        None,
        Some(Reduction::Mean),
        Some(Reduction::Sum),
        Some(Reduction::BatchMean),
    ];
    let balances = [ClassBalance::None, ClassBalance::Histogram];
    let class_weights = [0.3, 7.0, 1e160, 1e-160, 1e-310, f64::MAX];
    let weights = [1e-40, 1e-30, 1.0, 1e30, 1.7e38];
    for (reduction, balance) in reductions
        .iter()
        .flat_map(|reduction| balances.map(|balance| (reduction, balance)))
    {
        for (class_weight, weight) in class_weights
            .iter()
            .flat_map(|class_weight| weights.map(|weight| (class_weight, weight)))
        {
            let config = CenterLossConfig::new(CENTERS.len(), 2)
                .with_class_balance(balance)
                .with_class_weights(Some(vec![1.0, *class_weight, 1.0]));
            let weighted = Weighted {
                case: Case {
                    config: match reduction {
                        Some(reduction) => config.with_reduction(reduction.clone()),
                        None => config,
                    },
                    per_sample: reduction.is_none(),
                },
                dtype: DType::F32,
                // The last one stands 0.125 beside the center of its class.
                features: vec![vec![0.5, 0.5], vec![0.5, 0.5], vec![2.0, 0.125]],
                labels: vec![0, 0, 1],
                weights: vec![0.0, weight, weight],
            };
            weighted.check(Checking::Strict);
            weighted.check(Checking::Deferred);
        }
    }
}
