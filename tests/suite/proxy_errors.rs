//! Every documented error of the proxy losses, by its message.

use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{Batch, Denominator, ProxyAnchorConfig, ProxyNcaConfig, SoftTripleConfig};

use crate::devices::{devices, devices_with, flushes_subnormals, values};
use crate::proxy_contract::every_loss;
use crate::proxy_plain::{Config, Loss};
use crate::tensors::labels;

fn refused(config: Config) -> String {
    config.try_make(&devices()[0]).unwrap_err().to_string()
}

#[test]
fn configurations() {
    for (num_classes, feature_dim, name) in [(0, 2, "num_classes"), (3, 0, "feature_dim")] {
        for config in every_loss(num_classes, feature_dim) {
            assert_eq!(
                refused(config),
                format!("{name} is 0: it must be at least 1")
            );
        }
    }
    let positive = "it must be finite and greater than 0";
    let not_negative = "it must be finite and not negative";
    let anchor = ProxyAnchorConfig::new(3, 2);
    let alpha = "it must be greater than 0, and alpha * (1 + margin) at most 1e30";
    for bad in [0.0, -1.0, 1e31, f64::INFINITY, f64::NAN] {
        let config = Config::Anchor(anchor.clone().with_alpha(bad));
        assert_eq!(refused(config), format!("alpha is {bad}: {alpha}"));
    }
    let config = Config::Anchor(anchor.clone().with_margin(1e30));
    assert_eq!(refused(config), format!("alpha is 32: {alpha}"));
    for bad in [-0.1, f64::INFINITY, f64::NAN] {
        let config = Config::Anchor(anchor.clone().with_margin(bad));
        assert_eq!(refused(config), format!("margin is {bad}: {not_negative}"));
    }

    let nca = ProxyNcaConfig::new(3, 2);
    for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let config = Config::Nca(nca.clone().with_softmax_scale(bad));
        assert_eq!(
            refused(config),
            format!("softmax_scale is {bad}: {positive}")
        );
    }
    let alone = ProxyNcaConfig::new(1, 2).with_denominator(Denominator::OtherClasses);
    assert_eq!(
        refused(Config::Nca(alone)),
        "num_classes is 1: it must be at least 2 where the denominator has the other classes alone"
    );
    let triple = SoftTripleConfig::new(3, 2);
    for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let config = Config::SoftTriple(triple.clone().with_scale(bad));
        assert_eq!(refused(config), format!("scale is {bad}: {positive}"));
        let config = Config::SoftTriple(triple.clone().with_gamma(bad));
        assert_eq!(refused(config), format!("gamma is {bad}: {positive}"));
    }
    let config = Config::SoftTriple(triple.clone().with_margin(-0.1));
    assert_eq!(refused(config), format!("margin is -0.1: {not_negative}"));
    let config = Config::SoftTriple(triple.clone().with_sub_centers(0));
    assert_eq!(refused(config), "sub_centers is 0: it must be at least 1");

    let count = "class_weights has 1 values: it must have one for each of the 3 classes";
    let value = "class_weights[1] is -2: it must be finite and not negative";
    for (weights, message) in [(vec![1.0], count), (vec![1.0, -2.0, 1.0], value)] {
        let config = nca.clone().with_class_weights(Some(weights.clone()));
        assert_eq!(refused(Config::Nca(config)), message);
        let config = triple.clone().with_class_weights(Some(weights));
        assert_eq!(refused(Config::SoftTriple(config)), message);
    }
}

#[test]
fn given_proxies() {
    let device = &devices()[0];
    for config in every_loss(3, 2) {
        let given = |proxies: Tensor<2>| config.try_with_centers(proxies).unwrap_err().to_string();
        let rows = 3 * config.sub_centers();
        assert_eq!(
            given(Tensor::zeros([2, 3], device)),
            format!(
                "centers have shape [2, 3]: it must be [num_classes, feature_dim] = [{rows}, 2]"
            )
        );
        let bad = Tensor::<2>::zeros([rows, 2], device).slice_fill([1..2, 0..1], f32::NAN);
        assert_eq!(
            given(bad),
            "centers[1] has a value that is not finite: every center must be finite"
        );
    }
}

#[test]
#[should_panic(expected = "alpha is 0: it must be greater than 0")]
fn init_panics_with_the_same_message() {
    ProxyAnchorConfig::new(3, 2)
        .with_alpha(0.0)
        .init(&devices()[0]);
}

#[test]
#[should_panic(expected = "labels[1] is 3: it must be in 0..3")]
fn forward_panics_with_the_same_message() {
    let device = devices()[0].clone().autodiff();
    let y = Tensor::<1, Int>::from_data([0, 3], &device);
    let loss = ProxyAnchorConfig::new(3, 2).init(&device);
    loss.forward(Tensor::ones([2, 2], &device), y);
}

#[test]
#[should_panic(expected = "labels[0] is -1: it must be in 0..3")]
fn evaluate_panics_with_the_same_message() {
    let device = devices()[0].clone().autodiff();
    let loss = SoftTripleConfig::new(3, 2).init(&device);
    loss.evaluate(Tensor::ones([1, 2], &device), labels(&[-1], &device));
}

#[test]
#[should_panic(expected = "labels[0] is -1: it must be in 0..3")]
fn forward_no_reduction_panics_with_the_same_message() {
    let device = devices()[0].clone().autodiff();
    let loss = ProxyNcaConfig::new(3, 2).init(&device);
    loss.forward_no_reduction(Tensor::ones([1, 2], &device), labels(&[-1], &device));
}

/// A bad batch: features, labels, weights, and how the message starts.
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
            features([[1.0, 1.0], [1e-39, 0.0]]),
            y(&[0, 1]),
            None,
            "the gradient of the features overflows F32: ",
        ),
        (
            Tensor::zeros([0, 2], device),
            y(&[]),
            None,
            "the batch is empty: features must have at least one row",
        ),
    ]
}

#[test]
fn batches_are_refused_and_nothing_moves() {
    for device in devices().into_iter().map(Device::autodiff) {
        for config in every_loss(3, 2) {
            let loss = config.make(&device);
            let before = values(loss.centers());
            for (features, y, weights, message) in bad_batches(&device) {
                if message.starts_with("the gradient") && flushes_subnormals(&device, DType::F32) {
                    continue;
                }
                let batch = Batch::new(features, y);
                let batch = match weights {
                    Some(weights) => batch.with_weights(weights),
                    None => batch,
                };
                let error = loss
                    .try_forward(batch.clone())
                    .expect_err(message)
                    .to_string();
                assert!(error.starts_with(message), "{error}");
                assert!(loss.try_evaluate(batch.clone()).is_err());
                if let Some(each) = loss.try_forward_no_reduction(batch) {
                    assert!(each.is_err());
                }
                assert_eq!(values(loss.centers()), before);
            }
        }
    }
}

/// Features are converted to the data type of the proxies.
#[test]
fn features_beyond_the_type_are_refused() {
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        for config in every_loss(3, 2) {
            let features = Tensor::from_data([[1.0, 0.0], [0.0, 1e300]], (&device, DType::F64));
            let batch = Batch::new(features, labels(&[0, 1], &device));
            assert_eq!(
                config
                    .make(&device)
                    .try_forward(batch)
                    .unwrap_err()
                    .to_string(),
                "features[1][1] is inf: every feature must be finite"
            );
        }
    }
}

#[test]
fn a_sum_beyond_the_type_is_refused() {
    use burn::nn::loss::Reduction;
    for device in devices().into_iter().map(Device::autodiff) {
        let nca = ProxyNcaConfig::new(3, 2).with_reduction(Reduction::Sum);
        let triple = SoftTripleConfig::new(3, 2).with_reduction(Reduction::Sum);
        for config in [Config::Nca(nca), Config::SoftTriple(triple)] {
            let weights = Tensor::<1>::from_data([3e38, 3e38], &device);
            let features = Tensor::<2>::from_data([[1.0, 0.0], [-1.0, 0.0]], &device);
            let batch = Batch::new(features, labels(&[0, 0], &device));
            let batch = batch.with_weights(weights);
            // The second sample lies opposite the proxies of its class: drawn ones may be near both.
            let [rows, _] = config.make(&device).centers().dims();
            let of_classes = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]];
            let proxies = of_classes.map(|of_class| Tensor::<2>::from_data([of_class], &device));
            let proxies = proxies.map(|of_class| of_class.repeat_dim(0, rows / 3));
            let proxies = Tensor::cat(proxies.to_vec(), 0);
            let loss = config.try_with_centers(proxies).unwrap();
            let error = loss.try_forward(batch).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("the loss overflows F32"), "{error}");
        }
        // Weights join the exponents as logarithms.
        let weights = Tensor::<1>::from_data([3e38, 3e38], &device);
        let batch = Batch::new(Tensor::ones([2, 2], &device), labels(&[0, 0], &device));
        let loss = ProxyAnchorConfig::new(3, 2).init(&device);
        let value = loss.try_forward(batch.with_weights(weights)).unwrap();
        assert!(values(value)[0].is_finite());
    }
}

/// A training that diverged: the proxy is named.
#[test]
fn proxies_that_are_not_finite_are_refused() {
    use burn::optim::{GradientsParams, SgdConfig};
    fn diverged<M: burn::module::Module>(loss: M, value: &Tensor<1>) -> M {
        let gradients = GradientsParams::from_grads(value.backward(), &loss);
        SgdConfig::new().init().step(f64::INFINITY, loss, gradients)
    }
    for device in devices().into_iter().map(Device::autodiff) {
        for config in every_loss(3, 2) {
            let batch = || {
                let features = Tensor::<2>::from_data([[1.0, 0.2]], &device);
                (features, labels(&[1], &device))
            };
            let loss = config.make(&device);
            let value = loss.try_forward(batch()).unwrap();
            let loss = match loss {
                Loss::Anchor(loss) => Loss::Anchor(diverged(loss, &value)),
                Loss::Nca(loss) => Loss::Nca(diverged(loss, &value)),
                Loss::SoftTriple(loss) => Loss::SoftTriple(diverged(loss, &value)),
            };
            let error = loss.try_forward(batch()).unwrap_err().to_string();
            assert!(
                error.starts_with("centers[0][") && error.ends_with("every center must be finite"),
                "{error}"
            );
            let nearest = match &loss {
                Loss::Anchor(loss) => loss.nearest_center(),
                Loss::Nca(loss) => loss.nearest_center(),
                Loss::SoftTriple(loss) => loss.nearest_center(),
            };
            assert!(nearest.is_err());
        }
    }
}

#[test]
fn logits_of_the_wrong_width() {
    let device = &devices()[0];
    for config in every_loss(3, 2) {
        assert_eq!(
            config
                .make(device)
                .logits(Tensor::zeros([4, 3], device))
                .unwrap_err()
                .to_string(),
            "features have shape [4, 3]: it must be [batch_size, feature_dim] with feature_dim = 2"
        );
    }
}
