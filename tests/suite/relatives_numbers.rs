//! Relatives of center loss at centers and features where implementations fail, in single precision.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::relatives::TripletDistance;
use burn_center_loss::{
    CenterDType, Checking, ContrastiveCenterLossConfig, IslandLossConfig, TripletCenterLossConfig,
};

use crate::contract::{Case, Change};
use crate::devices::{autodiff_devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, dot, norm, rows_of};
use crate::relatives::{Config, configs};
use crate::tensors::typed_matrix;

/// The numbers as they are after rounding.
fn rounded(plain: &Plain, device: &Device) -> Plain {
    let round = |rows: &[Vec<f64>]| rows_of(typed_matrix(rows, DType::F32, device));
    Plain {
        features: round(&plain.features),
        centers: round(&plain.centers),
        ..plain.clone()
    }
}

/// Asserts that single precision has the value and the gradients of double precision.
fn assert_rounding_is_small(
    name: &str,
    config: &Config,
    plain: &Plain,
    [tolerance, of_gradients]: [f64; 2],
) {
    for device in f64_devices() {
        let (case, plain) = (config.case(), rounded(plain, &device));
        let name = format!("{name}, {}", case.name());
        let found = case.run(&plain, &device);
        let exact = case.in_type(CenterDType::F64).run(&plain, &device);
        assert_close(&name, &exact.value, &[config.mean(&plain)], 1e-9);
        assert_close(&name, &found.value, &exact.value, tolerance);
        let features = [&found, &exact].map(|found| found.features.concat());
        assert_close(&name, &features[0], &features[1], of_gradients);
        let centers = [found, exact].map(|found| found.of_centers.unwrap());
        assert_close(&name, &centers[0], &centers[1], of_gradients);
    }
}

/// All of it at an offset, so that squares are a million times the distances.
#[test]
fn far_from_the_origin() {
    for num_classes in [1, 2, 5] {
        for config in configs(num_classes, 3) {
            // The directions of centers far away hardly differ.
            if matches!(config, Config::Island(_)) {
                continue;
            }
            let mut plain = Plain::new(9, num_classes, 3, 41);
            for value in plain
                .features
                .iter_mut()
                .chain(&mut plain.centers)
                .flatten()
            {
                *value += 4096.0;
            }
            assert_rounding_is_small("offset", &config, &plain, [2e-6; 2]);
        }
    }
}

/// Features far from all centers, which are near each other. The gradient of the ratio is a thousandth of its terms.
#[test]
fn far_from_all_centers() {
    for config in configs(4, 3) {
        let mut plain = Plain::new(9, 4, 3, 42);
        for value in plain.features.iter_mut().flatten() {
            *value += 3000.0;
        }
        assert_rounding_is_small("features", &config, &plain, [2e-6, 1e-3]);
    }
}

/// One center far from all others, with features near those: the distance to their own center exceeds the sum of all
/// others by far.
#[test]
fn one_center_far_away() {
    for num_classes in [2, 3, 20] {
        for distance in [1e2, 1e4] {
            for class in [0, num_classes - 1] {
                let mut plain = Plain::new(12, num_classes, 3, 43);
                plain.centers[class][0] += distance;
                plain
                    .labels
                    .iter_mut()
                    .step_by(2)
                    .for_each(|label| *label = class as i64);
                let delta = ContrastiveCenterLossConfig::new(num_classes, 3).with_delta(1e-3);
                let config = Config::Contrastive(delta);
                assert_rounding_is_small("far center", &config, &plain, [2e-6; 2]);
                // And features on another center, for two classes on the only one.
                plain
                    .features
                    .fill(plain.centers[(class + 1) % num_classes].clone());
                assert_rounding_is_small("on another center", &config, &plain, [2e-6; 2]);
            }
        }
    }
}

/// As many classes as a sum in single precision loses digits with.
#[test]
fn many_classes() {
    let num_classes = 20_000;
    let mut plain = Plain::new(8, num_classes, 4, 44);
    for value in plain
        .features
        .iter_mut()
        .chain(&mut plain.centers)
        .flatten()
    {
        *value += 30.0;
    }
    let contrastive = ContrastiveCenterLossConfig::new(num_classes, 4);
    let triplet = TripletCenterLossConfig::new(num_classes, 4).with_margin(0.5);
    for config in [Config::Contrastive(contrastive), Config::Triplet(triplet)] {
        assert_rounding_is_small("many", &config, &plain, [1e-5; 2]);
    }
    for device in f64_devices() {
        let case = Case::new(IslandLossConfig::new(num_classes, 4));
        let found = case.run(&plain, &device);
        let exact = case.in_type(CenterDType::F64).run(&plain, &device);
        assert_close("island", &found.value, &exact.value, 1e-5);
    }
}

/// Features on the own center and on another one, equal centers, and all of it zero.
#[test]
fn features_on_centers() {
    for device in autodiff_devices() {
        for num_classes in [1, 2, 4] {
            for config in configs(num_classes, 2) {
                for checking in [Checking::Strict, Checking::Deferred] {
                    let case = config.case().checking(checking);
                    let name = case.name();
                    let mut plain = rounded(&Plain::new(8, num_classes, 2, 45), &device);
                    for (i, row) in plain.features.iter_mut().enumerate() {
                        *row = plain.centers[i % num_classes].clone();
                    }
                    let mut equal = plain.clone();
                    equal.centers.fill(plain.centers[0].clone());
                    let mut zero = plain.clone();
                    zero.centers.fill(vec![0.0; 2]);
                    zero.features.fill(vec![0.0; 2]);
                    for plain in [plain, equal, zero] {
                        let found = case.run(&plain, &device);
                        assert_close(&name, &found.value, &[config.mean(&plain)], 1e-6);
                        let of_centers = found.of_centers.unwrap();
                        let mut all = found.features.concat().into_iter().chain(of_centers);
                        assert!(all.all(|value| value.is_finite()), "{name}");
                        assert_eq!(found.loss.take_skipped().unwrap().total(), 0);
                    }
                }
            }
        }
    }
}

/// Acceptance case 6: for two classes and a feature on its own center the negative is the other class.
#[test]
fn two_classes_and_a_feature_on_its_center() {
    for device in autodiff_devices() {
        for distance in [
            TripletDistance::HalfSquaredEuclidean,
            TripletDistance::Euclidean,
        ] {
            let config = TripletCenterLossConfig::new(2, 1)
                .with_lambda(1.0)
                .with_margin(7.0);
            let case = Case::new(config.with_distance(distance));
            let plain = Plain {
                features: vec![vec![1.0], vec![3.0]],
                labels: vec![0, 1],
                weights: None,
                centers: vec![vec![1.0], vec![3.0]],
            };
            let found = case.run(&plain, &device);
            let (value, slope) = match distance {
                TripletDistance::HalfSquaredEuclidean => (7.0 - 2.0, 1.0),
                TripletDistance::Euclidean => (7.0 - 2.0, 0.5),
            };
            assert_close("value", &found.value, &[value], 1e-6);
            assert_close("features", &found.features.concat(), &[slope, -slope], 1e-6);
            let expected = match distance {
                // The other center is pushed along, at both ends.
                TripletDistance::HalfSquaredEuclidean => [1.0, -1.0],
                TripletDistance::Euclidean => [0.5, -0.5],
            };
            assert_close("centers", &found.of_centers.unwrap(), &expected, 1e-6);
        }
    }
}

/// At a value of exactly 0 there is no gradient, and of equally near centers the lowest class is pushed.
#[test]
fn kinks_and_ties() {
    for device in autodiff_devices() {
        let config = TripletCenterLossConfig::new(4, 1).with_lambda(1.0);
        let plain = |x: f64, label: i64| Plain {
            features: vec![vec![x]],
            labels: vec![label],
            weights: None,
            centers: vec![vec![-2.0], vec![2.0], vec![2.0], vec![0.0]],
        };
        // 0 + 2 - 2 is exactly 0.
        let case = Case::new(config.clone().with_margin(2.0));
        let found = case.run(&plain(0.0, 3), &device);
        let of_centers = found.of_centers.unwrap();
        assert_eq!(
            [found.value, found.features.concat(), of_centers].concat(),
            [0.0; 6]
        );
        // Three centers are equally near.
        let case = Case::new(config.clone().with_margin(3.0));
        let found = case.run(&plain(0.0, 3), &device);
        assert_eq!(found.value, [1.0]);
        assert_eq!(found.of_centers.unwrap(), [2.0, 0.0, 0.0, 0.0]);
        // The own center has a twin of a lower class, and of a higher one.
        for (label, other) in [(2, 1), (1, 2)] {
            let found = case.run(&plain(1.0, label), &device);
            assert_eq!(found.value, [3.0]);
            let mut expected = [0.0; 4];
            expected[label as usize] = 1.0;
            expected[other] = -1.0;
            assert_eq!(found.of_centers.unwrap(), expected);
        }
    }
}

/// Acceptance case 7: a zero center, parallel and opposite ones. Pairs only turn centers.
#[test]
fn pairs_turn_centers_and_nothing_else() {
    for device in autodiff_devices() {
        let config = IslandLossConfig::new(6, 3).with_lambda(1.0);
        let case = Case::new(config.clone());
        let mut plain = Plain::new(1, 6, 3, 46);
        plain.centers[1] = vec![0.0; 3];
        plain.centers[2] = plain.centers[0].iter().map(|value| 3.0 * value).collect();
        plain.centers[3] = plain.centers[0].iter().map(|value| -0.5 * value).collect();
        // No pull from the sample.
        plain.labels = vec![4];
        let plain = rounded(&plain, &device);
        let plain = Plain {
            features: vec![plain.centers[4].clone()],
            ..plain
        };
        let found = case.run(&plain, &device);
        assert_close(
            "value",
            &found.value,
            &[Config::Island(config).mean(&plain)],
            1e-6,
        );
        let of_centers = found.of_centers.unwrap();
        for (center, gradient) in plain.centers.iter().zip(of_centers.chunks(3)) {
            let along = dot(center, gradient).abs();
            assert!(along <= 1e-5 * norm(center) * norm(gradient), "{along}");
        }
        assert_eq!(of_centers[3..6], [0.0; 3]);
        assert!(of_centers[..3].iter().any(|g| *g != 0.0));
        // Two opposite centers are as far apart as they can be.
        let case = Case::new(IslandLossConfig::new(2, 2).with_lambda(1.0));
        let opposite = Plain {
            features: vec![vec![0.6, 0.8]],
            labels: vec![0],
            weights: None,
            centers: vec![vec![0.6, 0.8], vec![-1.2, -1.6]],
        };
        let found = case.run(&opposite, &device);
        assert!(found.value[0].abs() < 1e-12, "{:?}", found.value);
    }
}

/// Under deferred checking a center that is not finite, and a loss beyond the type, leave every gradient finite.
#[test]
fn deferred_checking_keeps_gradients_finite() {
    for device in autodiff_devices() {
        for config in configs(3, 2) {
            let case = config.case().checking(Checking::Deferred);
            let plain = Plain::new(6, 3, 2, 47);
            for bad in [f64::NAN, f64::INFINITY, 1e30] {
                let spoilt = case.loss(&plain, &device).changed(Change::Spoil(1, 0, bad));
                // A leaf of the graph again.
                let loss = case.loss(&plain, &device).loaded(spoilt.record());
                let features = plain.typed(DType::F32, &device).require_grad();
                let value = loss.try_forward(plain.batch_of(features.clone())).unwrap();
                let gradients = value.backward();
                let of_features = values(features.grad(&gradients).unwrap());
                let of_centers = loss.of_centers(gradients).unwrap();
                let all = [values(value), of_features, of_centers].concat();
                assert!(
                    all.iter().all(|value| value.is_finite()),
                    "{bad}, {}: {all:?}",
                    case.name()
                );
                assert!(
                    loss.take_skipped().unwrap().losses > 0,
                    "{bad}, {}",
                    case.name()
                );
            }
            // One sample is too far away.
            let mut far = plain.clone();
            far.features[2] = vec![f64::from(f32::MAX), 0.0];
            let found = case.run(&far, &device);
            assert_eq!(
                found.loss.take_skipped().unwrap().losses,
                1,
                "{}",
                case.name()
            );
            assert_eq!(found.features[2], [0.0; 2]);
            far.features.remove(2);
            far.labels.remove(2);
            let without = case.run(&far, &device);
            assert_close(&case.name(), &found.value, &without.value, 1e-6);
            let [one, other] = [found, without].map(|found| found.of_centers.unwrap());
            assert_close(&case.name(), &one, &other, 1e-6);
        }
    }
}

/// The order of the centers in memory decides nothing but ties: more classes than one search looks at together.
#[test]
fn the_nearest_of_many_centers() {
    for device in autodiff_devices() {
        for feature_dim in [2, 12] {
            let plain = Plain::new(40, 3000, feature_dim, 48);
            let config = TripletCenterLossConfig::new(3000, feature_dim).with_margin(20.0);
            let plain = rounded(&plain, &device);
            let (config, case) = (Config::Triplet(config.clone()), Case::new(config));
            let found = case.run_with(&plain, DType::F32, &device, Tensor::sum);
            assert_close(&case.name(), &found.value, &[config.mean(&plain)], 1e-6);
        }
    }
}
