//! What a softmax with a margin does beside what every loss does: its settings, the margin's schedule, the statistics of
//! AdaFace, logits, and blocks of classes. Class vectors of absent classes receive gradients, and the loss of a feature
//! on its class vector is not 0.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::margin::{
    AdaFace, ArcFace, BeyondPi, CombinedMargin, CosFace, MarginGradient, SphereFace,
    class_margins_from_counts,
};
use burn_center_loss::{LabelledBatch, Margin, MarginSoftmax, MarginSoftmaxConfig, Schedule};

use crate::devices::{autodiff_devices, devices, values};
use crate::fixtures::assert_close;
use crate::plain::Plain;
use crate::tensors::{ints, labels, typed_matrix};

fn config() -> MarginSoftmaxConfig {
    MarginSoftmaxConfig::new(3, 2)
}

fn refused(config: MarginSoftmaxConfig) -> String {
    config.try_init(&devices()[0]).unwrap_err().to_string()
}

fn with_margin(margin: Margin) -> String {
    refused(config().with_margin(margin))
}

#[test]
fn configurations() {
    let one = "it must be at least 1";
    assert_eq!(
        refused(config().with_sub_centers(0)),
        format!("sub_centers is 0: {one}")
    );
    for bad in [0.0, -1.0, f64::INFINITY] {
        assert_eq!(
            refused(config().with_scale(bad)),
            format!("scale is {bad}: it must be finite and greater than 0")
        );
    }
    for bad in [-0.1, 1.1, f64::NAN] {
        assert_eq!(
            refused(config().with_label_smoothing(bad)),
            format!("label_smoothing is {bad}: it must be in 0..=1")
        );
    }
    let radians = "it must be at least 0 and below pi, in radians (degrees times pi / 180)";
    for bad in [28.6, -0.1, std::f64::consts::PI, f64::NAN] {
        let message = format!("margin is {bad}: {radians}");
        assert_eq!(with_margin(Margin::arcface(bad)), message);
        assert_eq!(
            with_margin(Margin::AdaFace(AdaFace::new().with_margin(bad))),
            message
        );
        assert_eq!(
            with_margin(Margin::combined(1.0, bad, 0.0)),
            format!("m2 is {bad}: {radians}")
        );
    }
    let not_negative = "it must be finite and not negative";
    let linear = CombinedMargin::new(1.5, 0.0, 0.0).with_beyond_pi(BeyondPi::Linear);
    let adaface = AdaFace::new();
    let arcface = |margins: &[f64]| {
        Margin::ArcFace(ArcFace::new().with_class_margins(Some(margins.to_vec())))
    };
    let cosface = CosFace::new().with_class_margins(Some(vec![0.1, 0.2, f64::NAN]));
    for (margin, message) in [
        (
            Margin::cosface(-0.1),
            format!("margin is -0.1: {not_negative}"),
        ),
        (
            Margin::combined(1.0, 0.0, -0.1),
            format!("m3 is -0.1: {not_negative}"),
        ),
        (
            Margin::combined(0.5, 0.0, 0.0),
            "m1 is 0.5: it must be finite and at least 1".into(),
        ),
        (
            Margin::Combined(linear),
            "m1 is 1.5: it must be 1 where beyond_pi is Linear".into(),
        ),
        (
            Margin::SphereFace(SphereFace::new().with_margin(0)),
            format!("margin is 0: {one}"),
        ),
        (
            Margin::AdaFace(adaface.clone().with_h(-1.0)),
            format!("h is -1: {not_negative}"),
        ),
        (
            Margin::AdaFace(adaface.with_t_alpha(1.5)),
            "t_alpha is 1.5: it must be in 0..=1".into(),
        ),
        (
            arcface(&[0.1]),
            "class_margins has 1 values: it must have one for each of the 3 classes".into(),
        ),
        (
            arcface(&[0.1, 28.6, 0.2]),
            format!("class_margins[1] is 28.6: {radians}"),
        ),
        (
            Margin::CosFace(cosface),
            format!("class_margins[2] is NaN: {not_negative}"),
        ),
    ] {
        assert_eq!(with_margin(margin), message);
    }
    assert_eq!(
        refused(config().with_margin_schedule(Schedule::ExponentialWarmup { start: 1, steps: 0 })),
        "ExponentialWarmup.steps is 0: it must be at least 1"
    );
    let sphere = config().with_margin(Margin::sphereface(4));
    assert_eq!(
        refused(sphere.with_margin_schedule(Schedule::LinearWarmup { steps: 3 })),
        "margin_factor is 0.5: it must be 1 for SphereFace, whose margin is a whole number"
    );
}

#[test]
fn margin_factors() {
    let loss = config().init(&devices()[0]);
    let refused = |factor| loss.set_margin_factor(factor).unwrap_err().to_string();
    assert_eq!(
        refused(-1.0),
        "margin_factor is -1: it must be finite and not negative"
    );
    assert_eq!(
        refused(10.0),
        "margin is 5: it must be at least 0 and below pi, in radians (degrees times pi / 180)"
    );
    assert_eq!(loss.margin_factor(), 1.0);
}

fn step(loss: &MarginSoftmax, device: &Device, offset: f32) -> Vec<f64> {
    let features = Tensor::<2>::from_data([[1.0, offset], [offset, 3.0], [0.1, 0.7]], device);
    values(loss.forward(features, labels(&[0, 2, 0], device)))
}

#[test]
fn the_margin_follows_its_schedule() {
    for device in autodiff_devices() {
        let centers = Tensor::<2>::from_data([[1.0, 0.2], [0.0, 1.0], [-1.0, 0.0]], &device);
        let make = |margin: Margin, schedule| {
            let config = config().with_margin(margin).with_margin_schedule(schedule);
            config.init_with_centers(centers.clone()).unwrap()
        };
        for margin in [
            |factor| Margin::cosface(0.4 * factor),
            |factor| Margin::arcface(0.5 * factor),
        ] {
            let scheduled = make(margin(1.0), Schedule::LinearWarmup { steps: 4 });
            for factor in [0.25, 0.5, 0.75, 1.0, 1.0] {
                assert_eq!(scheduled.margin_factor(), factor);
                let fixed = make(margin(factor), Schedule::Constant);
                // Evaluation and refused calls see the margin as it is, and leave the schedule alone.
                let features = Tensor::<2>::from_data([[1.0, 0.5]], &device);
                scheduled.evaluate(features.clone(), labels(&[0], &device));
                scheduled
                    .try_forward((features, labels(&[9], &device)))
                    .unwrap_err();
                assert_eq!(step(&scheduled, &device, 0.5), step(&fixed, &device, 0.5));
            }
            assert_eq!(scheduled.step(), 5);
            scheduled.set_margin_factor(0.5).unwrap();
            assert_eq!(scheduled.margin_factor(), 0.5);
        }
    }
}

#[test]
fn statistics_rest_in_validation_when_frozen_and_without_two_samples() {
    for device in autodiff_devices() {
        let loss = MarginSoftmaxConfig::adaface(3, 2).init(&device);
        let clone = loss.clone();
        let at_first = loss.norm_statistics();
        step(&loss, &device, 2.0);
        let before = loss.norm_statistics().unwrap();
        assert_ne!((before.mean, before.std), (20.0, 100.0));
        assert_eq!(clone.norm_statistics(), at_first);

        let plain = device.clone().without_autodiff();
        step(&loss.valid(), &plain, 3.0);
        assert_eq!(loss.valid().norm_statistics(), Some(before));
        let frozen = loss.clone().freeze();
        step(&frozen, &device, 3.0);
        assert_eq!(frozen.norm_statistics(), Some(before));
        assert_eq!((frozen.step(), loss.step()), (1, 1));

        for (rows, weights) in [(1, vec![1.0]), (1, vec![1.5]), (2, vec![1.0, 0.0])] {
            let features = Tensor::<2>::ones([rows, 2], &device);
            let batch = LabelledBatch::new(features, labels(&vec![0; rows], &device));
            let weights = Tensor::from_data(weights.as_slice(), &device);
            loss.try_forward(batch.with_weights(weights)).unwrap();
            assert_eq!(loss.norm_statistics(), Some(before), "{rows} rows");
        }
        step(&loss, &device, 2.0);
        assert_ne!(loss.norm_statistics(), Some(before));
    }
}

#[test]
fn class_margins_of_equal_counts_and_their_bounds() {
    assert_eq!(
        class_margins_from_counts(&[7, 7], 0.1..=0.5),
        Ok(vec![0.1, 0.1])
    );
    let refused = |counts: &[u64], bounds| {
        class_margins_from_counts(counts, bounds)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&[3, 0], 0.1..=0.5),
        "the number of samples of a class is 0: it must be at least 1"
    );
    let rule = "it must be finite, not negative, and in the order of the bounds";
    assert_eq!(
        refused(&[3], -0.1..=0.5),
        format!("the lower bound of the margins is -0.1: {rule}")
    );
    assert_eq!(
        refused(&[3], 0.3..=0.2),
        format!("the upper bound of the margins is 0.2: {rule}")
    );
}

#[test]
fn the_nearest_center_is_the_class_with_the_largest_logit() {
    for device in autodiff_devices() {
        // More class vectors than are compared one by one, and fewer.
        for num_classes in [3, 40] {
            for sub_centers in [1, 2] {
                let plain = Plain::new(50, num_classes * sub_centers, 3, 7);
                let loss = MarginSoftmaxConfig::new(num_classes, 3)
                    .with_sub_centers(sub_centers)
                    .init_with_centers(typed_matrix(&plain.centers, DType::F32, &device))
                    .unwrap();
                let queries = || plain.typed(DType::F32, &device.clone().without_autodiff());
                let logits = loss.logits(queries()).unwrap();
                assert_eq!(logits.dims(), [50, num_classes]);
                let expected = ints(logits.clone().argmax(1).squeeze_dim::<1>(1));
                let nearest = loss.nearest_center().unwrap();
                assert_eq!(ints(nearest.predict(queries()).unwrap()), expected);
                let squared = nearest.squared_distances(queries()).unwrap();
                let of_logits = (logits.clone().div_scalar(64.0) - 1.0).mul_scalar(-2.0);
                assert_close("squares", &values(squared), &values(of_logits), 1e-5);

                // Logits of the pass, whatever is kept of its scores.
                let y = || labels(&vec![0; 50], &device);
                for budget in [0, usize::MAX] {
                    let config = loss.config().clone().with_score_budget(budget);
                    let loss = config.init_with_centers(loss.centers().autodiff()).unwrap();
                    let features = plain.typed(DType::F32, &device);
                    let (value, found) = loss.forward_with_logits(features.clone(), y());
                    assert_close("logits", &values(found), &values(logits.clone()), 1e-5);
                    let expected = values(loss.forward(features, y()));
                    assert_close("loss", &values(value), &expected, 1e-6);
                }
                let bad = (plain.typed(DType::F32, &device), labels(&[-1; 50], &device));
                assert!(loss.try_forward_with_logits(bad).is_err());
            }
        }
    }
    let (device, wide) = (&devices()[0], Tensor::zeros([4, 3], &devices()[0]));
    assert_eq!(
        config().init(device).logits(wide).unwrap_err().to_string(),
        "features have shape [4, 3]: it must be [batch_size, feature_dim] with feature_dim = 2"
    );
}

#[test]
fn presets_have_their_numbers() {
    let presets = [
        (
            MarginSoftmaxConfig::insightface(9, 4),
            (0.5, 64.0, BeyondPi::Reflect, MarginGradient::Detached),
        ),
        (
            MarginSoftmaxConfig::pytorch_metric_learning(9, 4),
            (
                28.6_f64.to_radians(),
                64.0,
                BeyondPi::Linear,
                MarginGradient::Exact,
            ),
        ),
        (
            MarginSoftmaxConfig::speechbrain(9, 4),
            (0.2, 30.0, BeyondPi::Linear, MarginGradient::Exact),
        ),
        (
            MarginSoftmaxConfig::wespeaker(9, 4),
            (0.2, 32.0, BeyondPi::Continuous, MarginGradient::Exact),
        ),
    ];
    for (config, expected) in presets {
        let Margin::ArcFace(margin) = &config.margin else {
            panic!("{config}");
        };
        let found = (
            margin.margin,
            config.scale,
            margin.beyond_pi,
            margin.gradient,
        );
        assert_eq!(found, expected);
    }
    assert_eq!(MarginSoftmaxConfig::sphereface(9, 4).scale, 1.0);
    assert_eq!(MarginSoftmaxConfig::normalized_softmax(9, 4).scale, 20.0);
}

#[test]
fn display_names_the_settings() {
    let config = MarginSoftmaxConfig::new(10, 2).with_margin(Margin::cosface(0.35));
    assert_eq!(
        config.init(&devices()[0]).to_string(),
        "MarginSoftmax {num_classes: 10, feature_dim: 2, sub_centers: 1, margin: CosFace(CosFace { margin: 0.35, \
         class_margins: None }), scale: 64, params: 20}"
    );
}

/// Acceptance case 15: insightface and pytorch-metric-learning 3 have a parameter `weight`, `[num_classes, feature_dim]`.
#[test]
fn class_vectors_of_other_checkpoints() {
    use burn::store::{ModuleSnapshot, SafetensorsStore};

    #[derive(Module, Debug)]
    struct Rows {
        weight: Param<Tensor<2>>,
    }
    let rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.safetensors");
    for device in devices() {
        let weight = Param::from_data(rows, &device);
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        Rows { weight }.save_into(&mut store).unwrap();
        let mut loss = config().init(&device);
        let mut store = SafetensorsStore::from_file(&path)
            .with_key_remapping("^weight$", "centers")
            .allow_partial(true);
        let result = loss.load_from(&mut store).unwrap();
        assert!(result.errors.is_empty(), "{result:?}");
        assert_eq!(values(loss.centers()), rows.concat());
    }
}
