//! Every documented error of a softmax with a margin, by its message, and nothing moved after each.

use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    AdaFace, ArcFace, Batch, BeyondPi, CombinedMargin, CosFace, Margin, MarginSoftmaxConfig,
    Schedule, SphereFace,
};

use crate::devices::{devices, devices_with, values};
use crate::tensors::labels;

fn config() -> MarginSoftmaxConfig {
    MarginSoftmaxConfig::new(3, 2)
}

fn refused(config: MarginSoftmaxConfig) -> String {
    config.try_init(&devices()[0]).unwrap_err().to_string()
}

fn with_margin(margin: impl Into<Margin>) -> String {
    refused(config().with_margin(margin.into()))
}

#[test]
fn configurations() {
    let one = "it must be at least 1";
    assert_eq!(
        refused(MarginSoftmaxConfig::new(0, 2)),
        format!("num_classes is 0: {one}")
    );
    assert_eq!(
        refused(MarginSoftmaxConfig::new(3, 0)),
        format!("feature_dim is 0: {one}")
    );
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
        assert_eq!(
            with_margin(ArcFace::new().with_margin(bad)),
            format!("margin is {bad}: {radians}")
        );
        assert_eq!(
            with_margin(AdaFace::new().with_margin(bad)),
            format!("margin is {bad}: {radians}")
        );
        assert_eq!(
            with_margin(CombinedMargin::new(1.0, bad, 0.0)),
            format!("m2 is {bad}: {radians}")
        );
    }
    let not_negative = "it must be finite and not negative";
    assert_eq!(
        with_margin(CosFace::new().with_margin(-0.1)),
        format!("margin is -0.1: {not_negative}")
    );
    assert_eq!(
        with_margin(CombinedMargin::new(1.0, 0.0, -0.1)),
        format!("m3 is -0.1: {not_negative}")
    );
    assert_eq!(
        with_margin(CombinedMargin::new(0.5, 0.0, 0.0)),
        "m1 is 0.5: it must be finite and at least 1"
    );
    assert_eq!(
        with_margin(CombinedMargin::new(1.5, 0.0, 0.0).with_beyond_pi(BeyondPi::Linear)),
        "m1 is 1.5: it must be 1 where beyond_pi is Linear"
    );
    assert_eq!(
        with_margin(SphereFace::new().with_margin(0)),
        format!("margin is 0: {one}")
    );
    assert_eq!(
        with_margin(AdaFace::new().with_h(-1.0)),
        format!("h is -1: {not_negative}")
    );
    assert_eq!(
        with_margin(AdaFace::new().with_t_alpha(1.5)),
        "t_alpha is 1.5: it must be in 0..=1"
    );
    assert_eq!(
        with_margin(ArcFace::new().with_class_margins(Some(vec![0.1]))),
        "class_margins has 1 values: it must have one for each of the 3 classes"
    );
    assert_eq!(
        with_margin(ArcFace::new().with_class_margins(Some(vec![0.1, 28.6, 0.2]))),
        "class_margins[1] is 28.6: it must be in the range of the margin, an angle in radians below pi (not in degrees)"
    );
    assert_eq!(
        with_margin(CosFace::new().with_class_margins(Some(vec![0.1, 0.2, f64::NAN]))),
        "class_margins[2] is NaN: it must be in the range of the margin, an angle in radians below pi (not in degrees)"
    );
    assert_eq!(
        refused(config().with_class_weights(Some(vec![1.0, -2.0, 1.0]))),
        "class_weights[1] is -2: it must be finite and not negative"
    );
    assert_eq!(
        refused(config().with_margin_schedule(Schedule::ExponentialWarmup { start: 1, steps: 0 })),
        "ExponentialWarmup.steps is 0: it must be at least 1"
    );
    let schedule = Schedule::LinearWarmup { steps: 3 };
    let sphere = config().with_margin(SphereFace::new().into());
    assert_eq!(
        refused(sphere.with_margin_schedule(schedule)),
        "margin_factor is 0.5: it must be 1 for SphereFace, whose margin is a whole number"
    );
    let device = &devices()[0];
    let given = |centers: Tensor<2>| config().init_with_centers(centers).unwrap_err().to_string();
    assert_eq!(
        given(Tensor::zeros([2, 3], device)),
        "centers have shape [2, 3]: it must be [num_classes, feature_dim] = [3, 2]"
    );
    assert_eq!(
        given(Tensor::from_data(
            [[0.0, 0.0], [0.0, f32::NAN], [0.0, 0.0]],
            device
        )),
        "centers[1] has a value that is not finite: every center must be finite"
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

#[test]
#[should_panic(expected = "margin is 28.6: it must be at least 0 and below pi, in radians")]
fn init_panics_with_the_same_message() {
    let margin = ArcFace::new().with_margin(28.6);
    config().with_margin(margin.into()).init(&devices()[0]);
}

#[test]
#[should_panic(expected = "labels[1] is 3: it must be in 0..3")]
fn forward_panics_with_the_same_message() {
    let device = devices()[0].clone().autodiff();
    let y = Tensor::<1, Int>::from_data([0, 3], &device);
    config()
        .init(&device)
        .forward(Tensor::ones([2, 2], &device), y);
}

/// A bad batch: features, labels, weights, and the message.
type Bad = (Tensor<2>, Tensor<1, Int>, Option<Tensor<1>>, &'static str);

fn bad_batches(device: &Device) -> Vec<Bad> {
    let features = |rows: [[f32; 2]; 2]| Tensor::<2>::from_data(rows, device);
    let ones = || features([[1.0, 1.0], [1.0, 1.0]]);
    let y = |classes: &[i64]| labels(classes, device);
    let weights = |weights: [f32; 2]| Some(Tensor::from_data(weights, device));
    vec![
        (
            Tensor::ones([2, 3], device),
            y(&[0, 1]),
            None,
            "features have shape [2, 3]: it must be [batch_size, feature_dim] with feature_dim = 2",
        ),
        (
            ones(),
            y(&[0]),
            None,
            "labels have 1 values: they must have one for each of the 2 samples",
        ),
        (
            ones(),
            y(&[0, 1]),
            Some(Tensor::ones([3], device)),
            "weights have 3 values: they must have one for each of the 2 samples",
        ),
        (
            ones(),
            y(&[0, -1]),
            None,
            "labels[1] is -1: it must be in 0..3",
        ),
        (
            features([[1.0, 1.0], [1.0, f32::INFINITY]]),
            y(&[0, 1]),
            None,
            "features[1][1] is inf: every feature must be finite",
        ),
        (
            ones(),
            y(&[0, 1]),
            weights([1.0, -1.0]),
            "weights[1] is -1: it must be finite and not negative",
        ),
        (
            ones(),
            y(&[0, 1]),
            weights([f32::NAN, 1.0]),
            "weights[0] is NaN: it must be finite and not negative",
        ),
        (
            features([[1.0, 1.0], [1e-38, 0.0]]),
            y(&[0, 1]),
            None,
            "the gradient of the features overflows F32: 6.4e39 is the largest, at features[1], and it must stay below \
             3.4028234663852886e38",
        ),
    ]
}

#[test]
fn batches_are_refused_and_nothing_moves() {
    for device in devices().into_iter().map(Device::autodiff) {
        for config in [
            config().with_margin(ArcFace::new().into()),
            config().with_margin(AdaFace::new().into()),
            config().with_sub_centers(2),
        ] {
            let loss = config.init(&device);
            let (before, statistics) = (values(loss.centers()), loss.norm_statistics());
            for (features, y, weights, message) in bad_batches(&device) {
                let batch = Batch::new(features, y);
                let batch = match weights {
                    Some(weights) => batch.with_weights(weights),
                    None => batch,
                };
                let error = loss.try_forward(batch.clone()).unwrap_err().to_string();
                match message.split_once(": 6.4e39") {
                    Some((start, _)) => assert!(error.starts_with(start), "{error}"),
                    None => assert_eq!(error, message),
                }
                assert!(loss.try_evaluate(batch.clone()).is_err());
                assert!(loss.try_forward_no_reduction(batch).is_err());
                assert_eq!(values(loss.centers()), before);
                assert_eq!(loss.norm_statistics(), statistics);
                assert_eq!(loss.step(), 0);
            }
            let empty = (Tensor::zeros([0, 2], &device), labels(&[], &device));
            assert_eq!(
                loss.try_forward(empty).unwrap_err().to_string(),
                "the batch is empty: features must have at least one row"
            );
        }
    }
}

/// Features are converted to the data type of the class vectors.
#[test]
fn features_beyond_the_type_are_refused() {
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        let loss = config().init(&device);
        let features = Tensor::from_data([[1.0, 0.0], [0.0, 1e300]], (&device, DType::F64));
        let error = loss.try_forward((features, labels(&[0, 1], &device)));
        assert_eq!(
            error.unwrap_err().to_string(),
            "features[1][1] is inf: every feature must be finite"
        );
    }
}

#[test]
fn a_sum_beyond_the_type_is_refused() {
    for device in devices().into_iter().map(Device::autodiff) {
        let config = config().with_reduction(burn::nn::loss::Reduction::Sum);
        let loss = config.init(&device);
        let weights = Tensor::<1>::from_data([3e38, 3e38], &device);
        let batch = Batch::new(Tensor::ones([2, 2], &device), labels(&[0, 1], &device));
        let error = loss.try_forward(batch.with_weights(weights)).unwrap_err();
        assert!(
            error.to_string().starts_with("the loss overflows F32"),
            "{error}"
        );
    }
}

/// A training that diverged: the class vector is named.
#[test]
fn class_vectors_that_are_not_finite_are_refused() {
    use burn::optim::{GradientsParams, SgdConfig};
    for device in devices().into_iter().map(Device::autodiff) {
        let loss = config()
            .init_with_centers(Tensor::from_data(
                [[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]],
                &device,
            ))
            .unwrap();
        let batch = || {
            (
                Tensor::from_data([[1.0, 0.2]], &device),
                labels(&[1], &device),
            )
        };
        let gradients = loss.try_forward(batch()).unwrap().backward();
        let gradients = GradientsParams::from_grads(gradients, &loss);
        let loss = SgdConfig::new().init().step(f64::INFINITY, loss, gradients);
        let error = loss.try_forward(batch()).unwrap_err().to_string();
        assert!(
            error.starts_with("centers[0][") && error.ends_with("every center must be finite"),
            "{error}"
        );
        assert!(loss.nearest_center().is_err());
        // Bad samples are named first.
        let bad = (Tensor::ones([1, 2], &device), labels(&[7], &device));
        let error = loss.try_forward(bad).unwrap_err().to_string();
        assert_eq!(error, "labels[0] is 7: it must be in 0..3");
    }
}

#[test]
fn logits_of_the_wrong_width() {
    let device = &devices()[0];
    let loss = config().init(device);
    assert_eq!(
        loss.logits(Tensor::zeros([4, 3], device))
            .unwrap_err()
            .to_string(),
        "features have shape [4, 3]: it must be [batch_size, feature_dim] with feature_dim = 2"
    );
    let half = Tensor::<2>::ones([1, 2], device).cast(DType::F32);
    assert_eq!(loss.logits(half).unwrap().dims(), [1, 3]);
}
