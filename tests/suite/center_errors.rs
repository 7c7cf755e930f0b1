//! Every documented error, by its message, and the centers whole after each.

use burn::module::Module;
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    Batch, CenterLoss, CenterLossConfig, Checking, DirectRule, LeftOut, Schedule, UpdateRule,
    UpdateTiming,
};

use crate::devices::{devices, devices_with, values};

fn config() -> CenterLossConfig {
    CenterLossConfig::new(3, 2)
}

fn refused(config: CenterLossConfig) -> String {
    config.try_init(&devices()[0]).unwrap_err().to_string()
}

#[test]
fn configurations() {
    assert_eq!(
        refused(CenterLossConfig::new(0, 2)),
        "num_classes is 0: it must be at least 1"
    );
    assert_eq!(
        refused(CenterLossConfig::new(3, 0)),
        "feature_dim is 0: it must be at least 1"
    );
    for (bad, written) in [(-0.5, "-0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let rule = format!("is {written}: it must be finite and not negative");
        let direct = DirectRule::paper();
        assert_eq!(
            refused(config().with_update_rule(direct.clone().with_alpha(bad).into())),
            format!("alpha {rule}")
        );
        assert_eq!(refused(config().with_lambda(bad)), format!("lambda {rule}"));
        assert_eq!(refused(config().with_radius(bad)), format!("radius {rule}"));
        assert_eq!(
            refused(config().with_class_weights(Some(vec![1.0, bad, 1.0]))),
            format!("class_weights[1] {rule}")
        );
        let schedule = Schedule::ExponentialDecay { gamma: bad };
        assert_eq!(
            refused(config().with_update_rule(direct.with_alpha_schedule(schedule).into())),
            format!("ExponentialDecay.gamma is {written}: it must be in 0..=1")
        );
    }
    assert_eq!(
        refused(config().with_class_weights(Some(vec![1.0]))),
        "class_weights has 1 values: it must have one for each of the 3 classes"
    );
    assert_eq!(
        refused(config().with_lambda_schedule(Schedule::LinearWarmup { steps: 0 })),
        "LinearWarmup.steps is 0: it must be at least 1"
    );
    let device = &devices()[0];
    assert_eq!(
        config()
            .init_with_centers(Tensor::zeros([2, 2], device))
            .unwrap_err()
            .to_string(),
        "centers have shape [2, 2]: it must be [num_classes, feature_dim] = [3, 2]"
    );
    let nan = Tensor::from_data([[0.0, 0.0], [0.0, f32::NAN], [0.0, 0.0]], device);
    assert_eq!(
        config().init_with_centers(nan).unwrap_err().to_string(),
        "centers[1] has a value that is not finite: every center must be finite"
    );
}

#[test]
fn centers_of_the_largest_numbers_are_taken() {
    for device in devices() {
        for feature_dim in [1, 3, 7, 10, 128] {
            let centers = Tensor::<2>::full([2, feature_dim], f32::MAX, &device);
            let loss = CenterLossConfig::new(2, feature_dim).init_with_centers(centers.clone());
            assert_eq!(loss.unwrap().centers().into_data(), centers.into_data());
        }
    }
}

#[test]
#[should_panic(expected = "lambda is -1: it must be finite and not negative")]
fn init_panics_with_the_same_message() {
    config().with_lambda(-1.0).init(&devices()[0]);
}

#[test]
#[should_panic(expected = "labels[1] is 3: it must be in 0..3")]
fn forward_panics_with_the_same_message() {
    let device = devices()[0].clone().autodiff();
    let labels = Tensor::<1, Int>::from_data([0, 3], &device);
    config()
        .init(&device)
        .forward(Tensor::zeros([2, 2], &device), labels);
}

#[test]
fn rates_that_are_refused() {
    let loss = config().init(&devices()[0]);
    assert_eq!(
        loss.set_lambda(f64::NAN).unwrap_err().to_string(),
        "lambda is NaN: it must be finite and not negative"
    );
    assert_eq!(
        loss.set_alpha(-1.0).unwrap_err().to_string(),
        "alpha is -1: it must be finite and not negative"
    );
    assert_eq!((loss.lambda(), loss.alpha()), (1.0, Some(0.5)));
    for rule in [UpdateRule::Gradient, UpdateRule::Frozen] {
        let loss = config().with_update_rule(rule.clone()).init(&devices()[0]);
        assert_eq!(loss.alpha(), None);
        assert_eq!(
            loss.set_alpha(0.5).unwrap_err().to_string(),
            format!("update_rule is {rule:?}: only direct rules have an alpha")
        );
    }
}

/// One bad batch: features, labels, weights, and the message.
type Bad = (Tensor<2>, Tensor<1, Int>, Option<Tensor<1>>, String);

fn expect_refused(loss: &CenterLoss, (features, labels, weights, message): Bad) {
    let (before, step) = (values(loss.centers()), loss.step());
    let batch = Batch::new(features, labels);
    let batch = match weights {
        Some(weights) => batch.with_weights(weights),
        None => batch,
    };
    let error = loss.try_forward(batch).expect_err(&message);
    assert_eq!(error.to_string(), message);
    assert_eq!(values(loss.centers()), before, "{message}: centers");
    assert_eq!(loss.step(), step, "{message}: schedules");
}

#[test]
fn shapes_are_checked_under_both_ways_of_checking() {
    for device in devices().into_iter().map(Device::autodiff) {
        for checking in [Checking::Strict, Checking::Deferred] {
            let loss = config().with_checking(checking).init(&device);
            let labels = |n| Tensor::<1, Int>::zeros([n], &device);
            for bad in [
                (
                    Tensor::zeros([2, 3], &device),
                    labels(2),
                    None,
                    "features have shape [2, 3]: it must be [batch_size, feature_dim] with feature_dim = 2",
                ),
                (
                    Tensor::zeros([2, 2], &device),
                    labels(3),
                    None,
                    "labels have 3 values: they must have one for each of the 2 samples",
                ),
                (
                    Tensor::zeros([2, 2], &device),
                    labels(2),
                    Some(Tensor::ones([1], &device)),
                    "weights have 1 values: they must have one for each of the 2 samples",
                ),
            ] {
                expect_refused(&loss, (bad.0, bad.1, bad.2, bad.3.into()));
            }
        }
    }
}

#[test]
fn an_empty_batch() {
    let device = Device::flex().autodiff();
    let loss = config().init(&device);
    let features = Tensor::<2>::zeros([2, 2], &device).slice(0..0);
    let labels = Tensor::<1, Int>::zeros([2], &device).slice(0..0);
    let message = "the batch is empty: features must have at least one row";
    expect_refused(&loss, (features, labels, None, message.into()));
}

#[test]
fn strict_checking_refuses_the_batch() {
    for device in devices().into_iter().map(Device::autodiff) {
        let loss = config().init(&device);
        let ok = || Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
        let labels = |values: [i64; 2]| Tensor::<1, Int>::from_data(values, &device);
        for (label, value) in [(3, "3"), (-1, "-1"), (1_000_000_007, "1000000007")] {
            let message = format!("labels[1] is {value}: it must be in 0..3");
            expect_refused(&loss, (ok(), labels([0, label]), None, message));
        }
        for (bad, written) in [
            (f32::NAN, "NaN"),
            (f32::INFINITY, "inf"),
            (f32::NEG_INFINITY, "-inf"),
        ] {
            let features = Tensor::<2>::from_data([[1.0, 2.0], [3.0, bad]], &device);
            let message = format!("features[1][1] is {written}: every feature must be finite");
            expect_refused(&loss, (features, labels([0, 1]), None, message));
            let weights = Tensor::from_data([bad, 1.0], &device);
            let message = format!("weights[0] is {written}: it must be finite and not negative");
            expect_refused(&loss, (ok(), labels([0, 1]), Some(weights), message));
        }
        let weights = Tensor::from_data([1.0, -2.0], &device);
        let message = "weights[1] is -2: it must be finite and not negative";
        expect_refused(&loss, (ok(), labels([0, 1]), Some(weights), message.into()));

        let far = config()
            .init_with_centers(Tensor::full([3, 2], -3e38, &device))
            .unwrap();
        let message = "features[1] is too far from center 2: their difference overflows F32";
        let features = Tensor::<2>::from_data([[-3e38, -3e38], [3e38, 3e38]], &device);
        expect_refused(&far, (features, labels([0, 2]), None, message.into()));
    }
}

#[test]
fn labels_that_wrap_in_a_narrower_type_are_still_refused() {
    for dtype in [DType::I64, DType::U64] {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            let loss = config().init(&device);
            // 2^32 is 0 in 32 bits.
            let labels = Tensor::<1, Int>::from_data([0_i64, 1 << 32], (&device, dtype));
            let message = "labels[1] is 4294967296: it must be in 0..3";
            let features = Tensor::zeros([2, 2], &device);
            expect_refused(&loss, (features, labels.clone(), None, message.into()));

            let deferred = config().with_checking(Checking::Deferred).init(&device);
            deferred.forward(Tensor::zeros([2, 2], &device), labels);
            assert_eq!(deferred.take_left_out().unwrap().labels, 1);
        }
    }
}

#[test]
fn a_step_that_overflows_is_refused() {
    for device in devices().into_iter().map(Device::autodiff) {
        let loss = config()
            .with_update_rule(DirectRule::sum().with_alpha(1e10).into())
            .with_lambda(0.0)
            .init_with_centers(Tensor::zeros([3, 2], &device))
            .unwrap();
        let features = Tensor::<2>::full([2, 2], 1e30, &device);
        let labels = Tensor::<1, Int>::zeros([2], &device);
        let error = loss.try_forward((features, labels)).unwrap_err();
        assert!(
            error.to_string().ends_with("(alpha is 10000000000)"),
            "{error}"
        );
        assert_eq!(values(loss.centers()), [0.0; 6]);
    }
}

#[test]
fn deferred_checking_leaves_bad_samples_out_and_counts_them() {
    for device in devices().into_iter().map(Device::autodiff) {
        let make = |checking| {
            config()
                .with_checking(checking)
                .init_with_centers(Tensor::ones([3, 2], &device))
                .unwrap()
        };
        let (deferred, strict) = (make(Checking::Deferred), make(Checking::Strict));
        let rows = [
            [1.5, -2.0],
            [5.0, 5.0],
            [f32::NAN, 1.0],
            [f32::INFINITY, 1.0],
            [7.0, 7.0],
            [0.5, 3.0],
        ];
        let features = Tensor::<2>::from_data(rows, &device).require_grad();
        let labels = Tensor::<1, Int>::from_data([0, 3, 1, -7, 1, 2], &device);
        let weights = Tensor::<1>::from_data([1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0], &device);
        let batch = Batch::new(features.clone(), labels).with_weights(weights);
        let value = deferred.try_forward(batch).unwrap();
        let gradients = value.backward();
        let gradient = values(features.grad(&gradients).unwrap());
        assert_eq!(gradient[2..10], [0.0; 8]);

        let kept = Tensor::<2>::from_data([rows[0], rows[5]], &device);
        let expected = strict.forward(kept, Tensor::from_data([0, 2], &device));
        crate::fixtures::assert_close("loss", &values(value), &values(expected), 1e-6);
        crate::fixtures::assert_close(
            "centers",
            &values(deferred.centers()),
            &values(strict.centers()),
            1e-6,
        );
        let left_out = deferred.take_left_out().unwrap();
        let expected = LeftOut {
            labels: 2,
            features: 1,
            weights: 1,
            distances: 0,
        };
        assert_eq!(left_out, expected);
        assert_eq!(left_out.total(), 4);
        assert_eq!(
            left_out.to_string(),
            "2 samples with a label outside 0..num_classes, 1 with a feature that is not finite, 1 with an invalid \
             weight and 0 with a distance that is not finite"
        );
        assert_eq!(
            deferred.take_left_out(),
            Ok(LeftOut::default()),
            "counting starts anew"
        );
    }
}

#[test]
fn updates_where_none_are_taken() {
    let device = Device::flex().autodiff();
    let features = || Tensor::<2>::ones([1, 2], &device);
    let labels = || Tensor::<1, Int>::zeros([1], &device);
    for rule in [UpdateRule::Gradient, UpdateRule::Frozen] {
        let loss = config().with_update_rule(rule.clone()).init(&device);
        let (_, update) = loss.measure((features(), labels())).unwrap();
        assert_eq!(
            loss.apply(update).unwrap_err().to_string(),
            format!("update_rule is {rule:?}: only direct rules apply a CenterUpdate")
        );
    }
    let loss = config().init(&device).freeze();
    let (_, update) = loss.measure((features(), labels())).unwrap();
    assert_eq!(
        loss.apply(update.clone()).unwrap_err().to_string(),
        "the centers are frozen (`freeze`, `valid`): they take no CenterUpdate"
    );
    let wide = CenterLossConfig::new(3, 5)
        .with_initializer(Initializer::Zeros)
        .init(&device);
    assert_eq!(
        wide.apply(update.clone()).unwrap_err().to_string(),
        "the update has feature_dim 2: it must have 5"
    );
    let (_, other) = wide
        .measure((Tensor::ones([1, 5], &device), labels()))
        .unwrap();
    assert_eq!(
        update.merge(other).unwrap_err().to_string(),
        "the update has feature_dim 5: it must have 2"
    );
}

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "supported as long as Burn has it")]
#[test]
fn tensors_on_different_devices() {
    let (flex, ndarray) = (Device::flex().autodiff(), Device::ndarray().autodiff());
    let loss = config().init(&flex);
    let error = loss
        .try_forward((Tensor::zeros([1, 2], &ndarray), Tensor::zeros([1], &flex)))
        .unwrap_err();
    assert!(error.to_string().starts_with("features are on "), "{error}");
    let error = loss
        .try_forward((Tensor::zeros([1, 2], &flex), Tensor::zeros([1], &ndarray)))
        .unwrap_err();
    assert!(error.to_string().starts_with("labels are on "), "{error}");
}

#[test]
fn updates_that_nobody_applies() {
    let device = Device::flex().autodiff();
    let loss = config()
        .with_update_rule(DirectRule::paper().with_timing(UpdateTiming::OnStep).into())
        .init(&device);
    let forward = || {
        let features = Tensor::<2>::ones([1, 2], &device);
        loss.try_forward((features, Tensor::zeros([1], &device)))
    };
    for _ in 0..4096 {
        forward().unwrap();
    }
    assert_eq!(
        forward().unwrap_err().to_string(),
        "4096 updates wait for apply_pending: call it where the optimizer steps"
    );
    assert_eq!(loss.apply_pending(), Ok(4096));
    forward().unwrap();
}
