//! Presets, schedules and logits of the softmax over distances.

use burn::tensor::{DType, Tensor};
use burn_center_loss::{CenterDType, DistanceSoftmaxConfig, Schedule, SoftmaxDistance};

use crate::devices::{autodiff_devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, rows_of};
use crate::tensors::{labels, typed_matrix};

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
