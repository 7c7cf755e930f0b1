//! Weights of samples and classes.

use burn::tensor::{DType, Tensor};
use burn_center_loss::{CenterDType, Checking, ClassBalance, LabelledBatch, SkippedSamples};

use super::values::assert_same;
use super::{all_losses, every_case};
use crate::devices::{ONE_IN, autodiff_devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::weighings;
use crate::tensors::labels;

#[test]
fn a_weight_of_two_is_the_sample_twice() {
    for device in f64_devices() {
        for case in every_case().into_iter().step_by(ONE_IN) {
            if !case.counts_weights() {
                continue;
            }
            let mut weighted = case.batch();
            let mut twice = weighted.clone();
            weighted.weights = Some([vec![2.0], vec![1.0; 8]].concat());
            twice.features.push(twice.features[0].clone());
            twice.labels.push(twice.labels[0]);
            let one = case.run(&weighted, &device);
            let mut other = case.run(&twice, &device);
            let second = other.features.pop().unwrap();
            for (first, second) in other.features[0].iter_mut().zip(second) {
                *first += second;
            }
            assert_same(&case.name(), &one, &other, case.config.tolerance());
        }
    }
}

#[test]
fn a_weight_of_zero_is_no_sample() {
    for device in f64_devices() {
        for case in every_case().into_iter().step_by(ONE_IN) {
            if !case.counts_weights() {
                continue;
            }
            let mut weighted = case.batch();
            let mut without = weighted.clone();
            weighted.weights = Some([vec![0.0], vec![1.0; 8]].concat());
            without.features.remove(0);
            without.labels.remove(0);
            let mut one = case.run(&weighted, &device);
            let other = case.run(&without, &device);
            assert_eq!(one.features.remove(0), [0.0; 3], "{}", case.name());
            assert_same(&case.name(), &one, &other, case.config.tolerance());
        }
    }
}

#[test]
fn class_weights_multiply_and_the_histogram_divides() {
    for device in f64_devices() {
        for case in all_losses(4, 3)
            .iter()
            .filter(|case| case.weighing().is_some())
        {
            let mut weighing = weighings().swap_remove(6);
            weighing.per_sample = true;
            let case = case.in_type(CenterDType::F64);
            let plain = case.batch();
            let plainly = case.weighed(&weighing).run(&plain, &device).value;
            weighing.class_balance = ClassBalance::Histogram;
            weighing.class_weights = Some(vec![0.5, 1.5, 0.0, 1e15]);
            let found = case.weighed(&weighing).run(&plain, &device).value;
            let expected: Vec<f64> = (0..9)
                .map(|i| {
                    let of_class = plain
                        .labels
                        .iter()
                        .filter(|label| **label == plain.labels[i]);
                    [0.5, 1.5, 0.0][plain.labels[i] as usize] * plainly[i] / of_class.count() as f64
                })
                .collect();
            assert_close(&case.name(), &found, &expected, 1e-12);
        }
    }
}

/// `2^60` and `2^-60` are exact in every type, and outside the range of weights.
#[test]
fn weights_outside_their_range_are_refused_or_skipped() {
    let (large, small) = (2_f64.powi(60), 2_f64.powi(-60));
    let bad = [large, small, -1.0, f64::NAN, f64::INFINITY];
    for device in autodiff_devices() {
        for case in all_losses(4, 3) {
            for weight in bad {
                let mut plain = case.batch();
                plain.weights = Some([vec![1.0, weight], vec![1.0; 7]].concat());
                let features = || plain.typed(DType::F32, &device);
                let loss = case.loss(&plain, &device);
                let before = loss.state();
                let error = loss.try_forward(plain.batch_of(features())).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("weights[1] is {weight}: it must be 0 or in 1e-15..=1e15")
                );
                assert_eq!(loss.state(), before, "{}", case.name());

                let case = case.checking(Checking::Deferred);
                let loss = case.loss(&plain, &device);
                let value = values(loss.try_forward(plain.batch_of(features())).unwrap());
                let skipped = SkippedSamples {
                    weights: 1,
                    ..SkippedSamples::default()
                };
                assert_eq!(loss.take_skipped(), Ok(skipped), "{}", case.name());
                plain.weights.as_mut().unwrap()[1] = 0.0;
                let expected = case.run(&plain, &device);
                assert_close(&case.name(), &value, &expected.value, 1e-6);
                // Statistics too.
                assert_eq!(loss.state(), expected.loss.state(), "{}", case.name());
            }
        }
    }
}

#[test]
fn weights_at_the_ends_of_their_range_are_taken() {
    for device in autodiff_devices() {
        for case in all_losses(4, 3) {
            for checking in [Checking::Strict, Checking::Deferred] {
                let case = case.checking(checking);
                let mut plain = case.batch();
                plain.weights = Some([vec![1e-15, 1e15, 0.0], vec![1.0; 6]].concat());
                let found = case.run(&plain, &device);
                let of_centers = found.of_centers.unwrap_or_default();
                let all = [found.value, found.features.concat(), of_centers].concat();
                assert!(all.iter().all(|value| value.is_finite()), "{}", case.name());
                assert_eq!(found.loss.take_skipped().unwrap().total(), 0);
            }
        }
    }
}

/// The statistics of AdaFace were infinite for good.
#[test]
fn weights_of_1e37_leave_the_next_batch_alone() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let case = case.checking(Checking::Deferred);
            let loss = case.init(&device);
            let features = Tensor::<2>::from_data([[1.0, 0.5], [-0.3, 2.0]], &device);
            let batch = LabelledBatch::new(features, labels(&[0, 1], &device));
            let heavy = Tensor::<1>::full([2], 1e37, &device);
            let value = loss.try_forward(batch.clone().with_weights(heavy)).unwrap();
            assert_eq!(values(value), [0.0], "{}", case.name());
            assert!(values(loss.try_forward(batch).unwrap())[0].is_finite());
            assert_eq!(loss.take_skipped().unwrap().weights, 2);
        }
    }
}
