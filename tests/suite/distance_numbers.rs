//! Softmax over distances at the places where implementations fail, and the losses that it equals.

use burn::nn::loss::CrossEntropyLossConfig;
use burn_center_loss::{CenterDType, CenterLossConfig, DistanceSoftmaxConfig, SoftmaxDistance};

use crate::contract::{Case, Found};
use crate::devices::{autodiff_devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, assert_gradients, log_sum_exp, rows_of, squared_distance};
use crate::tensors::labels;

/// The losses of a batch, in a plain loop.
fn plain_losses(config: &DistanceSoftmaxConfig, plain: &Plain) -> Vec<f64> {
    let count = config.sub_centers;
    let loss = |(x, label): (&Vec<f64>, &i64)| {
        let class = *label as usize;
        let distance = |center: &Vec<f64>| match config.distance {
            SoftmaxDistance::SquaredEuclidean => squared_distance(x, center),
            SoftmaxDistance::Euclidean => squared_distance(x, center).sqrt(),
        };
        let distances: Vec<f64> = plain.centers.iter().map(distance).collect();
        let score = |(j, distances): (usize, &[f64])| {
            let factor = if j == class { 1.0 + config.margin } else { 1.0 };
            log_sum_exp(distances.iter().map(|d| -config.scale * factor * d))
        };
        let scores: Vec<f64> = distances.chunks(count).enumerate().map(score).collect();
        let own = &distances[class * count..][..count];
        let nearest = own.iter().copied().fold(f64::INFINITY, f64::min);
        log_sum_exp(scores.iter().copied()) - scores[class] + config.pull * nearest
    };
    plain.features.iter().zip(&plain.labels).map(loss).collect()
}

fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 40) as f64 / (1_u64 << 24) as f64
    }
}

/// Settings and batches of many kinds.
fn settings() -> Vec<(DistanceSoftmaxConfig, Plain)> {
    let mut next = numbers(7);
    let of = |nth: u64| {
        let mut number = |most: f64| next() * most;
        let classes = 1 + number(6.0) as usize;
        let columns = 1 + number(4.0) as usize;
        let sub_centers = 1 + number(3.0) as usize;
        let config = DistanceSoftmaxConfig::new(classes, columns)
            .with_sub_centers(sub_centers)
            .with_distance(if nth.is_multiple_of(2) {
                SoftmaxDistance::SquaredEuclidean
            } else {
                SoftmaxDistance::Euclidean
            })
            .with_scale(0.05 + number(2.0))
            .with_margin(if nth.is_multiple_of(3) {
                0.0
            } else {
                number(1.0)
            })
            .with_pull(if nth.is_multiple_of(5) {
                0.0
            } else {
                number(0.5)
            })
            .with_score_budget(if nth % 7 < 4 { 0 } else { 1 << 20 })
            .with_dtype(CenterDType::F64);
        let mut plain = Plain::new(
            1 + number(8.0) as usize,
            classes * sub_centers,
            columns,
            nth + 1,
        );
        for label in &mut plain.labels {
            *label %= classes as i64;
        }
        (config, plain)
    };
    (0..60).map(of).collect()
}

#[test]
fn values_are_those_of_a_plain_loop() {
    for device in f64_devices() {
        for (config, plain) in settings() {
            let (name, expected) = (config.to_string(), plain_losses(&config, &plain));
            for (dtype, tolerance) in [(CenterDType::F64, 1e-12), (CenterDType::F32, 1e-5)] {
                let mut case = Case::new(config.clone().with_dtype(dtype));
                case.per_sample = true;
                let found = case.run(&plain, &device);
                assert_close(&name, &found.value, &expected, tolerance);
            }
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for device in f64_devices() {
        for (config, plain) in settings() {
            for per_sample in [false, true] {
                let mut case = Case::new(config.clone());
                case.per_sample = per_sample;
                let value = |plain: &Plain| {
                    let losses = plain_losses(&config, plain);
                    let sum: f64 = losses.iter().sum();
                    match per_sample {
                        true => losses,
                        false => vec![sum / losses.len() as f64],
                    }
                };
                assert_gradients(&case, &plain, &device, &value, 1e-7);
            }
        }
    }
}

/// Single precision has loops of its own on flex, and many classes come in blocks.
#[test]
fn many_classes_in_single_precision() {
    for device in f64_devices() {
        for distance in [
            SoftmaxDistance::SquaredEuclidean,
            SoftmaxDistance::Euclidean,
        ] {
            for sub_centers in [1, 3] {
                let config = DistanceSoftmaxConfig::new(6_000 / sub_centers, 3)
                    .with_distance(distance)
                    .with_margin(0.2)
                    .with_pull(0.1)
                    .with_scale(3.0)
                    .with_sub_centers(sub_centers);
                let mut plain = Plain::new(200, 6_000, 3, 3);
                for label in &mut plain.labels {
                    *label %= config.num_classes as i64;
                }
                let exact = Case::new(config.clone().with_dtype(CenterDType::F64));
                let exact = exact.run(&plain, &device);
                for budget in [0, 1 << 26] {
                    let case = Case::new(config.clone().with_score_budget(budget));
                    let found = case.run(&plain, &device);
                    assert_same(&case.name(), &found, &exact);
                }
            }
        }
    }
}

/// Two groups of classes, far from each other and from the mean of the centers.
#[test]
fn neighbors_far_from_the_origin() {
    for device in f64_devices() {
        let mut plain = Plain::new(9, 6, 3, 2);
        let rows = plain.features.iter_mut().zip(&plain.labels);
        let rows = rows.map(|(row, label)| (row, *label));
        for (row, class) in rows.chain(plain.centers.iter_mut().zip(0..)) {
            for value in row.iter_mut() {
                let at = if class < 3 { 3700.0 } else { 0.0 };
                *value = f64::from((*value + at) as f32);
            }
        }
        let config = DistanceSoftmaxConfig::new(6, 3)
            .with_distance(SoftmaxDistance::Euclidean)
            .with_margin(0.1)
            .with_pull(0.05);
        let exact = Case::new(config.clone().with_dtype(CenterDType::F64));
        let exact = exact.run(&plain, &device);
        let case = Case::new(config);
        assert_same(&case.name(), &case.run(&plain, &device), &exact);
    }
}

fn assert_same(name: &str, found: &Found, exact: &Found) {
    assert_close(name, &found.value, &exact.value, 1e-5);
    let [features, expected] = [found, exact].map(|run| run.features.concat());
    assert_close(name, &features, &expected, 1e-5);
    let [centers, expected] = [found, exact].map(|run| run.of_centers.clone().unwrap());
    assert_close(name, &centers, &expected, 1e-5);
}

/// Squared distances without margin are a linear layer with weights `2 s c_j` and biases `-s |c_j|^2`.
#[test]
fn a_linear_layer_that_is_tied_to_the_centers() {
    for device in f64_devices() {
        let plain = Plain::new(12, 5, 3, 9);
        let scale = 0.8;
        let config = DistanceSoftmaxConfig::new(5, 3)
            .with_scale(scale)
            .with_dtype(CenterDType::F64);
        let found = Case::new(config).run(&plain, &device);
        let features = plain.features(&device).require_grad();
        let centers = plain.centers(&device).require_grad();
        let biases = (centers.clone() * centers.clone())
            .sum_dim(1)
            .mul_scalar(-scale);
        let products = features.clone().matmul(centers.clone().transpose());
        let logits = products.mul_scalar(2.0 * scale) + biases.transpose();
        let cross_entropy = CrossEntropyLossConfig::new().init(&device);
        let value = cross_entropy.forward(logits, plain.labels(&device));
        let gradients = value.backward();
        assert_close("value", &found.value, &values(value), 1e-12);
        let expected = values(features.grad(&gradients).unwrap());
        assert_close("features", &found.features.concat(), &expected, 1e-12);
        let expected = values(centers.grad(&gradients).unwrap());
        assert_close("centers", &found.of_centers.unwrap(), &expected, 1e-12);
    }
}

/// L-GM's likelihood term is the center loss of Caffe, half of the squared distance.
#[test]
fn the_pull_of_lgm_is_center_loss() {
    for device in autodiff_devices() {
        let plain = Plain::new(12, 5, 3, 9);
        let (alpha, lambda) = (0.3, 0.25);
        let value = |lambda| {
            let config = DistanceSoftmaxConfig::lgm(5, 3, alpha, lambda);
            Case::new(config).run(&plain, &device).value[0]
        };
        let center_loss = CenterLossConfig::new(5, 3).with_lambda(lambda);
        let expected = Case::new(center_loss).run(&plain, &device).value;
        let found = value(lambda) - value(0.0);
        assert_close("pull", &[found], &expected, 1e-5);
    }
}

/// Acceptance case 2: Convolutional-Prototype-Learning #6.
#[test]
fn all_centers_at_zero() {
    for device in autodiff_devices() {
        for distance in [
            SoftmaxDistance::SquaredEuclidean,
            SoftmaxDistance::Euclidean,
        ] {
            for num_classes in [1, 2, 7] {
                let mut plain = Plain::new(10, num_classes, 3, 5);
                plain.centers = vec![vec![0.0; 3]; num_classes];
                let config = DistanceSoftmaxConfig::new(num_classes, 3).with_distance(distance);
                let found = Case::new(config).run(&plain, &device);
                let expected = (num_classes as f64).ln();
                assert!(
                    (found.value[0] - expected).abs() < 1e-6,
                    "{found:?}",
                    found = found.value
                );
                let gradients = [found.features.concat(), found.of_centers.unwrap()].concat();
                assert!(gradients.iter().all(|value| value.is_finite()));
                let of_centers = gradients.iter().skip(30).any(|value| value.abs() > 1e-3);
                assert_eq!(of_centers, num_classes > 1);
            }
        }
    }
}

/// Acceptance case 5: features on their own anchor, and on another one.
#[test]
fn features_on_anchors() {
    for device in autodiff_devices() {
        let config = DistanceSoftmaxConfig::cac(3).with_trained_centers(true);
        let loss = config.init(&device);
        let features = loss.centers().autodiff().require_grad();
        let value = loss.forward(features.clone(), labels(&[0, 2, 2], &device));
        let gradients = value.backward();
        let gradient = rows_of(features.grad(&gradients).unwrap());
        assert!(gradient.concat().iter().all(|value| value.is_finite()));
        // The own anchor has no direction, and the others push with a probability of exp(-10 sqrt(2)).
        let others = (-10.0 * 2_f64.sqrt()).exp();
        assert!(gradient[0].iter().all(|value| value.abs() < 2.0 * others));
        // To the own anchor with a weight of 1.1, and not away from the other one.
        let step = 1.1 / 2_f64.sqrt() / 3.0;
        assert_close("step", &gradient[1], &[0.0, step, -step], 1e-5);
    }
}
