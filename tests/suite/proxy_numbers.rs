//! Proxy losses at the scores, lengths and types where implementations fail.

use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    Checking, Denominator, Precision, ProxyAnchorConfig, ProxyNcaConfig, SoftTripleConfig,
};

use crate::center_plain::Plain;
use crate::devices::{devices, devices_with, values};
use crate::fixtures::assert_close;
use crate::margin_plain::f64_devices;
use crate::proxy_contract::every_loss;
use crate::proxy_plain::{Case, Config, expected};
use crate::tensors::{labels, typed_matrix};

fn autodiff_devices() -> Vec<Device> {
    devices().into_iter().map(Device::autodiff).collect()
}

/// Loss and both gradients.
struct Found {
    loss: f64,
    features: Vec<f64>,
    centers: Vec<f64>,
}

fn run(config: &Config, plain: &Plain, dtype: DType, device: &Device) -> Found {
    let (config, of_centers) = match dtype {
        DType::F64 => (config.clone().with_precision(Precision::F64), DType::F64),
        _ => (config.clone(), DType::F32),
    };
    let loss = config
        .try_with_centers(typed_matrix(&plain.centers, of_centers, device))
        .unwrap();
    let features = typed_matrix(&plain.features, dtype, device).require_grad();
    let value = loss
        .try_forward((features.clone(), plain.labels(device)))
        .unwrap();
    assert_eq!(value.dtype(), of_centers);
    let gradients = value.backward();
    Found {
        loss: values(value)[0],
        features: values(features.grad(&gradients).unwrap()),
        centers: values(loss.centers_gradient(gradients).unwrap()),
    }
}

/// The formulas in f64.
fn by_formula(config: &Config, plain: &Plain) -> f64 {
    let case = Case {
        config: config.clone(),
        per_sample: false,
    };
    expected(&case, plain)[0]
}

/// The numbers as they are after rounding.
fn rounded(plain: &Plain, dtype: DType, device: &Device) -> Plain {
    let columns = plain.features[0].len();
    let round = |rows: &[Vec<f64>], dtype| -> Vec<Vec<f64>> {
        let rows = values(typed_matrix(rows, dtype, device));
        rows.chunks(columns).map(<[f64]>::to_vec).collect()
    };
    Plain {
        features: round(&plain.features, dtype),
        centers: round(&plain.centers, DType::F32),
        ..plain.clone()
    }
}

fn sized(config: &Config, seed: u64) -> Plain {
    let mut plain = Plain::new(12, config.num_classes() * config.sub_centers(), 3, seed);
    for label in &mut plain.labels {
        *label %= config.num_classes() as i64;
    }
    plain
}

/// Losses whose exponents are far beyond the range of every data type, or far below.
fn extreme() -> Vec<Config> {
    let nca = |scale, denominator| {
        let config = ProxyNcaConfig::new(4, 3).with_softmax_scale(scale);
        Config::Nca(config.with_denominator(denominator))
    };
    let triple = |scale, gamma, margin| {
        let config = SoftTripleConfig::new(4, 3).with_sub_centers(3);
        Config::SoftTriple(
            config
                .with_scale(scale)
                .with_gamma(gamma)
                .with_margin(margin),
        )
    };
    let anchor = |alpha, margin| {
        Config::Anchor(
            ProxyAnchorConfig::new(4, 3)
                .with_alpha(alpha)
                .with_margin(margin),
        )
    };
    vec![
        anchor(32.0, 0.1),
        anchor(32.0, 30.0),
        anchor(1e4, 0.1),
        nca(1e4, Denominator::AllClasses),
        nca(1e4, Denominator::OtherClasses),
        triple(1e4, 0.1, 0.01),
        triple(20.0, 1e-4, 0.01),
        triple(20.0, 1e4, 100.0),
    ]
}

/// Acceptance case 11: `exp` before the logarithm in the program of Proxy Anchor's authors; samples that
/// pytorch-metric-learning 2 drops; its 3.0.4, #799 and #807.
#[test]
fn exponents_beyond_every_range() {
    for device in autodiff_devices() {
        for config in extreme() {
            for seed in [3, 4, 5] {
                let plain = rounded(&sized(&config, seed), DType::F32, &device);
                let found = run(&config, &plain, DType::F32, &device);
                let loss = by_formula(&config, &plain);
                assert_close(&config.name(), &[found.loss], &[loss], 1e-5);
                assert!(found.features.iter().all(|g| g.is_finite()));
                assert!(found.centers.iter().all(|g| g.is_finite()));
                assert!(found.features.iter().any(|g| *g != 0.0));
            }
        }
    }
}

/// A term of the loss far below 1 keeps its digits, and its gradient.
#[test]
fn small_terms_keep_their_digits() {
    for device in autodiff_devices() {
        let config = Config::Anchor(ProxyAnchorConfig::new(1, 2).with_margin(0.0));
        let plain = Plain {
            features: vec![vec![3.0, 0.0]],
            labels: vec![0],
            weights: None,
            centers: vec![vec![1.0, 0.0]],
        };
        // log(1 + exp(-32)), and no negative.
        let found = run(&config, &plain, DType::F32, &device);
        assert_close("loss", &[found.loss], &[(-32_f64).exp()], 1e-6);
    }
}

/// Acceptance cases 9 and 10: pytorch-metric-learning #293, #309, #209; mmpretrain #1169 and PR #1181;
/// pytorch-metric-learning 3.0.4, #792.
#[test]
fn half_precision_features() {
    for dtype in [DType::F16, DType::BF16] {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            for config in extreme().into_iter().chain(every_loss(4, 3)) {
                let mut plain = sized(&config, 6);
                // 300^2 is beyond f16.
                for row in &mut plain.features {
                    row.iter_mut().for_each(|x| *x *= 150.0);
                }
                let plain = rounded(&plain, dtype, &device);
                let half = run(&config, &plain, dtype, &device);
                let single = run(&config, &plain, DType::F32, &device);
                let name = config.name();
                assert_close(&name, &[half.loss], &[single.loss], 1e-6);
                assert_close(&name, &half.features, &single.features, 1e-2);
                assert_close(&name, &half.centers, &single.centers, 1e-6);
            }
        }
    }
}

#[test]
fn single_precision_equals_double_precision() {
    for device in f64_devices() {
        for config in every_loss(4, 3) {
            let plain = rounded(&sized(&config, 8), DType::F32, &device);
            let single = run(&config, &plain, DType::F32, &device);
            let double = run(&config, &plain, DType::F64, &device);
            let name = config.name();
            assert_close(&name, &[single.loss], &[double.loss], 1e-5);
            assert_close(&name, &single.features, &double.features, 1e-5);
            assert_close(&name, &single.centers, &double.centers, 1e-5);
        }
    }
}

/// Features and proxies of any length have the same directions, so that their gradients differ by their
/// lengths alone.
#[test]
fn vectors_of_any_length() {
    for device in autodiff_devices() {
        for config in every_loss(4, 3) {
            let plain = sized(&config, 9);
            let unit = run(&config, &plain, DType::F32, &device);
            for length in [1e-30, 1e-4, 1e4, 1e30] {
                let scaled = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
                    let scale = |row: &Vec<f64>| row.iter().map(|x| x * length).collect();
                    rows.iter().map(scale).collect()
                };
                let long = Plain {
                    features: scaled(&plain.features),
                    centers: scaled(&plain.centers),
                    ..plain.clone()
                };
                let found = run(&config, &long, DType::F32, &device);
                let name = format!("{}, length {length}", config.name());
                assert_close(&name, &[found.loss], &[unit.loss], 1e-5);
                let times = |gradient: &[f64]| -> Vec<f64> {
                    gradient.iter().map(|g| g * length).collect()
                };
                assert_close(&name, &times(&found.features), &unit.features, 1e-5);
                assert_close(&name, &times(&found.centers), &unit.centers, 1e-5);
            }
        }
    }
}

/// Features on their proxies and opposite them: no cosine above 1 in rounding makes a gradient NaN.
#[test]
fn features_on_and_opposite_their_proxies() {
    for device in autodiff_devices() {
        for config in every_loss(4, 3).into_iter().chain(extreme()) {
            for sign in [1.0, -1.0] {
                let mut plain = sized(&config, 10);
                for (row, label) in plain.features.iter_mut().zip(&plain.labels) {
                    let own = &plain.centers[*label as usize * config.sub_centers()];
                    *row = own.iter().map(|x| sign * 1.7 * x).collect();
                }
                let plain = rounded(&plain, DType::F32, &device);
                let found = run(&config, &plain, DType::F32, &device);
                let loss = by_formula(&config, &plain);
                // A loss that nearly vanishes has the rounding of its exponents.
                assert!(
                    (found.loss - loss).abs() <= 1e-5 * loss.abs().max(10.0),
                    "{}: {} is not {loss}",
                    config.name(),
                    found.loss
                );
                assert!(found.features.iter().all(|g| g.is_finite()));
                assert!(found.centers.iter().all(|g| g.is_finite()));
            }
        }
    }
}

/// A zero vector has cosine 0 with everything, and passes no gradient.
#[test]
fn zero_vectors() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            for config in every_loss(4, 3) {
                let config = config.with_checking(checking);
                let mut plain = sized(&config, 12);
                plain.features[0] = vec![0.0; 3];
                plain.centers[1] = vec![-0.0; 3];
                let found = run(&config, &plain, DType::F32, &device);
                let loss = by_formula(&config, &plain);
                assert_close(&config.name(), &[found.loss], &[loss], 1e-5);
                assert_eq!(found.features[..3], [0.0; 3], "{}", config.name());
                assert_eq!(found.centers[3..6], [0.0; 3], "{}", config.name());
                assert!(found.features[3..6].iter().any(|g| *g != 0.0));

                // All of them.
                plain
                    .features
                    .iter_mut()
                    .for_each(|row| *row = vec![0.0; 3]);
                plain.centers.iter_mut().for_each(|row| *row = vec![0.0; 3]);
                let found = run(&config, &plain, DType::F32, &device);
                let loss = by_formula(&config, &plain);
                assert_close(&config.name(), &[found.loss], &[loss], 1e-5);
                assert!(
                    found
                        .features
                        .iter()
                        .chain(&found.centers)
                        .all(|g| *g == 0.0)
                );
            }
        }
    }
}

/// Acceptance case 6: insightface #1437 and #894, LightCNN #5, MagFace #15.
#[test]
fn labels_from_one_on_are_refused_by_name() {
    for device in autodiff_devices() {
        for config in every_loss(3, 2) {
            for bad in [3, -1] {
                let batch = (Tensor::ones([2, 2], &device), labels(&[1, bad], &device));
                let error = config.make(&device).try_forward(batch).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("labels[1] is {bad}: it must be in 0..3")
                );
            }
        }
    }
}

/// Acceptance case 17: gluon-face #28. Beyond 2^24 not every whole number is an `f32`.
#[test]
fn labels_that_no_float_holds() {
    const LAST: i64 = (1 << 24) + 1;
    let device = Device::flex();
    // Only the last class is along the feature.
    let proxies = Tensor::<1>::full([LAST as usize + 1], -1.0, &device)
        .slice_fill(LAST..LAST + 1, 1.0)
        .unsqueeze_dim::<2>(1);
    let config = ProxyNcaConfig::new(LAST as usize + 1, 1)
        .with_softmax_scale(50.0)
        .with_denominator(Denominator::OtherClasses);
    let loss = config.init_with_centers(proxies).unwrap();
    let value = |class: i64| {
        let label = Tensor::<1, Int>::from_data([class], &device);
        values(loss.evaluate(Tensor::ones([1, 1], &device), label))[0]
    };
    let others = ((LAST - 1) as f64).ln();
    assert!((value(LAST) - (others - 200.0)).abs() < 1e-3);
    assert!((value(LAST - 1) - 200.0).abs() < 1e-3);
}
