//! Proxy losses at the scores, lengths and types where implementations fail.

use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::proxy::Denominator;
use burn_center_loss::{Checking, ProxyAnchorConfig, ProxyNcaConfig, SoftTripleConfig};

use crate::contract::{Case, Found};
use crate::devices::{autodiff_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, rows_of};
use crate::proxy_plain::Config;
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

fn sized(case: &Case, seed: u64) -> Plain {
    let num_classes = case.num_classes();
    let mut plain = Plain::new(12, num_classes * case.config.sub_centers(), 3, seed);
    for label in &mut plain.labels {
        *label %= num_classes as i64;
    }
    plain
}

fn is_finite(found: &Found) -> bool {
    let of_centers = found.of_centers.iter().flatten();
    found
        .features
        .iter()
        .flatten()
        .chain(of_centers)
        .all(|value| value.is_finite())
}

/// Every loss with its defaults.
fn usual() -> Vec<Config> {
    let nca = ProxyNcaConfig::new(4, 3);
    let others = nca.clone().with_denominator(Denominator::OtherClasses);
    vec![
        Config::Anchor(ProxyAnchorConfig::new(4, 3)),
        Config::Nca(nca),
        Config::Nca(others),
        Config::SoftTriple(SoftTripleConfig::new(4, 3).with_sub_centers(2)),
    ]
}

/// Losses whose exponents are far beyond the range of every data type, or far below.
fn extreme() -> Vec<Config> {
    let nca = |denominator| {
        let config = ProxyNcaConfig::new(4, 3).with_scale(1e4);
        Config::Nca(config.with_denominator(denominator))
    };
    let triple = |scale, gamma, margin| {
        let config = SoftTripleConfig::new(4, 3)
            .with_sub_centers(3)
            .with_scale(scale);
        Config::SoftTriple(config.with_gamma(gamma).with_margin(margin))
    };
    let anchor = |scale, margin| {
        let config = ProxyAnchorConfig::new(4, 3).with_scale(scale);
        Config::Anchor(config.with_margin(margin))
    };
    vec![
        anchor(32.0, 0.1),
        anchor(32.0, 30.0),
        anchor(1e4, 0.1),
        nca(Denominator::AllClasses),
        nca(Denominator::OtherClasses),
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
                let case = config.case();
                let plain = rounded(&sized(&case, seed), &device);
                let found = case.run(&plain, &device);
                assert_close(&case.name(), &found.value, &[config.mean(&plain)], 1e-5);
                assert!(is_finite(&found), "{}", case.name());
                assert!(found.features.iter().flatten().any(|g| *g != 0.0));
            }
        }
    }
}

/// A term of the loss far below 1 keeps its digits, and its gradient.
#[test]
fn small_terms_keep_their_digits() {
    for device in autodiff_devices() {
        let case = Case::new(ProxyAnchorConfig::new(1, 2).with_margin(0.0));
        let plain = Plain {
            features: vec![vec![3.0, 0.0]],
            labels: vec![0],
            weights: None,
            centers: vec![vec![1.0, 0.0]],
        };
        // log(1 + exp(-32)), and no negative.
        let found = case.run(&plain, &device);
        assert_close("loss", &found.value, &[(-32_f64).exp()], 1e-6);
    }
}

/// Features and proxies of any length have the same directions, so that their gradients differ by their
/// lengths alone.
#[test]
fn vectors_of_any_length() {
    for device in autodiff_devices() {
        for case in usual().iter().map(Config::case) {
            let plain = sized(&case, 9);
            let unit = case.run(&plain, &device);
            for length in [1e-15, 1e-4, 1e4, 1e15] {
                let mut long = plain.clone();
                let all = long.features.iter_mut().chain(&mut long.centers).flatten();
                all.for_each(|value| *value *= length);
                let found = case.run(&long, &device);
                let name = format!("{}, length {length}", case.name());
                assert_close(&name, &found.value, &unit.value, 1e-5);
                let times = |gradient: Vec<f64>| -> Vec<f64> {
                    gradient.iter().map(|g| g * length).collect()
                };
                assert_close(
                    &name,
                    &times(found.features.concat()),
                    &unit.features.concat(),
                    1e-5,
                );
                let of_centers = times(found.of_centers.unwrap());
                assert_close(&name, &of_centers, unit.of_centers.as_ref().unwrap(), 1e-5);
            }
        }
    }
}

/// Features on their proxies and opposite them: no cosine above 1 in rounding makes a gradient NaN.
#[test]
fn features_on_and_opposite_their_proxies() {
    for device in autodiff_devices() {
        for config in usual().into_iter().chain(extreme()) {
            for sign in [1.0, -1.0] {
                let case = config.case();
                let mut plain = sized(&case, 10);
                for (row, label) in plain.features.iter_mut().zip(&plain.labels) {
                    let proxy = &plain.centers[*label as usize * case.config.sub_centers()];
                    *row = proxy.iter().map(|x| sign * 1.7 * x).collect();
                }
                let plain = rounded(&plain, &device);
                let (found, loss) = (case.run(&plain, &device), config.mean(&plain));
                // A loss that nearly vanishes has the rounding of its exponents.
                assert!(
                    (found.value[0] - loss).abs() <= 1e-5 * loss.abs().max(10.0),
                    "{}: {:?} is not {loss}",
                    case.name(),
                    found.value
                );
                assert!(is_finite(&found), "{}", case.name());
            }
        }
    }
}

/// A zero vector has cosine 0 with everything, and passes no gradient.
#[test]
fn zero_vectors() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            for config in usual() {
                let case = config.case().checking(checking);
                let mut plain = sized(&case, 12);
                plain.features[0] = vec![0.0; 3];
                plain.centers[1] = vec![-0.0; 3];
                let (found, name) = (case.run(&plain, &device), case.name());
                assert_close(&name, &found.value, &[config.mean(&plain)], 1e-5);
                assert_eq!(found.features[0], [0.0; 3], "{name}");
                assert_eq!(found.of_centers.unwrap()[3..6], [0.0; 3], "{name}");
                assert!(found.features[1].iter().any(|g| *g != 0.0));

                // All of them.
                plain.features.fill(vec![0.0; 3]);
                plain.centers.fill(vec![0.0; 3]);
                let found = case.run(&plain, &device);
                assert_close(&name, &found.value, &[config.mean(&plain)], 1e-5);
                let of_centers = found.of_centers.unwrap();
                assert!(
                    found
                        .features
                        .concat()
                        .iter()
                        .chain(&of_centers)
                        .all(|g| *g == 0.0)
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
        .with_scale(50.0)
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
