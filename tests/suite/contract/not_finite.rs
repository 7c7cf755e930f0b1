//! Centers that are NaN or infinite, after a bad checkpoint or a training that diverged, and losses beyond the type.

use burn::tensor::{DType, Tensor};
use burn_center_loss::{CenterDType, Checking, SkippedSamples};

use super::{Change, all_losses};
use crate::devices::{ONE_IN, autodiff_devices, f64_devices, values};
use crate::plain::Plain;
use crate::tensors::labels;

/// One sample of each class.
fn one_of_each(case: &super::Case) -> Plain {
    let mut plain = case.batch();
    plain.features.truncate(4);
    plain.labels = vec![0, 1, 2, 3];
    plain
}

/// A sub-center that was not the first of its class was accepted.
#[test]
fn the_center_is_named_and_nothing_changes() {
    let types = [
        (CenterDType::F32, autodiff_devices()),
        (CenterDType::F64, f64_devices()),
    ];
    for (dtype, devices) in types {
        for device in devices {
            for case in all_losses(4, 2).iter().step_by(ONE_IN) {
                let case = case.in_type(dtype);
                let (plain, rows) = (one_of_each(&case), case.config.sub_centers());
                let loss = case.loss(&plain, &device);
                for row in 0..4 * rows {
                    for (value, written) in [
                        (f64::NAN, "NaN"),
                        (f64::INFINITY, "inf"),
                        (f64::NEG_INFINITY, "-inf"),
                    ] {
                        let spoil = Change::Spoil(row, row % 2, value);
                        // Directly, and through a record.
                        let bad = loss.changed(spoil);
                        let bad = if row % 2 == 0 {
                            bad
                        } else {
                            loss.loaded(bad.record())
                        };
                        let before = bad.state();
                        let batch = || plain.batch_of(plain.typed(case.dtype(), &device));
                        let message = format!(
                            "centers[{row}][{}] is {written}: every center must be finite",
                            row % 2
                        );
                        let name = format!("{message}, {}", case.name());
                        let each = bad.try_each(batch()).map(|each| each.map(drop));
                        let results = [
                            Some(bad.try_forward(batch()).map(drop)),
                            each,
                            Some(bad.try_evaluate(batch()).map(drop)),
                            Some(
                                bad.statistics((
                                    plain.typed(case.dtype(), &device),
                                    plain.labels(&device),
                                ))
                                .map(drop),
                            ),
                        ];
                        for result in results.into_iter().flatten() {
                            assert_eq!(result.expect_err(&name).to_string(), message, "{name}");
                        }
                        assert!(bad.nearest_center().is_err(), "{name}");
                        assert_eq!(bad.state(), before, "{name}");
                        // Bad samples are named first.
                        let wrong = (
                            plain.typed(case.dtype(), &device),
                            labels(&[7, 1, 2, 3], &device),
                        );
                        assert_eq!(
                            bad.try_forward(wrong.into()).unwrap_err().to_string(),
                            "labels[0] is 7: it must be in 0..4"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn deferred_checking_skips_the_samples_that_meet_the_center() {
    for device in autodiff_devices() {
        for case in all_losses(4, 2).iter().step_by(ONE_IN) {
            let case = case.checking(Checking::Deferred);
            let Some(_) = case.weighing() else {
                continue;
            };
            let (plain, rows) = (one_of_each(&case), case.config.sub_centers());
            let loss = case.loss(&plain, &device);
            // Where a sample meets the center of its own class alone.
            let is_center_loss = case.config.text().contains("update_rule");
            for row in 0..4 * rows {
                for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let bad = loss.changed(Change::Spoil(row, row % 2, value));
                    let name = format!("row {row}, {value}, {}", case.name());
                    let features = plain.typed(DType::F32, &device).require_grad();
                    let value = bad.try_forward(plain.batch_of(features.clone())).unwrap();
                    let gradients = value.backward();
                    assert!(values(value)[0].is_finite(), "{name}");
                    let gradient = values(features.grad(&gradients).unwrap());
                    assert!(
                        gradient.iter().all(|value| value.is_finite()),
                        "{name}: {gradient:?}"
                    );
                    let class = row / rows;
                    assert_eq!(gradient[2 * class..][..2], [0.0, 0.0], "{name}");
                    if let Some(of_centers) = bad.of_centers(gradients) {
                        assert!(of_centers.iter().all(|value| value.is_finite()), "{name}");
                    }
                    let losses = bad.take_skipped().unwrap();
                    let most = if is_center_loss { 1 } else { 4 };
                    assert!((1..=most).contains(&losses.losses), "{name}: {losses}");
                    let others = SkippedSamples {
                        losses: 0,
                        ..losses
                    };
                    assert_eq!(others.total(), 0, "{name}");
                }
            }
        }
    }
}

/// A training that diverged: the center or the loss is named before anything moves.
#[test]
fn a_rate_that_is_far_too_large() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            if case.config.moves_centers() || case.has_fixed_centers() {
                continue;
            }
            let features = Tensor::<2>::from_data([[1.0, 0.2], [-2.0, 0.7]], &device);
            let batch = || (features.clone(), labels(&[1, 0], &device));
            let mut loss = case.init(&device);
            let mut message = None;
            for rate in [1e30, f64::INFINITY, f64::INFINITY, 0.0] {
                match loss.try_forward(batch().into()) {
                    Ok(value) => {
                        assert!(values(value.clone())[0].is_finite(), "{}", case.name());
                        loss = loss.stepped(&value, rate);
                    }
                    Err(error) => message = Some(error.to_string()),
                }
            }
            let message = message.unwrap_or_else(|| panic!("{}: it trains on", case.name()));
            let is_named =
                message.starts_with("centers[") || message.starts_with("the loss of features[");
            assert!(is_named, "{}: {message}", case.name());
        }
    }
}
