//! Values and gradients, whatever way a batch is given.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Tensor};
use burn_center_loss::{CenterDType, Checking, ClassBalance};

use super::{Found, all_losses, every_case};
use crate::devices::{ONE_IN, autodiff_devices, devices_with, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Weighing, assert_gradients, rows_of};

/// Asserts that two calls gave the same value, gradients and centers.
pub fn assert_same(name: &str, one: &Found, other: &Found, tolerance: f64) {
    let centers = |found: &Found| values(found.loss.centers());
    assert_close(name, &one.value, &other.value, tolerance);
    let features = [&one.features, &other.features].map(|rows| rows.concat());
    assert_close(name, &features[0], &features[1], tolerance);
    assert_eq!(
        one.of_centers.is_some(),
        other.of_centers.is_some(),
        "{name}"
    );
    if let (Some(one), Some(other)) = (&one.of_centers, &other.of_centers) {
        assert_close(name, one, other, tolerance);
    }
    assert_close(name, &centers(one), &centers(other), tolerance);
}

#[test]
fn the_order_of_the_batch_does_not_matter() {
    for device in f64_devices() {
        for (nth, case) in every_case().into_iter().enumerate().step_by(ONE_IN) {
            let plain = case.batch().with_weights();
            let rotation = 1 + nth % 8;
            let mut one = case.run(&plain, &device);
            let other = case.run(&plain.rotated(rotation), &device);
            one.features.rotate_left(rotation);
            if case.per_sample {
                one.value.rotate_left(rotation);
            }
            assert_same(&case.name(), &one, &other, case.config.tolerance());
        }
    }
}

#[test]
fn deferred_checking_gives_the_same() {
    for device in f64_devices() {
        for case in every_case().into_iter().step_by(ONE_IN) {
            let plain = case.batch().with_weights();
            let [strict, deferred] = [Checking::Strict, Checking::Deferred]
                .map(|checking| case.checking(checking).run(&plain, &device));
            assert_same(&case.name(), &strict, &deferred, case.config.tolerance());
            assert_eq!(deferred.loss.take_skipped().unwrap().total(), 0);
        }
    }
}

#[test]
fn the_sum_is_the_batch_size_times_the_mean() {
    for device in f64_devices() {
        for case in all_losses(4, 3) {
            let case = case.in_type(CenterDType::F64);
            if case.weighing().is_none() {
                continue;
            }
            let value = |reduction, per_sample| {
                let case = case.weighed(&Weighing {
                    class_balance: ClassBalance::None,
                    reduction,
                    class_weights: None,
                    ignore_label: None,
                    per_sample,
                });
                case.run(&case.batch(), &device).value
            };
            let sum = value(Reduction::Sum, false);
            let each = value(Reduction::Sum, true);
            assert_eq!(each.len(), 9);
            assert_close(&case.name(), &[each.iter().sum()], &sum, 1e-12);
            for mean in [Reduction::Mean, Reduction::Auto, Reduction::BatchMean] {
                let mean = value(mean, false);
                assert_close(&case.name(), &[9.0 * mean[0]], &sum, 1e-12);
            }
        }
    }
}

/// A loss for which its own values are the formula. AdaFace is excepted, whose statistics pass no gradient, as are
/// gradients of a constant margin.
#[test]
fn gradients_equal_central_differences() {
    for device in f64_devices() {
        for case in every_case().into_iter().step_by(11 * ONE_IN) {
            if case.config.text().contains("AdaFace") {
                continue;
            }
            let plain = case.batch().with_weights();
            let value = |plain: &_| {
                let loss = case.loss(plain, &device);
                values(case.forward(&loss, plain.batch(&device)).unwrap())
            };
            assert_gradients(&case, &plain, &device, &value, 1e-7);
        }
    }
}

#[test]
fn single_precision_equals_double_precision() {
    for device in f64_devices() {
        for case in every_case().into_iter().step_by(ONE_IN) {
            for plain in [case.batch(), case.batch().with_weights()] {
                let single = case.in_type(CenterDType::F32).run(&plain, &device);
                assert_same(&case.name(), &single, &case.run(&plain, &device), 1e-5);
            }
        }
    }
}

/// Acceptance cases 9 and 10: pytorch-metric-learning #293, #309, #209; mmpretrain #1169 and PR #1181;
/// pytorch-metric-learning 3.0.4, #792.
#[test]
fn half_precision_features_are_computed_with_in_single_precision() {
    for dtype in [DType::F16, DType::BF16] {
        for device in devices_with(dtype) {
            let device = device.autodiff();
            for case in all_losses(4, 3) {
                let mut plain = case.batch();
                // 300^2 is beyond f16.
                for value in plain.features.iter_mut().flatten() {
                    *value *= 150.0;
                }
                plain.features = rows_of(plain.typed(dtype, &device));
                let half = case.run_with(&plain, dtype, &device, Tensor::sum);
                let single = case.run(&plain, &device);
                let name = case.name();
                assert_close(&name, &half.value, &single.value, 1e-6);
                assert_close(
                    &name,
                    &half.features.concat(),
                    &single.features.concat(),
                    1e-2,
                );
                if let (Some(half), Some(single)) = (&half.of_centers, &single.of_centers) {
                    assert_close(&name, half, single, 1e-6);
                }
                let [moved, expected] =
                    [&half.loss, &single.loss].map(|loss| values(loss.centers()));
                assert_close(&name, &moved, &expected, 1e-6);
                assert_eq!(half.loss.centers().dtype(), DType::F32);
            }
        }
    }
}

#[test]
fn features_without_autodiff_have_the_same_value() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let plain = case.batch();
            let loss = case.loss(&plain, &device);
            let on = |device| {
                let features = plain.typed(DType::F32, device);
                values(loss.try_evaluate(plain.batch_of(features)).unwrap())
            };
            let with = on(&device);
            let without = on(&device.clone().without_autodiff());
            // Burn takes another softmax where nothing is differentiated.
            assert_close(&case.name(), &with, &without, 1e-6);
        }
    }
}

#[test]
fn large_finite_features_have_finite_values_and_gradients() {
    for device in autodiff_devices() {
        for case in all_losses(4, 3) {
            for checking in [Checking::Strict, Checking::Deferred] {
                let (case, mut plain) = (case.checking(checking), case.batch());
                for value in plain.features.iter_mut().flatten() {
                    *value *= 1e4;
                }
                let found = case.run(&plain, &device);
                let of_centers = found.of_centers.unwrap_or_default();
                let all = [found.value, found.features.concat(), of_centers].concat();
                assert!(all.iter().all(|value| value.is_finite()), "{}", case.name());
                let skipped = found.loss.take_skipped().unwrap();
                assert_eq!(skipped.total(), 0, "{}", case.name());
            }
        }
    }
}
