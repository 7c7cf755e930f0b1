//! What holds for every rule and every setting.

use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    Batch, CenterLoss, CenterLossConfig, CenterUpdate, Checking, ClassBalance, DirectRule, LeftOut,
    Precision, UpdateRule,
};
use proptest::prelude::*;

use crate::center_plain::{Plain, direct_rules, every_case};
use crate::devices::{devices, devices_with, values};
use crate::fixtures::assert_close;
use crate::tensors::{labels, typed_matrix};

fn autodiff_devices() -> Vec<Device> {
    devices().into_iter().map(Device::autodiff).collect()
}

fn bits(centers: Tensor<2>) -> Vec<u32> {
    let values = centers.into_data();
    values.iter::<f32>().map(f32::to_bits).collect()
}

#[test]
fn features_on_their_centers_cost_nothing_and_move_nothing() {
    for device in autodiff_devices() {
        for rule in direct_rules(0.5) {
            let centers = Tensor::<2>::from_data([[1.0, -2.0], [0.5, 4.0]], &device);
            let loss = CenterLossConfig::new(2, 2)
                .with_update_rule(rule.clone())
                .init_with_centers(centers.clone())
                .unwrap();
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
                let centers =
                    Tensor::<2>::from_data([[-0.0, 1e-40], [1.0, 2.0], [-0.0, 0.1]], &device);
                let loss = CenterLossConfig::new(3, 2)
                    .with_update_rule(rule.clone())
                    .with_checking(checking)
                    .with_ignore_label(Some(-1))
                    .init_with_centers(centers.clone())
                    .unwrap();
                let features =
                    Tensor::<2>::from_data([[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], &device);
                let weights = Tensor::from_data([1.0, 1.0, 0.0], &device);
                let batch = Batch::new(features, labels(&[1, -1, 2], &device));
                loss.try_forward(batch.with_weights(weights)).unwrap();
                let (before, after) = (bits(centers), bits(loss.centers()));
                assert_eq!(before[..2], after[..2], "{rule:?}, {checking:?}: ignored");
                assert_ne!(before[2..4], after[2..4], "{rule:?}, {checking:?}: present");
                assert_eq!(before[4..], after[4..], "{rule:?}, {checking:?}: weight 0");
            }
        }
    }
}

#[test]
fn lambda_does_not_change_how_fast_centers_move() {
    for device in autodiff_devices() {
        for rule in direct_rules(0.5) {
            let plain = Plain::new(7, 3, 2, 1);
            let centers = [0.0, 0.003, 100.0].map(|lambda| {
                let config = CenterLossConfig::new(3, 2)
                    .with_update_rule(rule.clone())
                    .with_lambda(lambda)
                    .with_reduction(Reduction::Sum)
                    .with_class_balance(ClassBalance::Histogram);
                let loss = config
                    .init_with_centers(Tensor::zeros([3, 2], &device))
                    .unwrap();
                let features = typed_matrix(&plain.features, DType::F32, &device);
                loss.forward(features, plain.labels(&device));
                bits(loss.centers())
            });
            assert_eq!(centers[0], centers[1]);
            assert_eq!(centers[0], centers[2]);
        }
    }
}

#[test]
fn alpha_zero_and_frozen_rest() {
    for device in autodiff_devices() {
        for config in [
            CenterLossConfig::new(2, 2)
                .with_update_rule(DirectRule::paper().with_alpha(0.0).into()),
            CenterLossConfig::new(2, 2).with_update_rule(UpdateRule::Frozen),
        ] {
            let loss = config.init(&device);
            let before = bits(loss.centers());
            loss.forward(Tensor::ones([2, 2], &device), labels(&[0, 1], &device));
            assert_eq!(bits(loss.centers()), before);
        }
    }
}

#[test]
fn only_forward_in_training_moves_the_centers() {
    for device in autodiff_devices() {
        let loss = CenterLossConfig::new(2, 2).init(&device);
        let before = bits(loss.centers());
        let on = |device: &Device| (Tensor::<2>::ones([2, 2], device), labels(&[0, 1], device));
        let plain = device.clone().without_autodiff();

        let (features, y) = on(&device);
        let value = values(loss.evaluate(features.clone(), y.clone()));
        assert_eq!(bits(loss.centers()), before, "evaluate");
        let (measured, _) = loss.measure((features.clone(), y.clone())).unwrap();
        assert_eq!(values(measured), value);
        assert_eq!(bits(loss.centers()), before, "measure");
        let (inference_features, inference_labels) = on(&plain);
        let inference = loss.forward(inference_features.clone(), inference_labels.clone());
        assert_eq!(values(inference), value);
        assert_eq!(bits(loss.centers()), before, "features without autodiff");
        let valid = loss.valid();
        valid.forward(inference_features, inference_labels);
        valid.forward(features.clone(), y.clone());
        assert_eq!(bits(valid.centers()), before, "valid()");
        let frozen = loss.clone().freeze();
        frozen.forward(features.clone(), y.clone());
        assert_eq!(bits(frozen.centers()), before, "freeze()");
        assert_eq!(loss.step(), 0);

        let first = values(loss.forward(features.clone(), y.clone()));
        assert_eq!(
            first, value,
            "the loss is that of the centers before the call"
        );
        assert_ne!(bits(loss.centers()), before);
        assert_eq!(loss.step(), 1);
        let once = bits(loss.centers());
        loss.forward(features.clone(), y.clone());
        assert_ne!(bits(loss.centers()), once, "a second call moves them again");

        let thawed = frozen.unfreeze();
        thawed.forward(features.clone(), y.clone());
        assert_eq!(
            bits(thawed.centers()),
            once,
            "unfreeze() lets them move again"
        );
        let trained = valid.train();
        trained.forward(features, y);
        assert_eq!(
            bits(trained.centers()),
            once,
            "train() lets them move again"
        );
    }
}

#[test]
fn a_batch_of_one_and_a_class_seen_once() {
    for device in autodiff_devices() {
        for (rule, expected) in [
            (DirectRule::paper(), [1.0, 0.0]),
            (DirectRule::mean(), [2.0, 0.0]),
            (DirectRule::sum(), [2.0, 0.0]),
        ] {
            let loss = CenterLossConfig::new(1, 2)
                .with_update_rule(rule.with_alpha(0.5).into())
                .init_with_centers(Tensor::zeros([1, 2], &device))
                .unwrap();
            let features = Tensor::<2>::from_data([[4.0, 0.0]], &device);
            assert_eq!(values(loss.forward(features, labels(&[0], &device))), [8.0]);
            assert_eq!(values(loss.centers()), expected);
        }
    }
}

#[test]
fn large_finite_values_stay_finite() {
    for device in autodiff_devices() {
        // The squares are finite, their sum is not: only the mean is.
        for (magnitude, batch_size, expected) in [(1e4, 4, 5e7), (1.5e19, 4, 1.125e38)] {
            for checking in [Checking::Strict, Checking::Deferred] {
                let loss = CenterLossConfig::new(1, 1)
                    .with_checking(checking)
                    .init_with_centers(Tensor::zeros([1, 1], &device))
                    .unwrap();
                let features =
                    Tensor::<2>::full([batch_size, 1], magnitude, &device).require_grad();
                let y = labels(&vec![0; batch_size], &device);
                let value = loss.forward(features.clone(), y);
                let gradients = value.backward();
                assert_close("loss", &values(value), &[expected], 1e-5);
                let gradient = values(features.grad(&gradients).unwrap());
                assert_close(
                    "gradient",
                    &gradient,
                    &vec![magnitude / batch_size as f64; batch_size],
                    1e-5,
                );
            }
        }
        // The sum of the pulls is not finite, their mean is.
        let loss = CenterLossConfig::new(1, 1)
            .with_update_rule(DirectRule::mean().with_alpha(0.5).into())
            .with_lambda(0.0)
            .init_with_centers(Tensor::zeros([1, 1], &device))
            .unwrap();
        let far = Tensor::<2>::full([8, 1], 1e38, &device);
        loss.forward(far, labels(&[0; 8], &device));
        assert_close("center", &values(loss.centers()), &[5e37], 1e-5);
    }
}

#[test]
fn ignored_samples_change_nothing_whatever_they_hold() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            for ignore in [-100, 1, 255] {
                let config = CenterLossConfig::new(3, 2)
                    .with_checking(checking)
                    .with_ignore_label(Some(ignore))
                    .with_class_balance(ClassBalance::Histogram);
                let make = || {
                    config
                        .init_with_centers(Tensor::ones([3, 2], &device))
                        .unwrap()
                };
                let (with, without) = (make(), make());
                let rows = [[1.5, -2.0], [f32::NAN, f32::INFINITY], [0.5, 3.0]];
                let features = Tensor::<2>::from_data(rows, &device).require_grad();
                let kept = Tensor::<2>::from_data([rows[0], rows[2]], &device).require_grad();
                let value = with.forward(features.clone(), labels(&[0, ignore, 2], &device));
                let expected = without.forward(kept.clone(), labels(&[0, 2], &device));
                let gradients = value.backward();
                let gradient = values(features.grad(&gradients).unwrap());
                let gradients = expected.backward();
                let of_kept = values(kept.grad(&gradients).unwrap());
                assert_close("loss", &values(value), &values(expected), 1e-6);
                assert_eq!(gradient[2..4], [0.0, 0.0]);
                assert_close(
                    "gradient",
                    &[&gradient[..2], &gradient[4..]].concat(),
                    &of_kept,
                    1e-6,
                );
                assert_close(
                    "centers",
                    &values(with.centers()),
                    &values(without.centers()),
                    1e-6,
                );
                assert_eq!(with.take_left_out(), Ok(LeftOut::default()));
            }
        }
    }
}

#[test]
fn a_batch_without_a_counting_sample_is_worth_zero() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            for balance in [ClassBalance::None, ClassBalance::Histogram] {
                let loss = CenterLossConfig::new(2, 2)
                    .with_checking(checking)
                    .with_class_balance(balance)
                    .with_ignore_label(Some(1))
                    .init(&device);
                let before = bits(loss.centers());
                let features = Tensor::<2>::ones([2, 2], &device).require_grad();
                let value = loss.forward(features.clone(), labels(&[1, 1], &device));
                let gradients = value.backward();
                assert_eq!(values(value), [0.0]);
                assert_eq!(values(features.grad(&gradients).unwrap()), [0.0; 4]);
                assert_eq!(bits(loss.centers()), before);
            }
        }
    }
}

#[test]
fn half_precision_features_are_summed_in_single_precision() {
    for dtype in [DType::F16, DType::BF16] {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            let loss = CenterLossConfig::new(1, 2)
                .with_update_rule(DirectRule::mean().with_alpha(1.0).into())
                .init_with_centers(Tensor::zeros([1, 2], &device))
                .unwrap();
            // 300^2 is beyond f16.
            let features = Tensor::<2>::from_data([[300.0, 0.0], [200.0, 0.0]], &device)
                .cast(dtype)
                .require_grad();
            let value = loss.forward(features.clone(), labels(&[0, 0], &device));
            assert_eq!(value.dtype(), DType::F32);
            let gradients = value.backward();
            assert_eq!(values(value), [32500.0]);
            let gradient = features.grad(&gradients).unwrap();
            assert_eq!(gradient.dtype(), dtype);
            assert_eq!(values(gradient), [150.0, 0.0, 100.0, 0.0]);
            assert_eq!(loss.centers().dtype(), DType::F32);
            assert_eq!(values(loss.centers()), [250.0, 0.0]);
        }
    }
}

#[test]
fn labels_of_every_integer_type() {
    for dtype in [
        DType::I64,
        DType::I32,
        DType::I16,
        DType::I8,
        DType::U64,
        DType::U32,
        DType::U16,
        DType::U8,
    ] {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            for checking in [Checking::Strict, Checking::Deferred] {
                // More classes than some of the types can count.
                let loss = CenterLossConfig::new(1000, 1)
                    .with_checking(checking)
                    .with_update_rule(DirectRule::mean().with_alpha(1.0).into())
                    .with_ignore_label(Some(-100))
                    .init_with_centers(Tensor::zeros([1000, 1], &device))
                    .unwrap();
                let features = Tensor::<2>::from_data([[2.0], [3.0]], &device);
                let y = Tensor::<1, Int>::from_data([5, 120], (&device, dtype));
                loss.forward(features, y);
                let centers = values(loss.centers());
                assert_eq!((centers[5], centers[120]), (2.0, 3.0), "{dtype:?}");
                assert_eq!(loss.take_left_out(), Ok(LeftOut::default()));
            }
        }
    }
}

#[test]
fn gradient_rule_leaves_momentum_free_optimizers_in_charge() {
    use burn::optim::{GradientsParams, SgdConfig};
    for device in autodiff_devices() {
        let loss = CenterLossConfig::new(2, 1)
            .with_update_rule(UpdateRule::Gradient)
            .init_with_centers(Tensor::zeros([2, 1], &device))
            .unwrap();
        let features = Tensor::<2>::from_data([[4.0]], &device);
        let gradients = loss.forward(features, labels(&[0], &device)).backward();
        assert_eq!(
            values(loss.centers()),
            [0.0, 0.0],
            "forward leaves them alone"
        );
        let gradients = GradientsParams::from_grads(gradients, &loss);
        let loss = SgdConfig::new().init().step(0.5, loss, gradients);
        assert_eq!(values(loss.centers()), [2.0, 0.0]);
    }
}

fn merged(loss: &CenterLoss, plain: &Plain, device: &Device, cuts: &[usize]) -> CenterUpdate {
    let mut parts = vec![];
    let mut start = 0;
    for end in cuts.iter().copied().chain([plain.labels.len()]) {
        if end > start {
            let part = |x: Tensor<1>| x.slice(start..end);
            let batch = Batch::new(
                plain.features(device).slice(start..end),
                plain.labels(device).slice(start..end),
            );
            let batch = match plain.weights(device).map(part) {
                Some(weights) => batch.with_weights(weights),
                None => batch,
            };
            parts.push(loss.measure(batch).unwrap().1);
            start = end;
        }
    }
    parts
        .into_iter()
        .map(Ok)
        .reduce(|a, b| a?.merge(b?))
        .unwrap()
        .unwrap()
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
                let config = plain
                    .config()
                    .with_update_rule(rule.clone())
                    .with_checking(checking)
                    .with_ignore_label(ignore);
                let loss = plain.loss(&config, &device);
                loss.apply(merged(&loss, &plain, &device, &cuts)).unwrap();
                let expected = plain.updated(&config).concat();
                assert_close("centers", &values(loss.centers()), &expected, 1e-11);
            }
        }
    }

    #[test]
    fn batch_order_does_not_matter(
        seed in any::<u64>(),
        rotation in 0_usize..9,
        pick in any::<prop::sample::Index>(),
    ) {
        let plain = Plain::new(9, 4, 3, seed).with_weights();
        let case = pick.get(&every_case(&plain)).clone();
        let mut rotated = plain.clone();
        rotated.features.rotate_left(rotation);
        rotated.labels.rotate_left(rotation);
        rotated.weights.as_mut().unwrap().rotate_left(rotation);
        for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
            let run = |plain: &Plain| {
                let loss = plain.loss(&case.config, &device);
                let value = case.forward(&loss, plain.batch(&device)).unwrap();
                (values(value), values(loss.centers()))
            };
            let ((mut value, centers), (rotated, of_rotated)) = (run(&plain), run(&rotated));
            if case.per_sample {
                value.rotate_left(rotation);
            }
            prop_assert!(value.iter().all(|value| *value >= 0.0));
            assert_close("loss", &value, &rotated, 1e-12);
            assert_close("centers", &centers, &of_rotated, 1e-12);
        }
    }

    #[test]
    fn a_weight_of_two_is_the_sample_twice(
        seed in any::<u64>(),
        pick in any::<prop::sample::Index>(),
    ) {
        let plain = Plain::new(6, 3, 2, seed);
        let case = pick.get(&every_case(&plain)).clone();
        // The mean over the rows knows nothing of weights.
        prop_assume!(!case.per_sample && !matches!(case.config.reduction, Reduction::BatchMean));
        let mut weighted = plain.clone();
        weighted.weights = Some(vec![2.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        let mut twice = plain.clone();
        twice.features.push(plain.features[0].clone());
        twice.labels.push(plain.labels[0]);
        for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
            let run = |plain: &Plain| {
                let loss = plain.loss(&case.config, &device);
                let value = case.forward(&loss, plain.batch(&device)).unwrap();
                (values(value), values(loss.centers()))
            };
            let (a, b) = (run(&weighted), run(&twice));
            assert_close("loss", &a.0, &b.0, 1e-12);
            assert_close("centers", &a.1, &b.1, 1e-12);
        }
    }

    #[test]
    fn the_sum_is_the_batch_size_times_the_mean(seed in any::<u64>()) {
        let plain = Plain::new(8, 3, 2, seed);
        for device in devices_with(DType::F64) {
            let value = |reduction| {
                let config = plain.config().with_reduction(reduction);
                let loss = plain.loss(&config, &device);
                values(loss.evaluate(plain.features(&device), plain.labels(&device)))
            };
            let loss = plain.loss(&plain.config(), &device);
            let each = values(loss.forward_no_reduction(plain.features(&device), plain.labels(&device)));
            let sum = value(Reduction::Sum)[0];
            prop_assert_eq!(each.len(), 8);
            assert_close("sum", &[each.iter().sum()], &[sum], 1e-12);
            for mean in [Reduction::Mean, Reduction::Auto, Reduction::BatchMean] {
                assert_close("mean", &[8.0 * value(mean)[0]], &[sum], 1e-12);
            }
        }
    }
}

#[test]
fn class_means_over_several_batches() {
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        let plain = Plain::new(20, 3, 2, 3);
        // Class 3 has no sample and keeps its center.
        let loss = CenterLossConfig::new(4, 2)
            .with_precision(Precision::F64)
            .init_with_centers(Tensor::full([4, 2], 9.0, (&device, DType::F64)))
            .unwrap();
        let batches = [0..7, 7..8, 8..20].map(|range| {
            (
                plain.features(&device).slice(range.clone()),
                plain.labels(&device).slice(range),
            )
        });
        let loss = loss.init_from_data(batches).unwrap();
        let mut expected = vec![];
        for class in 0..3 {
            for d in 0..2 {
                let of_class: Vec<f64> = (0..20)
                    .filter(|i| plain.labels[*i] == class)
                    .map(|i| plain.features[i][d])
                    .collect();
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
