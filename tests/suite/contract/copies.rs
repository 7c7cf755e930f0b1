//! Copies of a loss, and modes: everything that makes a loss out of a loss keeps what it is not meant to change.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{CenterLossConfig, Checking, UpdateRule, UpdateTiming};

use super::{AnyLoss, Case, Change, all_losses};
use crate::devices::{autodiff_devices, values};
use crate::fixtures::assert_close;
use crate::tensors::labels;

/// A training call and a step of the optimizer.
fn trained(loss: &AnyLoss, device: &Device) -> AnyLoss {
    let features = Tensor::<2>::from_data([[1.0, 0.5], [-0.3, 3.0]], device).require_grad();
    let value = loss.forward(features, labels(&[0, 2], device));
    loss.stepped(&value, 0.5)
}

/// Whether a training step moves the centers, as a loss moves them and as an optimizer does.
fn moves(loss: &AnyLoss, device: &Device) -> bool {
    let before = values(loss.centers());
    values(trained(loss, device).centers()) != before
}

#[test]
fn only_training_changes_anything() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let (loss, name) = (case.init(&device), case.name());
            // Farther from every drawn center than a radius.
            let features = |device: &Device| Tensor::<2>::full([2, 2], 9.0, device);
            let on = |device: &Device| (features(device), labels(&[0, 1], device));
            let plain = device.clone().without_autodiff();
            let before = loss.state();

            let value = values(loss.try_evaluate(on(&device).into()).unwrap());
            let inference = loss.try_forward(on(&plain).into()).unwrap();
            assert_close(&name, &values(inference), &value, 1e-6);
            loss.statistics(on(&device)).unwrap();
            loss.nearest_center().unwrap();
            let _ = loss.init_from_data(vec![on(&device)]);
            loss.extend_classes(loss.centers().narrow(0, 0, case.config.sub_centers()))
                .unwrap();
            assert_eq!(loss.state(), before, "{name}");
            for resting in [Change::Valid, Change::Freeze] {
                let resting = loss.changed(resting);
                for device in [&device, &plain] {
                    resting.try_forward(on(device).into()).unwrap();
                }
                assert_eq!(resting.state(), before, "{name}");
            }
            // The value is that of the centers before the call.
            let first = values(loss.try_forward(on(&device).into()).unwrap());
            if !case.config.text().contains("AdaFace") {
                assert_close(&name, &first, &value, 1e-6);
            }
            let is_moved = loss.state()[0] != before[0];
            assert_eq!(is_moved, case.config.moves_centers(), "{name}");
        }
    }
}

/// Acceptance case 14: Proxy-Anchor-CVPR2020 #25, pytorch-metric-learning #175 and #534. The centers are a parameter
/// of the model, so that its optimizer cannot miss them.
#[test]
fn an_optimizer_moves_the_centers_that_receive_gradients() {
    for device in autodiff_devices() {
        for case in all_losses(5, 2) {
            let loss = case.init(&device);
            let features =
                Tensor::<2>::from_data([[1.0, 0.5], [-0.3, 3.0]], &device).require_grad();
            let batch = || (features.clone(), labels(&[0, 2], &device));
            let name = case.name();
            let value = loss.try_evaluate(batch().into()).unwrap();
            let gradients = value.backward();
            assert!(features.grad(&gradients).is_some(), "{name}");
            assert!(loss.of_centers(gradients).is_none(), "{name}: evaluate");
            let frozen = loss.changed(Change::Freeze);
            let gradients = frozen.try_forward(batch().into()).unwrap().backward();
            assert!(features.grad(&gradients).is_some(), "{name}");
            assert!(frozen.of_centers(gradients).is_none(), "{name}: frozen");

            let is_rule = case.config.moves_centers() || case.has_fixed_centers();
            let value = loss.try_forward(batch().into()).unwrap();
            let before = values(loss.centers());
            let has_gradient = loss.of_centers(value.backward()).is_some();
            assert_eq!(has_gradient, !is_rule, "{name}");
            let value = loss.try_evaluate(batch().into()).unwrap();
            assert_eq!(
                values(loss.stepped(&value, 0.5).centers()),
                before,
                "{name}"
            );
        }
    }
}

#[test]
fn snapshots_and_clones_keep_their_centers() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let loss = case.init(&device);
            let (clone, centers) = (loss.changed(Change::Clone), loss.centers());
            let before = clone.state();
            let after = trained(&loss, &device);
            assert_eq!(clone.state(), before, "{}", case.name());
            assert_eq!(values(clone.centers()), values(centers), "{}", case.name());
            assert_ne!(
                values(after.centers()) == values(clone.centers()),
                !case.has_fixed_centers()
            );
        }
    }
}

/// Everything that makes a loss out of a loss.
fn made(loss: &AnyLoss, device: &Device, sub_centers: usize) -> Vec<(&'static str, AnyLoss)> {
    let features = Tensor::<2>::from_data([[1.0, 0.2], [-0.5, 1.0]], device);
    let added = Tensor::<2>::from_data([[0.3, -1.0]], device).repeat_dim(0, sub_centers);
    let mut made = vec![
        ("clone", loss.changed(Change::Clone)),
        ("fork", loss.changed(Change::Fork(device.clone()))),
        (
            "valid, to_device and train",
            loss.changed(Change::Valid)
                .changed(Change::ToDevice(device.clone().without_autodiff()))
                .changed(Change::Train),
        ),
        ("materialize", loss.changed(Change::Materialize)),
        (
            "valid and train",
            loss.changed(Change::Valid).changed(Change::Train),
        ),
        ("load_record", loss.loaded(loss.record())),
        ("extend_classes", loss.extend_classes(added).unwrap()),
    ];
    // Sub-centers do not start at class means.
    if sub_centers == 1 {
        let batch = (features, labels(&[0, 1], device));
        made.push(("init_from_data", loss.init_from_data(vec![batch]).unwrap()));
    }
    if device.supports_dtype(DType::F16) {
        made.push(("half precision", loss.changed(Change::HalfPrecision)));
    }
    made
}

/// The first of these was a frozen loss whose new centers the optimizer moved.
#[test]
fn frozen_losses_and_those_without_gradients_stay_so() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let sub_centers = case.config.sub_centers();
            let loss = case.init(&device);
            let by_itself = case.config.moves_centers();
            for (change, expected) in [
                (Change::Clone, !case.has_fixed_centers()),
                (Change::Freeze, false),
                // No gradients, but a rule of its own.
                (Change::NoGrad, by_itself),
            ] {
                let name = format!("{change:?}, {}", case.name());
                let loss = loss.changed(change);
                for (how, made) in made(&loss, &device, sub_centers) {
                    assert_eq!(moves(&made, &device), expected, "{how}, {name}");
                    let thawed = made.changed(Change::Unfreeze);
                    let can_move = moves(&thawed, &device);
                    assert_eq!(
                        can_move,
                        !case.has_fixed_centers(),
                        "{how}, unfrozen, {name}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_loss_in_validation_stays_there_until_it_trains_again() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let valid = case.init(&device).changed(Change::Valid);
            let plain = device.clone().without_autodiff();
            for (how, made) in made(&valid, &plain, case.config.sub_centers()) {
                let name = format!("{how}, {}", case.name());
                let trained = made.changed(Change::Train);
                assert_eq!(
                    moves(&trained, &device),
                    !case.has_fixed_centers(),
                    "{name}"
                );
                if how.ends_with("train") {
                    continue;
                }
                let before = made.state();
                for device in [&device, &plain] {
                    let features = Tensor::<2>::ones([2, 2], device);
                    made.forward(features, labels(&[0, 1], device));
                }
                assert_eq!(made.state(), before, "{name}");
            }
        }
    }
}

#[test]
fn counts_of_skipped_samples_go_along() {
    for device in autodiff_devices() {
        for case in all_losses(3, 2) {
            let loss = case.checking(Checking::Deferred).init(&device);
            loss.forward(Tensor::ones([2, 2], &device), labels(&[0, 7], &device));
            let all = made(&loss, &device, case.config.sub_centers());
            for (how, made) in all {
                made.forward(Tensor::ones([2, 2], &device), labels(&[0, 7], &device));
                // Counted together.
                assert_eq!(
                    loss.take_skipped().unwrap().labels,
                    2,
                    "{how}, {}",
                    case.name()
                );
                loss.forward(Tensor::ones([2, 2], &device), labels(&[0, 7], &device));
            }
        }
    }
}

/// Waiting updates: kept by all but a record, class means, and validation.
#[test]
fn waiting_updates_go_along() {
    for device in autodiff_devices() {
        for timing in [UpdateTiming::OnStep, UpdateTiming::OnStepShared] {
            let rule = UpdateRule::mean().with_timing(timing).with_alpha(1.0);
            let case = Case::new(CenterLossConfig::new(3, 2).with_update_rule(rule));
            let (loss, expected) = (case.init(&device), [0.5, 1.5]);
            let names = made(&loss, &device, 1).into_iter().map(|(how, _)| how);
            for (nth, how) in names.enumerate() {
                // A shared list is emptied by whichever takes it.
                let loss = loss.changed(Change::Fork(device.clone()));
                for rows in [[[0.0, 1.0]], [[1.0, 2.0]]] {
                    let y = labels(&[1], &device);
                    loss.forward(Tensor::<2>::from_data(rows, &device), y);
                }
                let (_, made) = made(&loss, &device, 1).swap_remove(nth);
                let before = values(made.centers());
                let count = made.apply_pending();
                if how.ends_with("train") || ["load_record", "init_from_data"].contains(&how) {
                    assert_eq!(count, 0, "{how}, {timing:?}");
                    assert_eq!(values(made.centers()), before, "{how}, {timing:?}");
                } else {
                    assert_eq!(count, 2, "{how}, {timing:?}");
                    let centers = values(made.centers());
                    let tolerance = if how == "half precision" { 1e-3 } else { 1e-6 };
                    assert_close(how, &centers[2..4], &expected, tolerance);
                }
                loss.apply_pending();
            }
        }
    }
}
