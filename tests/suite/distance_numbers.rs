//! Softmax over distances at the places where implementations fail, and the losses that it equals.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{DType, Tensor};
use burn_center_loss::{
    CenterDType, CenterLossConfig, DistanceSoftmaxConfig, Schedule, SoftmaxDistance,
};

use crate::contract::{Case, Found};
use crate::devices::{autodiff_devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, assert_gradients, log_sum_exp, rows_of, squared_distance};
use crate::tensors::{labels, typed_matrix};

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

#[test]
fn presets() {
    let gcpl = DistanceSoftmaxConfig::gcpl(4, 3);
    let lgm = DistanceSoftmaxConfig::lgm(4, 3, 0.1, 0.02);
    let cac = DistanceSoftmaxConfig::cac(4);
    for (config, distance, [scale, margin, pull], is_trained) in [
        (
            &gcpl,
            SoftmaxDistance::SquaredEuclidean,
            [1.0, 0.0, 0.0005],
            true,
        ),
        (
            &lgm,
            SoftmaxDistance::SquaredEuclidean,
            [0.5, 0.1, 0.01],
            true,
        ),
        (&cac, SoftmaxDistance::Euclidean, [1.0, 0.0, 0.1], false),
    ] {
        assert_eq!(
            [config.scale, config.margin, config.pull],
            [scale, margin, pull]
        );
        assert_eq!((config.distance, config.sub_centers), (distance, 1));
        assert_eq!(config.trained_centers, is_trained);
    }
    for device in autodiff_devices() {
        let zeros = values(gcpl.init(&device).centers());
        assert_eq!(zeros, [0.0; 12]);
        let anchors = cac.init(&device).centers();
        assert!(!anchors.is_autodiff());
        let anchors = rows_of(anchors);
        for (i, row) in anchors.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                assert_eq!(*value, if i == j { 10.0 } else { 0.0 });
            }
        }
    }
}

#[test]
fn anchors_need_an_axis_for_each_class() {
    let device = &autodiff_devices()[0];
    let refused = |config: DistanceSoftmaxConfig| config.try_init(device).unwrap_err().to_string();
    let anchors =
        |classes, columns| DistanceSoftmaxConfig::new(classes, columns).with_anchors(Some(1.0));
    assert_eq!(
        refused(anchors(4, 3)),
        "feature_dim is 3: it must be num_classes if there are anchors"
    );
    assert_eq!(
        refused(anchors(3, 3).with_sub_centers(2)),
        "sub_centers is 2: it must be 1 if there are anchors"
    );
    assert_eq!(
        refused(anchors(3, 3).with_anchors(Some(0.0))),
        "anchors is 0: it must be finite and greater than 0"
    );
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

/// A schedule may bring the scale to zero: then all classes are equally probable.
#[test]
fn schedules() {
    for device in autodiff_devices() {
        let halves = Schedule::StepDecay {
            every: 1,
            factor: 0.5,
        };
        let loss = DistanceSoftmaxConfig::new(3, 2)
            .with_scale(2.0)
            .with_scale_schedule(Schedule::StepDecay {
                every: 2,
                factor: 0.0,
            })
            .with_margin(0.4)
            .with_margin_schedule(halves)
            .with_pull(0.8)
            .with_pull_schedule(Schedule::LinearWarmup { steps: 4 })
            .init(&device);
        let batch = || (Tensor::<2>::ones([2, 2], &device), labels(&[0, 2], &device));
        let mut found = vec![];
        for _ in 0..3 {
            let (features, y) = batch();
            loss.evaluate(features, y);
            found.push([loss.scale(), loss.margin(), loss.pull()]);
            let (features, y) = batch();
            loss.forward(features, y);
        }
        assert_eq!(
            found,
            [
                [2.0, 0.4, 0.2],
                [2.0, 0.2, 0.4],
                [0.0, 0.1, 0.6000000000000001]
            ]
        );
        assert_eq!(loss.step(), 3);
        let loss = DistanceSoftmaxConfig::new(3, 2)
            .with_scale_schedule(Schedule::StepDecay {
                every: 1,
                factor: 0.0,
            })
            .init(&device);
        let (features, y) = batch();
        loss.forward(features, y);
        for distance_of in 0..3 {
            let features = Tensor::<2>::ones([1, 2], &device);
            let value = values(loss.evaluate(features, labels(&[distance_of], &device)))[0];
            assert!((value - 3_f64.ln()).abs() < 1e-6, "{value}");
        }
    }
}

/// The logits are on the graph of the features, also at a distance of zero.
#[test]
fn gradients_of_logits() {
    const STEP: f64 = 1e-6;
    for device in f64_devices() {
        for distance in [
            SoftmaxDistance::SquaredEuclidean,
            SoftmaxDistance::Euclidean,
        ] {
            for sub_centers in [1, 2] {
                let plain = Plain::new(4, 3 * sub_centers, 2, 4);
                let config = DistanceSoftmaxConfig::new(3, 2)
                    .with_distance(distance)
                    .with_sub_centers(sub_centers)
                    .with_dtype(CenterDType::F64);
                let loss = config.init_with_centers(plain.centers(&device)).unwrap();
                // Differences of the scores of a row are those of minus the scaled distances.
                let value = |features: Tensor<2>| {
                    let logits = loss.logits(features).unwrap();
                    logits.clone().narrow(1, 0, 1) - logits.narrow(1, 2, 1)
                };
                let features = plain.features(&device).require_grad();
                let gradients = value(features.clone()).sum().backward();
                let found = values(features.grad(&gradients).unwrap());
                let moved = |place: usize, step: f64| {
                    let mut rows = plain.features.clone();
                    rows[place / 2][place % 2] += step;
                    let features = typed_matrix(&rows, DType::F64, &device);
                    values(value(features)).iter().sum::<f64>()
                };
                let difference = |i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP);
                let expected: Vec<f64> = (0..8).map(difference).collect();
                assert_close(&config.to_string(), &found, &expected, 1e-7);
                let on_center = loss.centers().narrow(0, 0, 1).autodiff().require_grad();
                let gradients = loss.logits(on_center.clone()).unwrap().sum().backward();
                let found = values(on_center.grad(&gradients).unwrap());
                assert!(found.iter().all(|value| value.is_finite()));
            }
        }
    }
}

/// From kept scores and without them; an ignored sample has scores of zero.
#[test]
fn logits_of_a_training_step() {
    for device in autodiff_devices() {
        for budget in [0, 1 << 20] {
            let plain = Plain::new(3, 6, 2, 8);
            let config = DistanceSoftmaxConfig::new(3, 2)
                .with_sub_centers(2)
                .with_ignore_label(Some(-1))
                .with_score_budget(budget);
            let centers = typed_matrix(&plain.centers, DType::F32, &device);
            let loss = config.init_with_centers(centers).unwrap();
            let features = plain.typed(DType::F32, &device);
            let y = labels(&[0, -1, 2], &device);
            let (value, logits) = loss.forward_with_logits(features.clone(), y.clone());
            assert_eq!(values(value), values(loss.evaluate(features.clone(), y)));
            assert!(!logits.is_autodiff());
            let mut expected = values(loss.logits(features).unwrap());
            expected[3..6].fill(0.0);
            assert_close("logits", &values(logits), &expected, 1e-6);
        }
    }
}
