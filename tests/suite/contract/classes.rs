//! More classes, class means, statistics, and classification by the centers.

use burn::tensor::{DType, Tensor};
use burn_center_loss::NearestCenter;

use super::all_losses;
use crate::devices::{autodiff_devices, devices, values};
use crate::fixtures::assert_close;
use crate::plain::Plain;
use crate::tensors::{ints, labels};

#[test]
fn more_classes() {
    for device in autodiff_devices() {
        for case in all_losses(4, 2) {
            let rows = case.config.sub_centers();
            let weighted = case.with(|settings| {
                if let Some((.., class_weights)) = &mut settings.weighing {
                    **class_weights = Some(vec![2.0; 4]);
                }
            });
            let (loss, name) = (weighted.init(&device), case.name());
            let batch = |label| {
                (
                    Tensor::<2>::from_data([[1.0, 3.0]], &device),
                    labels(&[label], &device),
                )
            };
            loss.try_forward(batch(1).into()).unwrap();
            let before = loss.state();
            let added = Tensor::<2>::from_data([[7.0, 8.0]], &device).repeat_dim(0, rows);
            let extended = loss.extend_classes(added.clone()).unwrap();
            assert_eq!(extended.shape(), [5, 2], "{name}");
            let all = [values(loss.centers()), values(added)].concat();
            assert_eq!(values(extended.centers()), all, "{name}");
            // Rates, steps and statistics.
            assert_eq!(extended.state()[1..], before[1..], "{name}");
            // The new class has weight 1 and takes part.
            extended.try_forward(batch(4).into()).unwrap();
            let is_moved = values(extended.centers())[8 * rows..] != all[8 * rows..];
            assert_eq!(is_moved, case.config.moves_centers(), "{name}");
            assert!(loss.try_forward(batch(4).into()).is_err());
            if let Some(each) = extended.try_each(batch(4).into()) {
                let value = values(each.unwrap())[0];
                let of_old = loss.extend_classes(extended.centers().narrow(0, 4 * rows, rows));
                let again = of_old.unwrap().try_each(batch(4).into()).unwrap().unwrap();
                assert!(value.is_finite() && values(again)[0].is_finite(), "{name}");
            }
            let wrong = loss
                .extend_classes(Tensor::zeros([rows, 3], &device))
                .unwrap_err();
            assert_eq!(
                wrong.to_string(),
                format!(
                    "centers have shape [{rows}, 3]: it must be [num_classes, feature_dim] = [{rows}, 2]"
                )
            );
            let nan = Tensor::<2>::full([rows, 2], f32::NAN, &device);
            assert_eq!(
                loss.extend_classes(nan).unwrap_err().to_string(),
                "centers[0][0] is NaN: every center must be finite"
            );
        }
    }
}

/// Three clusters, and a fourth class that keeps its center.
#[test]
fn centers_at_class_means_classify_the_data() {
    for device in autodiff_devices() {
        for case in all_losses(4, 2) {
            if case.config.sub_centers() > 1 {
                continue;
            }
            let mut plain = Plain::new(30, 4, 2, 5);
            for (i, row) in plain.features.iter_mut().enumerate() {
                let class = i % 3;
                let at = [[8.0, 0.0], [-4.0, 7.0], [-4.0, -7.0]][class];
                plain.labels[i] = class as i64;
                row.iter_mut()
                    .zip(at)
                    .for_each(|(value, at)| *value = at + *value / 4.0);
            }
            let loss = case.loss(&plain, &device);
            let (features, y) = (plain.typed(DType::F32, &device), plain.labels(&device));
            let batches = [0..7, 7..8, 8..30].map(|range| {
                (
                    features.clone().slice(range.clone()),
                    y.clone().slice(range),
                )
            });
            let started = loss.init_from_data(batches.to_vec()).unwrap();
            let name = case.name();
            let last = |centers: Tensor<2>| values(centers.narrow(0, 3, 1));
            assert_eq!(last(started.centers()), last(loss.centers()), "{name}");
            assert_eq!(started.state()[1..], loss.state()[1..], "{name}");
            let classifier = started.nearest_center().unwrap();
            let plainly = device.clone().without_autodiff();
            let found = classifier
                .predict(plain.typed(DType::F32, &plainly))
                .unwrap();
            let mut classes = ints(found);
            // The fourth center lies somewhere among them.
            classes
                .iter_mut()
                .zip(&plain.labels)
                .for_each(|(class, label)| {
                    if *class == 3 {
                        *class = *label;
                    }
                });
            assert_eq!(classes, plain.labels, "{name}");
        }
    }
}

#[test]
fn statistics_count_the_samples_that_take_part() {
    for device in devices() {
        for case in all_losses(3, 2) {
            let loss = case.ignoring(-1).init(&device);
            let rows = [[3.0, 4.0], [f32::NAN, 0.0], [6.0, 3.0]];
            let batch = |y: &[i64]| (Tensor::<2>::from_data(rows, &device), labels(y, &device));
            let found = loss.statistics(batch(&[0, -1, 2])).unwrap();
            let name = case.name();
            assert_eq!(found.samples, 2, "{name}");
            let (mean, least) = (
                found.mean_distance.unwrap(),
                found.min_center_distance.unwrap(),
            );
            assert!(
                mean >= 0.0 && mean.is_finite() && least >= 0.0,
                "{name}: {found:?}"
            );
            if let Some(ratio) = found.ratio {
                assert_close(&name, &[ratio], &[mean / least], 1e-6);
            }
            let none = loss.statistics(batch(&[-1, -1, -1])).unwrap();
            assert_eq!(
                (none.samples, none.mean_distance, none.ratio),
                (0, None, None),
                "{name}"
            );
        }
        for case in all_losses(1, 2) {
            if !case.config.text().contains("OtherClasses") {
                let batch = (Tensor::ones([1, 2], &device), labels(&[0], &device));
                let found = case.init(&device).statistics(batch).unwrap();
                let classes = case.config.sub_centers();
                assert!(
                    classes > 1 || found.min_center_distance.is_none(),
                    "{}",
                    case.name()
                );
            }
        }
    }
}

#[test]
fn the_nearest_center_of_a_center_is_its_class() {
    for device in devices() {
        // More centers than are compared one by one, and fewer.
        for num_classes in [3, 40] {
            for case in all_losses(num_classes, 3) {
                let (loss, rows) = (case.init(&device), case.config.sub_centers());
                let classifier = loss.nearest_center().unwrap();
                let expected: Vec<i64> = (0..num_classes * rows)
                    .map(|row| (row / rows) as i64)
                    .collect();
                let found = ints(classifier.predict(loss.centers()).unwrap());
                assert_eq!(found, expected, "{}", case.name());
                let sums = classifier.predict_proba(loss.centers()).unwrap().sum_dim(1);
                assert_close(
                    &case.name(),
                    &values(sums),
                    &vec![1.0; expected.len()],
                    1e-5,
                );
                let stored = NearestCenter::from_data(classifier.to_data(), &device).unwrap();
                assert_eq!(ints(stored.predict(loss.centers()).unwrap()), expected);
            }
        }
    }
}
