//! How center loss moves its centers.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{
    CenterDistance, CenterLoss, CenterLossConfig, CenterUpdate, Checking, ClassBalance, LossError,
    SkippedSamples, UpdateRule,
};
use proptest::prelude::*;

use crate::center_plain::{self, direct_rules};
use crate::devices::{autodiff_devices, devices_with, values};
use crate::fixtures::assert_close;
use crate::plain::Plain;
use crate::tensors::{labels, typed_matrix};

fn config() -> CenterLossConfig {
    CenterLossConfig::new(3, 2)
}

fn bits(centers: Tensor<2>) -> Vec<u32> {
    let values = centers.into_data();
    values.iter::<f32>().map(f32::to_bits).collect()
}

fn with_zeros(config: CenterLossConfig, device: &Device) -> CenterLoss {
    let shape = [config.num_classes, config.feature_dim];
    config
        .init_with_centers(Tensor::zeros(shape, device))
        .unwrap()
}

#[test]
fn features_on_their_centers_cost_nothing_and_move_nothing() {
    for device in autodiff_devices() {
        for rule in direct_rules(0.5) {
            let centers = Tensor::<2>::from_data([[1.0, -2.0], [0.5, 4.0]], &device);
            let config = CenterLossConfig::new(2, 2).with_update_rule(rule);
            let loss = config.init_with_centers(centers.clone()).unwrap();
            let features = centers.clone().detach().require_grad();
            let value = loss.forward(features.clone(), labels(&[0, 1], &device));
            let gradients = value.backward();
            assert_eq!(values(value), [0.0]);
            assert_eq!(values(features.grad(&gradients).unwrap()), [0.0; 4]);
            assert_eq!(bits(loss.centers()), bits(centers));
        }
    }
}

#[test]
fn absent_classes_keep_their_centers_bit_by_bit() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            for rule in direct_rules(0.5) {
                // Class 0 is where masked samples point to, and -0 is what adding +0 would change.
                let rows = [[-0.0, 1e-40], [1.0, 2.0], [-0.0, 0.1]];
                let centers = Tensor::<2>::from_data(rows, &device);
                let loss = config()
                    .with_update_rule(rule.clone())
                    .with_checking(checking)
                    .with_ignore_label(Some(-1))
                    .init_with_centers(centers.clone())
                    .unwrap();
                let plain = Plain {
                    features: vec![vec![3.0, 4.0], vec![5.0, 6.0], vec![7.0, 8.0]],
                    labels: vec![1, -1, 2],
                    weights: Some(vec![1.0, 1.0, 0.0]),
                    centers: vec![],
                };
                loss.try_forward(plain.batch_of(plain.typed(DType::F32, &device)))
                    .unwrap();
                let (before, after) = (bits(centers), bits(loss.centers()));
                assert_eq!(before[..2], after[..2], "{rule:?}, {checking:?}: ignored");
                assert_ne!(before[2..4], after[2..4], "{rule:?}, {checking:?}: present");
                assert_eq!(before[4..], after[4..], "{rule:?}, {checking:?}: weight 0");
            }
        }
    }
}

#[test]
fn weights_of_the_loss_do_not_change_how_fast_centers_move() {
    for device in autodiff_devices() {
        for rule in direct_rules(0.5) {
            let plain = Plain::new(7, 3, 2, 1);
            let centers = [0.0, 0.003, 100.0].map(|lambda| {
                let config = config()
                    .with_update_rule(rule.clone())
                    .with_lambda(lambda)
                    .with_class_weights(Some(vec![1.0, lambda, 2.0]))
                    .with_reduction(Reduction::Sum)
                    .with_class_balance(ClassBalance::Histogram);
                let loss = with_zeros(config, &device);
                loss.forward(plain.typed(DType::F32, &device), plain.labels(&device));
                bits(loss.centers())
            });
            assert_eq!(centers[0], centers[1]);
            assert_eq!(centers[0], centers[2]);
        }
    }
}

#[test]
fn a_class_seen_once_and_an_alpha_of_zero() {
    for device in autodiff_devices() {
        for (rule, expected) in [
            (UpdateRule::paper(), [1.0, 0.0]),
            (UpdateRule::mean(), [2.0, 0.0]),
            (UpdateRule::sum(), [2.0, 0.0]),
            (UpdateRule::sum().with_alpha(0.0), [0.0, 0.0]),
        ] {
            let loss = with_zeros(CenterLossConfig::new(1, 2).with_update_rule(rule), &device);
            let features = Tensor::<2>::from_data([[4.0, 0.0]], &device);
            assert_eq!(values(loss.forward(features, labels(&[0], &device))), [8.0]);
            assert_eq!(values(loss.centers()), expected);
            assert_eq!(loss.step(), 1);
        }
    }
}

/// The squares are finite, their sum is not: only the mean is.
#[test]
fn a_finite_mean_of_large_losses() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            let config = CenterLossConfig::new(1, 1).with_checking(checking);
            let loss = with_zeros(config, &device);
            let features = Tensor::<2>::full([4, 1], 1e18, &device).require_grad();
            let value = loss.forward(features.clone(), labels(&[0; 4], &device));
            let gradients = value.backward();
            assert_close("loss", &values(value), &[5e35], 1e-5);
            let gradient = values(features.grad(&gradients).unwrap());
            assert_close("gradient", &gradient, &[2.5e17; 4], 1e-5);
        }
    }
}

/// Features and center are finite, but their difference or its square is not.
#[test]
fn losses_and_steps_beyond_the_type_are_refused_or_skipped() {
    for device in autodiff_devices() {
        let centers = || Tensor::<2>::full([3, 2], -3e38, &device);
        let batch = || {
            let features = Tensor::<2>::from_data([[-3e38, -3e38], [3e38, 3e38]], &device);
            (features.require_grad(), labels(&[0, 2], &device))
        };
        for rule in [
            UpdateRule::paper(),
            UpdateRule::Gradient,
            UpdateRule::Frozen,
        ] {
            let config = config().with_update_rule(rule);
            let loss = config.init_with_centers(centers()).unwrap();
            assert_eq!(
                loss.try_forward(batch()).unwrap_err().to_string(),
                "the loss of features[1] is not finite in F32: features, weights and rates must be smaller"
            );
            assert_eq!((bits(loss.centers()), loss.step()), (bits(centers()), 0));

            let config = config.with_checking(Checking::Deferred);
            let loss = config.init_with_centers(centers()).unwrap();
            let (features, y) = batch();
            let value = loss.forward(features.clone(), y);
            let gradients = value.backward();
            assert_eq!(values(value), [0.0]);
            assert_eq!(values(features.grad(&gradients).unwrap()), [0.0; 4]);
            let skipped = SkippedSamples {
                losses: 1,
                ..SkippedSamples::default()
            };
            assert_eq!(loss.take_skipped(), Ok(skipped));
            assert_eq!(bits(loss.centers()), bits(centers()));
        }
        let rule = UpdateRule::sum().with_alpha(1e25);
        let loss = with_zeros(config().with_update_rule(rule).with_lambda(0.0), &device);
        let features = Tensor::<2>::full([2, 2], 1e15, &device);
        let error = loss
            .try_forward((features, labels(&[0, 0], &device)))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the step of the center of features["),
            "{error}"
        );
        assert_eq!((values(loss.centers()), loss.step()), (vec![0.0; 6], 0));
    }
}

#[test]
fn the_centers_of_half_precision_features() {
    for dtype in [DType::F16, DType::BF16] {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            let rule = UpdateRule::mean().with_alpha(1.0);
            let loss = with_zeros(CenterLossConfig::new(1, 2).with_update_rule(rule), &device);
            // 300^2 is beyond f16.
            let rows = [vec![300.0, 0.0], vec![200.0, 0.0]];
            let features = typed_matrix(&rows, dtype, &device).require_grad();
            let value = loss.forward(features.clone(), labels(&[0, 0], &device));
            assert_eq!(value.dtype(), DType::F32);
            let gradients = value.backward();
            assert_eq!(values(value), [32500.0]);
            let gradient = features.grad(&gradients).unwrap();
            assert_eq!(gradient.dtype(), dtype);
            assert_eq!(values(gradient), [150.0, 0.0, 100.0, 0.0]);
            assert_eq!(values(loss.centers()), [250.0, 0.0]);
        }
    }
}

fn merged(loss: &CenterLoss, plain: &Plain, device: &Device, cuts: &[usize]) -> CenterUpdate {
    let mut parts = vec![];
    let mut start = 0;
    for end in cuts.iter().copied().chain([plain.labels.len()]) {
        if end > start {
            let part = Plain {
                features: plain.features[start..end].to_vec(),
                labels: plain.labels[start..end].to_vec(),
                weights: plain
                    .weights
                    .as_ref()
                    .map(|weights| weights[start..end].to_vec()),
                centers: vec![],
            };
            parts.push(loss.measure(part.batch(device)).unwrap().1);
            start = end;
        }
    }
    let parts = parts.into_iter().map(Ok::<_, LossError>);
    parts.reduce(|a, b| a?.merge(b?)).unwrap().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn merged_parts_equal_the_whole_batch(
        batch_size in 1_usize..24,
        num_classes in 1_usize..6,
        feature_dim in 1_usize..5,
        seed in any::<u64>(),
        weighted in any::<bool>(),
        ignore in prop::option::of(0_i64..6),
        deferred in any::<bool>(),
        mut cuts in prop::collection::vec(0_usize..24, 0..5),
    ) {
        cuts.sort_unstable();
        cuts.retain(|cut| *cut <= batch_size);
        let mut plain = Plain::new(batch_size, num_classes, feature_dim, seed);
        if weighted {
            plain = plain.with_weights();
        }
        let checking = if deferred { Checking::Deferred } else { Checking::Strict };
        for device in devices_with(DType::F64) {
            for rule in direct_rules(0.5) {
                let config = CenterLossConfig::new(num_classes, feature_dim)
                    .with_update_rule(rule.clone())
                    .with_checking(checking)
                    .with_ignore_label(ignore);
                let loss = center_plain::loss(&config, &plain, &device);
                loss.apply(merged(&loss, &plain, &device, &cuts)).unwrap();
                let expected = center_plain::updated(&config, &plain);
                assert_close("centers", &values(loss.centers()), &expected, 1e-11);
            }
        }
    }
}

#[test]
fn class_means_over_several_batches() {
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        let mut plain = Plain::new(20, 3, 2, 3);
        // Class 3 has no sample and keeps its center.
        plain.centers = vec![vec![9.0; 2]; 4];
        let loss = center_plain::loss(&CenterLossConfig::new(4, 2), &plain, &device);
        let batches = [0..7, 7..8, 8..20].map(|range| {
            let features = plain.features(&device).slice(range.clone());
            (features, plain.labels(&device).slice(range))
        });
        let loss = loss.init_from_data(batches).unwrap();
        let mut expected = vec![];
        for class in 0..3 {
            for d in 0..2 {
                let samples = (0..20).filter(|i| plain.labels[*i] == class);
                let of_class: Vec<f64> = samples.map(|i| plain.features[i][d]).collect();
                expected.push(of_class.iter().sum::<f64>() / of_class.len() as f64);
            }
        }
        expected.extend([9.0, 9.0]);
        assert_close("centers", &values(loss.centers()), &expected, 1e-12);
        assert_eq!(loss.step(), 0);
        // They move on from there.
        loss.forward(plain.features(&device), plain.labels(&device));
        assert_ne!(values(loss.centers()), expected);
    }
}

#[test]
fn measuring_moves_nothing() {
    for device in autodiff_devices() {
        for distance in [CenterDistance::Euclidean, CenterDistance::Cosine] {
            let loss = config().with_distance(distance).init(&device);
            let before = bits(loss.centers());
            let batch = || (Tensor::<2>::ones([2, 2], &device), labels(&[0, 1], &device));
            let (measured, _) = loss.measure(batch()).unwrap();
            let value = loss.try_evaluate(batch()).unwrap();
            assert_close("loss", &values(measured), &values(value), 1e-6);
            assert_eq!((bits(loss.centers()), loss.step()), (before, 0));
        }
    }
}
