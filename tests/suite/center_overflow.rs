//! Batches whose loss, gradient or step is beyond the data type.

use burn::nn::loss::Reduction;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device};
use burn_center_loss::{
    Batch, BatchError, CenterDistance, CenterLoss, CenterLossConfig, CenterLossError, CentersError,
    Checking, ClassBalance, DirectRule, Precision, UpdateRule, UpdateTiming,
};
use proptest::prelude::*;

use crate::center_plain::Case;
use crate::devices::{devices_with, property_cases, values};
use crate::storage::centers_id;
use crate::tensors::{labels, typed_matrix};

const NUM_CLASSES: usize = 3;

#[derive(Clone, Debug)]
struct Extreme {
    case: Case,
    dtype: DType,
    centers: Vec<Vec<f64>>,
    features: Vec<Vec<f64>>,
    labels: Vec<i64>,
}

/// Numbers from one end of the type to the other, of either sign.
fn number(dtype: DType) -> impl Strategy<Value = f64> {
    let (least, normal, most) = match dtype {
        DType::F64 => (f64::from_bits(1), f64::MIN_POSITIVE, f64::MAX),
        _ => (
            f32::from_bits(1).into(),
            f32::MIN_POSITIVE.into(),
            f32::MAX.into(),
        ),
    };
    let magnitudes = vec![
        0.0,
        least,
        normal,
        normal.sqrt(),
        1e-6,
        0.5,
        1.0,
        3.0,
        1e5,
        most.sqrt() / 3.0,
        most.sqrt() * 0.9,
        most.sqrt() * 1.5,
        most / 1e4,
        most / 3.0,
        most / 1.5,
        most,
    ];
    (prop::sample::select(magnitudes), any::<bool>())
        .prop_map(|(value, is_negative)| if is_negative { -value } else { value })
}

fn rule() -> impl Strategy<Value = UpdateRule> {
    let direct = (
        prop::sample::select(vec![
            DirectRule::paper(),
            DirectRule::mean(),
            DirectRule::sum(),
        ]),
        prop::sample::select(vec![0.5, 1.0, 1e10, 1e300]),
        prop::sample::select(vec![UpdateTiming::Immediate, UpdateTiming::OnStep]),
    );
    let direct =
        direct.prop_map(|(rule, alpha, timing)| rule.with_alpha(alpha).with_timing(timing).into());
    prop_oneof![
        3 => direct,
        1 => Just(UpdateRule::Gradient),
        1 => Just(UpdateRule::Frozen),
    ]
}

fn rows(count: usize, dtype: DType) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(number(dtype), 2), count)
}

prop_compose! {
    fn extreme(dtype: DType)(
        rule in rule(),
        reduction in prop::option::of(prop::sample::select(vec![
            Reduction::Mean,
            Reduction::Sum,
            Reduction::BatchMean,
        ])),
        is_balanced in any::<bool>(),
        lambda in prop::sample::select(vec![0.0, 1e-308, 1e-38, 1.0, 1e10, 1e38, 1e77, 1e154, 1e308]),
        radius in prop::sample::select(vec![0.0, 0.0, 1e-320, 1e-40, 0.75, 1e30, 1e300]),
        distance in prop::sample::select(vec![CenterDistance::Euclidean, CenterDistance::Cosine]),
        centers in rows(NUM_CLASSES, dtype),
        features in rows(4, dtype),
        // Some samples are on their center, or near it.
        places in prop::collection::vec(prop::option::weighted(0.2, -1_i8..=1), 4),
        labels in prop::collection::vec(0..NUM_CLASSES as i64, 4),
    ) -> Extreme {
        let config = CenterLossConfig::new(NUM_CLASSES, 2)
            .with_update_rule(rule)
            .with_lambda(lambda)
            .with_radius(radius)
            .with_distance(distance)
            .with_class_balance(if is_balanced { ClassBalance::Histogram } else { ClassBalance::None })
            .with_precision(if dtype == DType::F64 { Precision::F64 } else { Precision::F32 });
        let per_sample = reduction.is_none();
        let config = match reduction {
            Some(reduction) => config.with_reduction(reduction),
            None => config,
        };
        let mut features = features;
        for ((row, place), label) in features.iter_mut().zip(places).zip(&labels) {
            if let Some(place) = place {
                *row = centers[*label as usize].clone();
                row[0] *= 1.0 - f64::from(place.abs()) * 1e-3;
            }
        }
        Extreme { case: Case { config, per_sample }, dtype, centers, features, labels }
    }
}

impl Extreme {
    fn loss(&self, checking: Checking, device: &Device) -> CenterLoss {
        let config = self.case.config.clone().with_checking(checking);
        config
            .init_with_centers(typed_matrix(&self.centers, self.dtype, device))
            .unwrap()
    }

    /// Value, gradient of the features, and gradient of the centers under the gradient rule.
    fn run(&self, loss: &CenterLoss, device: &Device) -> Result<Vec<f64>, CenterLossError> {
        let features = typed_matrix(&self.features, self.dtype, device).require_grad();
        let batch = Batch::new(features.clone(), labels(&self.labels, device));
        let value = self.case.forward(loss, batch)?;
        let gradients = value.clone().sum().backward();
        let mut all = values(value);
        all.extend(values(features.grad(&gradients).unwrap()));
        let gradients = GradientsParams::from_grads(gradients, loss);
        all.extend(
            gradients
                .get::<2>(centers_id(loss))
                .map(values)
                .unwrap_or_default(),
        );
        Ok(all)
    }

    fn check_strict(&self) {
        for device in devices_with(self.dtype).into_iter().map(Device::autodiff) {
            let loss = self.loss(Checking::Strict, &device);
            let before = bits(&loss);
            let is_direct = loss.alpha().is_some();
            match self.run(&loss, &device) {
                Ok(all) => {
                    // One value per sample is finite, but the sum of them that was differentiated need not be.
                    assert!(all.iter().all(|value| value.is_finite()), "{all:?}");
                    assert_eq!(loss.step(), u64::from(!is_waiting(&loss)));
                }
                Err(error) => {
                    assert_eq!(bits(&loss), before, "{error}");
                    assert_eq!(loss.step(), 0, "{error}");
                    assert_named(&error);
                    if is_direct {
                        assert_eq!(loss.apply_pending(), Ok(0), "{error}");
                    }
                }
            }
            apply_pending(&loss);
            assert_finite(&loss);
        }
    }

    fn check_deferred(&self) {
        for device in devices_with(self.dtype).into_iter().map(Device::autodiff) {
            let loss = self.loss(Checking::Deferred, &device);
            self.run(&loss, &device)
                .expect("deferred checking leaves out what overflows");
            apply_pending(&loss);
            assert_finite(&loss);
        }
    }
}

fn bits(loss: &CenterLoss) -> Vec<u64> {
    values(loss.centers())
        .into_iter()
        .map(f64::to_bits)
        .collect()
}

fn is_waiting(loss: &CenterLoss) -> bool {
    match &loss.config().update_rule {
        UpdateRule::Direct(rule) => rule.timing == UpdateTiming::OnStep,
        _ => false,
    }
}

/// Applies what waits. A step that overflows is refused and changes nothing.
fn apply_pending(loss: &CenterLoss) {
    if !is_waiting(loss) {
        return;
    }
    let (before, step) = (bits(loss), loss.step());
    if let Err(error) = loss.apply_pending() {
        assert_named(&error);
        assert_eq!((bits(loss), loss.step()), (before, step), "{error}");
        assert_eq!(loss.apply_pending(), Ok(0));
    }
}

fn assert_finite(loss: &CenterLoss) {
    let centers = values(loss.centers());
    assert!(
        centers.iter().all(|value| value.is_finite()),
        "centers are {centers:?}"
    );
}

/// Asserts that the error says what overflows.
fn assert_named(error: &CenterLossError) {
    let message = error.to_string();
    match error {
        CenterLossError::Batch(BatchError::Overflow { what, value, .. }) => {
            assert!(
                [
                    "loss",
                    "gradient of the features",
                    "gradient of the centers"
                ]
                .contains(what)
            );
            assert!(
                message.starts_with(&format!("the {what} overflows F")),
                "{message}"
            );
            assert!(!value.is_nan(), "{message}");
        }
        CenterLossError::Batch(BatchError::Distance { .. }) => {
            assert!(
                message.contains("their difference overflows F"),
                "{message}"
            );
        }
        CenterLossError::Centers(CentersError::UpdateOverflow { .. }) => {
            assert!(
                message.starts_with("the update moves a center by up to"),
                "{message}"
            );
        }
        error => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(property_cases(400))]

    #[test]
    fn strict_single(extreme in extreme(DType::F32)) {
        extreme.check_strict();
    }

    #[test]
    fn strict_double(extreme in extreme(DType::F64)) {
        extreme.check_strict();
    }

    #[test]
    fn deferred_single(extreme in extreme(DType::F32)) {
        extreme.check_deferred();
    }

    #[test]
    fn deferred_double(extreme in extreme(DType::F64)) {
        extreme.check_deferred();
    }
}

#[test]
fn an_infinite_loss_moves_no_center() {
    for device in devices_with(DType::F32).into_iter().map(Device::autodiff) {
        for timing in [UpdateTiming::Immediate, UpdateTiming::OnStep] {
            let loss = CenterLossConfig::new(1, 2)
                .with_update_rule(DirectRule::mean().with_timing(timing).into())
                .init_with_centers(typed_matrix(&[vec![0.0, 0.0]], DType::F32, &device))
                .unwrap();
            let features = typed_matrix(&[vec![5e36, -5e36]], DType::F32, &device);
            let error = loss
                .try_forward((features, labels(&[0], &device)))
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "the loss overflows F32: 2.4999999e73 is the largest, at features[0], and it must stay below \
                 3.3994206429189033e38"
                    .replace("2.4999999e73", &overflowing(&error))
            );
            assert_eq!(loss.apply_pending(), Ok(0));
            assert_eq!((values(loss.centers()), loss.step()), (vec![0.0, 0.0], 0));
        }
    }
}

/// The value in the message, which is near 2.5e73.
fn overflowing(error: &CenterLossError) -> String {
    let CenterLossError::Batch(BatchError::Overflow { value, .. }) = error else {
        panic!("{error}")
    };
    assert!((value / 2.5e73 - 1.0).abs() < 1e-5);
    format!("{value:e}")
}
