//! Records, and everything that Burn's mappers make of the centers.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::margin::AdaFace;
use burn_center_loss::{
    CenterDType, CenterLossConfig, Margin, MarginSoftmaxConfig, Schedule, UpdateRule, UpdateTiming,
};

use super::{AnyLoss, Case, Change, all_losses};
use crate::devices::{autodiff_devices, devices_with, values};
use crate::fixtures::assert_close;
use crate::tensors::labels;

fn step(loss: &AnyLoss, device: &Device, offset: f32) -> Vec<f64> {
    let features = Tensor::<2>::from_data([[1.0, offset], [offset, 3.0], [0.1, 0.7]], device);
    values(loss.forward(features, labels(&[0, 2, 0], device)))
}

/// Every loss, and those with a state of their own.
fn losses() -> Vec<Case> {
    let decaying = |rule: UpdateRule| {
        let schedule = Schedule::StepDecay {
            every: 2,
            factor: 0.1,
        };
        let config =
            CenterLossConfig::new(4, 2).with_update_rule(rule.with_alpha_schedule(schedule));
        Case::new(config.with_lambda_schedule(Schedule::LinearWarmup { steps: 10 }))
    };
    let mut losses = all_losses(4, 2);
    losses.extend([UpdateRule::paper(), UpdateRule::mean(), UpdateRule::sum()].map(decaying));
    for margin in [Margin::arcface(0.5), Margin::AdaFace(AdaFace::new())] {
        let config = MarginSoftmaxConfig::new(4, 2).with_margin(margin);
        losses.push(Case::new(
            config.with_margin_schedule(Schedule::LinearWarmup { steps: 10 }),
        ));
    }
    losses
}

/// Acceptance case 15: a checkpoint has the centers; insightface #1360 and #2027, pytorch-metric-learning #544.
#[test]
fn a_resumed_training_takes_the_same_steps_bit_by_bit() {
    for device in autodiff_devices() {
        for case in losses() {
            let loss = case.init(&device);
            for offset in [0.3, -2.0, 0.9] {
                step(&loss, &device, offset);
            }
            let resumed = case.init(&device).loaded(loss.record());
            assert_eq!(resumed.state(), loss.state(), "{}", case.name());
            for offset in [1.7, 0.2, -0.4] {
                assert_eq!(
                    step(&resumed, &device, offset),
                    step(&loss, &device, offset)
                );
                assert_eq!(resumed.state(), loss.state(), "{}", case.name());
            }
        }
    }
}

/// Acceptance case 16: options that a loss swallows, pytorch-metric-learning #746.
#[test]
fn configurations_survive_json() {
    for case in losses().into_iter().chain(super::every_case()) {
        assert_eq!(case.config.reread(), case.config.text());
    }
}

/// Waiting updates were added to the loaded centers.
#[test]
fn a_record_replaces_the_whole_state() {
    for device in autodiff_devices() {
        for timing in [UpdateTiming::OnStep, UpdateTiming::OnStepShared] {
            let rule = UpdateRule::mean().with_timing(timing);
            let case = Case::new(CenterLossConfig::new(4, 2).with_update_rule(rule));
            let (saved, loss) = (case.init(&device), case.init(&device));
            step(&loss, &device, 100.0);
            let loaded = loss.loaded(saved.record());
            assert_eq!(loaded.apply_pending(), 0, "{timing:?}");
            assert_eq!(loaded.state(), saved.state(), "{timing:?}");
        }
        for case in losses() {
            let (saved, loss) = (case.init(&device), case.init(&device));
            step(&loss, &device, 100.0);
            assert_eq!(
                loss.loaded(saved.record()).state(),
                saved.state(),
                "{}",
                case.name()
            );
        }
    }
}

#[test]
fn an_extended_loss_has_a_record() {
    for device in autodiff_devices() {
        for case in losses() {
            let loss = case.init(&device);
            step(&loss, &device, 0.5);
            let added = Tensor::<2>::ones([case.config.sub_centers(), 2], &device);
            let loss = loss.extend_classes(added).unwrap();
            let larger = case
                .with(|settings| *settings.num_classes = 5)
                .init(&device);
            assert_eq!(
                larger.loaded(loss.record()).state(),
                loss.state(),
                "{}",
                case.name()
            );
        }
    }
}

#[test]
fn the_data_type_of_the_centers_stays() {
    for device in devices_with(DType::F16).into_iter().map(Device::autodiff) {
        for case in losses() {
            let loss = case.init(&device);
            let loss = loss.loaded(loss.changed(Change::HalfPrecision).record());
            assert_eq!(loss.centers().dtype(), DType::F32, "{}", case.name());
            step(&loss, &device, 0.5);
        }
    }
    for device in crate::devices::f64_devices() {
        for case in losses() {
            let single = case.init(&device);
            let double = case.in_type(CenterDType::F64).init(&device);
            let double = double.loaded(single.record());
            assert_eq!(double.centers().dtype(), DType::F64, "{}", case.name());
            assert_eq!(values(double.centers()), values(single.centers()));
            step(&double, &device, 0.5);
        }
    }
}

/// Quantized weights panicked in every model that held one of the losses.
#[test]
fn mappers_leave_a_loss_that_trains() {
    for device in autodiff_devices() {
        for case in losses() {
            let loss = case.init(&device);
            let before = values(loss.centers());
            for change in [
                Change::QuantizeWeights,
                Change::Lora,
                Change::QLora,
                Change::NoGrad,
                Change::Freeze,
                Change::Unfreeze,
                Change::Materialize,
            ] {
                let name = format!("{change:?}, {}", case.name());
                for first in [Change::Clone, Change::Valid] {
                    let changed = loss
                        .changed(first)
                        .changed(change.clone())
                        .changed(Change::Train);
                    assert_eq!(changed.centers().dtype(), DType::F32, "{name}");
                    // Eight bits of a range around them.
                    assert_close(&name, &values(changed.centers()), &before, 2e-2);
                    changed.nearest_center().unwrap();
                    let features = Tensor::<2>::from_data([[1.0, 0.5]], &device).require_grad();
                    let value = changed.forward(features.clone(), labels(&[1], &device));
                    assert!(values(value.clone())[0].is_finite(), "{name}");
                    let gradients = value.backward();
                    assert!(features.grad(&gradients).is_some(), "{name}");
                    let materialized = changed.changed(Change::Materialize);
                    assert_eq!(loss.loaded(materialized.record()).shape(), [4, 2], "{name}");
                }
            }
        }
    }
}
