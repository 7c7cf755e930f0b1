//! Every documented error that losses have alike, by its message, and nothing changed after each.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{Checking, LabelledBatch, SkippedSamples};

use super::{Case, all_losses};
use crate::devices::{autodiff_devices, devices, devices_with};
use crate::tensors::labels;

fn refused(case: &Case) -> String {
    let device = &devices()[0];
    let message = case.config.try_init(device).unwrap_err().to_string();
    assert_eq!(panic_of(|| case.init(device)), message);
    message
}

/// The message of a panic.
fn panic_of<T>(call: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call))
        .err()
        .expect("it panics");
    payload.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn configurations() {
    for case in all_losses(3, 2) {
        let none = case.with(|settings| *settings.num_classes = 0);
        assert_eq!(refused(&none), "num_classes is 0: it must be at least 1");
        let none = case.with(|settings| *settings.feature_dim = 0);
        assert_eq!(refused(&none), "feature_dim is 0: it must be at least 1");
        if case.weighing().is_none() {
            continue;
        }
        let weighted = |weights: &[f64]| {
            refused(&case.with(|settings| {
                let (.., class_weights) = settings.weighing.as_mut().unwrap();
                **class_weights = Some(weights.to_vec());
            }))
        };
        assert_eq!(
            weighted(&[1.0]),
            "class_weights has 1 values: it must have one for each of the 3 classes"
        );
        for (bad, written) in [
            (-2.0, "-2"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (1e16, "10000000000000000"),
        ] {
            assert_eq!(
                weighted(&[1.0, bad, 1.0]),
                format!("class_weights[1] is {written}: it must be 0 or in 1e-15..=1e15")
            );
        }
    }
}

#[test]
fn given_centers() {
    for device in devices() {
        for case in all_losses(3, 2) {
            let rows = 3 * case.config.sub_centers();
            let given = |centers| {
                case.config
                    .try_with_centers(centers)
                    .unwrap_err()
                    .to_string()
            };
            let wrong = Tensor::zeros([2, 3], &device);
            assert_eq!(
                given(wrong),
                format!(
                    "centers have shape [2, 3]: it must be [num_classes, feature_dim] = [{rows}, 2]"
                )
            );
            for (bad, written) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
                let centers = Tensor::<2>::zeros([rows, 2], &device);
                let centers = centers.slice_fill([rows - 1..rows, 1..2], bad);
                assert_eq!(
                    given(centers),
                    format!(
                        "centers[{}][1] is {written}: every center must be finite",
                        rows - 1
                    )
                );
            }
            // The largest numbers are finite.
            let largest = Tensor::<2>::full([rows, 2], f32::MAX, &device);
            let loss = case.config.try_with_centers(largest.clone()).unwrap();
            assert_eq!(loss.centers().into_data(), largest.into_data());
        }
    }
}

/// A bad batch: features, labels, weights, and the message.
type Bad = (Tensor<2>, Tensor<1, Int>, Option<Tensor<1>>, &'static str);

/// Batches whose shapes do not fit, which no checking takes.
fn bad_shapes(device: &Device) -> Vec<Bad> {
    let ones = |rows| Tensor::<2>::ones([rows, 2], device);
    vec![
        (
            Tensor::ones([2, 3], device),
            labels(&[0, 1], device),
            None,
            "features have shape [2, 3]: it must be [batch_size, feature_dim] with feature_dim = 2",
        ),
        (
            ones(2),
            labels(&[0], device),
            None,
            "labels have 1 values: they must have one for each of the 2 samples",
        ),
        (
            ones(2),
            labels(&[0, 1], device),
            Some(Tensor::ones([3], device)),
            "weights have 3 values: they must have one for each of the 2 samples",
        ),
        (
            Tensor::zeros([0, 2], device),
            labels(&[], device),
            None,
            "the batch is empty: features must have at least one row",
        ),
    ]
}

/// Batches with a bad sample, which deferred checking would skip.
fn bad_samples(device: &Device) -> Vec<Bad> {
    let features = |bad: f32| Tensor::<2>::from_data([[1.0, 1.0], [1.0, bad]], device);
    let y = |label| labels(&[0, label], device);
    let weights = |bad: f32| Some(Tensor::from_data([bad, 1.0], device));
    let mut bad = vec![
        (
            features(1.0),
            y(3),
            None,
            "labels[1] is 3: it must be in 0..3",
        ),
        (
            features(1.0),
            y(-1),
            None,
            "labels[1] is -1: it must be in 0..3",
        ),
        (
            features(1.0),
            y(1),
            weights(-1.0),
            "weights[0] is -1: it must be 0 or in 1e-15..=1e15",
        ),
        // The label is named first.
        (
            features(f32::NAN),
            y(7),
            weights(1.0),
            "labels[1] is 7: it must be in 0..3",
        ),
    ];
    for (value, message) in [
        (
            f32::NAN,
            "features[1][1] is NaN: every feature must be finite",
        ),
        (
            f32::INFINITY,
            "features[1][1] is inf: every feature must be finite",
        ),
        (
            f32::NEG_INFINITY,
            "features[1][1] is -inf: every feature must be finite",
        ),
    ] {
        bad.push((features(value), y(1), None, message));
    }
    bad
}

/// Statistics and class means refuse bad samples under deferred checking too.
#[test]
fn batches_are_refused_and_nothing_moves() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            for checking in [Checking::Strict, Checking::Deferred] {
                let loss = case.checking(checking).init(&device);
                let before = loss.state();
                let shapes = bad_shapes(&device).into_iter().map(|bad| (bad, true));
                let is_refused = checking == Checking::Strict;
                let samples = bad_samples(&device).into_iter();
                let samples = samples.map(|bad| (bad, is_refused));
                for ((features, y, weights, message), is_refused) in shapes.chain(samples) {
                    let mut found = vec![];
                    if weights.is_none() {
                        let batch = (features.clone(), y.clone());
                        found.push(loss.statistics(batch.clone()).map(drop));
                        if case.config.sub_centers() == 1 {
                            found.push(loss.init_from_data(vec![batch]).map(drop));
                        }
                    }
                    let batch = LabelledBatch::new(features, y);
                    let batch = match weights {
                        Some(weights) => batch.with_weights(weights),
                        None => batch,
                    };
                    if is_refused {
                        found.push(loss.try_forward(batch.clone()).map(drop));
                        found.push(loss.try_evaluate(batch.clone()).map(drop));
                        found.extend(loss.try_each(batch).map(|each| each.map(drop)));
                    }
                    for found in found {
                        assert_eq!(found.unwrap_err().to_string(), message, "{}", case.name());
                    }
                    assert_eq!(loss.state(), before, "{message}: {}", case.name());
                    assert_eq!(loss.take_skipped(), Ok(SkippedSamples::default()));
                }
            }
        }
    }
}

#[test]
fn panics_have_the_same_message() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let loss = case.init(&device);
            let batch = || (Tensor::ones([2, 2], &device), labels(&[0, 3], &device));
            let ((features, y), before) = (batch(), loss.state());
            let message = "labels[1] is 3: it must be in 0..3";
            assert_eq!(panic_of(|| loss.forward(features, y)), message);
            let (features, y) = batch();
            assert_eq!(panic_of(|| loss.evaluate(features, y)), message);
            assert_eq!(loss.state(), before);
        }
    }
}

/// Features are converted to the data type of the centers.
#[test]
fn features_beyond_the_type_are_refused() {
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        for case in all_losses(3, 2) {
            let features = Tensor::from_data([[1.0, 0.0], [0.0, 1e300]], (&device, DType::F64));
            let batch = LabelledBatch::new(features, labels(&[0, 1], &device));
            assert_eq!(
                case.init(&device)
                    .try_forward(batch)
                    .unwrap_err()
                    .to_string(),
                "features[1][1] is inf: every feature must be finite"
            );
        }
    }
}

#[cfg(feature = "ndarray")]
#[test]
fn tensors_on_different_devices() {
    let [here, there, ..] = &autodiff_devices()[..] else {
        panic!("this build has one device");
    };
    for case in all_losses(3, 2) {
        let loss = case.init(here);
        let on = |devices: [&Device; 3]| {
            let batch = LabelledBatch::new(
                Tensor::zeros([1, 2], devices[0]),
                Tensor::zeros([1], devices[1]),
            );
            loss.try_forward(batch.with_weights(Tensor::ones([1], devices[2])))
        };
        for (devices, name) in [
            ([there, here, here], "features"),
            ([here, there, here], "labels"),
            ([here, here, there], "weights"),
        ] {
            let message = on(devices).unwrap_err().to_string();
            let [found, expected] = [there, here].map(|device| device.clone().without_autodiff());
            let rule = "they must be on the device of the centers";
            assert_eq!(
                message,
                format!("{name} are on {found:?}: {rule}, {expected:?}")
            );
        }
    }
}
