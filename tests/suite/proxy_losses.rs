//! What proxy losses do beside what every loss does: their settings, their logits, and where they are another loss.
//!
//! Proxies of absent classes receive gradients, and the loss of a feature on its proxy is not 0. `ProxyAnchor` is no sum
//! over samples: doubling a batch does not double it. `ProxyNca` with `Denominator::OtherClasses` may be negative.

use burn::tensor::{Device, Tensor};
use burn_center_loss::proxy::Denominator;
use burn_center_loss::{
    CenterDType, Margin, MarginSoftmaxConfig, ProxyAnchor, ProxyAnchorConfig, ProxyNca,
    ProxyNcaConfig, SoftTriple, SoftTripleConfig,
};

use crate::contract::Case;
use crate::devices::{autodiff_devices, devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::Plain;
use crate::tensors::labels;

fn refused(case: Case) -> String {
    case.config.try_init(&devices()[0]).unwrap_err().to_string()
}

#[test]
fn configurations() {
    let positive = "it must be finite and greater than 0";
    let not_negative = "it must be finite and not negative";
    let anchor = ProxyAnchorConfig::new(3, 2);
    let scale = "it must be greater than 0, and scale * (1 + margin) at most 1e30";
    for bad in [0.0, -1.0, 1e31, f64::INFINITY, f64::NAN] {
        let case = Case::new(anchor.clone().with_scale(bad));
        assert_eq!(refused(case), format!("scale is {bad}: {scale}"));
    }
    let case = Case::new(anchor.clone().with_margin(1e30));
    assert_eq!(refused(case), format!("scale is 32: {scale}"));
    let (nca, triple) = (ProxyNcaConfig::new(3, 2), SoftTripleConfig::new(3, 2));
    for bad in [-0.1, f64::INFINITY, f64::NAN] {
        let message = format!("margin is {bad}: {not_negative}");
        assert_eq!(refused(Case::new(anchor.clone().with_margin(bad))), message);
        assert_eq!(refused(Case::new(triple.clone().with_margin(bad))), message);
    }
    for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let message = format!("scale is {bad}: {positive}");
        assert_eq!(refused(Case::new(nca.clone().with_scale(bad))), message);
        assert_eq!(refused(Case::new(triple.clone().with_scale(bad))), message);
        let case = Case::new(triple.clone().with_gamma(bad));
        assert_eq!(refused(case), format!("gamma is {bad}: {positive}"));
    }
    let alone = ProxyNcaConfig::new(1, 2).with_denominator(Denominator::OtherClasses);
    assert_eq!(
        refused(Case::new(alone)),
        "num_classes is 1: it must be at least 2 where the denominator has the other classes alone"
    );
    let case = Case::new(triple.with_sub_centers(0));
    assert_eq!(refused(case), "sub_centers is 0: it must be at least 1");
}

#[test]
fn the_exceptions_are_as_stated() {
    for device in f64_devices() {
        let anchor = Case::new(ProxyAnchorConfig::new(4, 3)).in_type(CenterDType::F64);
        let plain = anchor.batch();
        let mut doubled = plain.clone();
        doubled.features.extend(plain.features.clone());
        doubled.labels.extend(plain.labels.clone());
        let [once, twice] = [&plain, &doubled].map(|plain| anchor.run(plain, &device).value[0]);
        // The exponent of every sample grows by log(2).
        assert!(twice > once && twice < once + 2.0 * 2_f64.ln());
        for case in [
            anchor,
            Case::new(ProxyNcaConfig::new(4, 3)).in_type(CenterDType::F64),
            Case::new(SoftTripleConfig::new(4, 3).with_sub_centers(1)).in_type(CenterDType::F64),
        ] {
            let found = case.run(&plain, &device);
            let absent = &found.of_centers.unwrap()[3 * 3..];
            assert!(absent.iter().any(|g| *g != 0.0), "{}", case.name());
            assert!(found.value[0] >= 0.0);
        }
        // Features on their proxies, and far from the others.
        let loss = ProxyNcaConfig::new(2, 1)
            .with_denominator(Denominator::OtherClasses)
            .init_with_centers(Tensor::from_data([[1.0], [-1.0]], &device))
            .unwrap();
        let features = Tensor::from_data([[2.0], [-3.0]], &device);
        let value = loss.forward(features, labels(&[0, 1], &device));
        assert_close("negative", &values(value), &[-4.0], 1e-6);
    }
}

/// Losses that are other losses of this crate.
#[test]
fn losses_that_are_the_same() {
    for device in f64_devices() {
        let plain = Plain::new(9, 4, 3, 5);
        let assert_same = |one: Case, other: MarginSoftmaxConfig| {
            let [one, other] = [one, Case::new(other)]
                .map(|case| case.in_type(CenterDType::F64).run(&plain, &device));
            assert_close("value", &one.value, &other.value, 1e-12);
        };
        let nca = ProxyNcaConfig::new(4, 3).with_scale(3.0);
        let normalized = MarginSoftmaxConfig::normalized_softmax(4, 3).with_scale(6.0);
        assert_same(Case::new(nca), normalized);
        let triple = SoftTripleConfig::new(4, 3).with_sub_centers(1);
        let cosface = MarginSoftmaxConfig::new(4, 3).with_margin(Margin::cosface(0.2));
        assert_same(
            Case::new(triple.with_scale(7.0).with_margin(0.2)),
            cosface.with_scale(7.0),
        );
    }
}

#[test]
fn logits_are_the_exponents_of_the_loss() {
    for device in autodiff_devices() {
        let proxies =
            || Tensor::<2>::from_data([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]], &device);
        let features = || Tensor::<2>::from_data([[3.0, 0.0]], &device).require_grad();
        let checked = |of: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let features = features();
            let logits = of(features.clone());
            assert!(features.grad(&logits.clone().sum().backward()).is_some());
            values(logits)
        };
        let anchor = ProxyAnchorConfig::new(4, 2).with_scale(8.0);
        let anchor: ProxyAnchor = anchor.init_with_centers(proxies()).unwrap();
        assert_eq!(
            checked(&|x| anchor.logits(x).unwrap()),
            [8.0, 0.0, -8.0, 0.0]
        );
        let nca = ProxyNcaConfig::new(4, 2).with_scale(3.0);
        let nca: ProxyNca = nca.init_with_centers(proxies()).unwrap();
        assert_eq!(checked(&|x| nca.logits(x).unwrap()), [6.0, 0.0, -6.0, 0.0]);
        let (value, logits) = nca.forward_with_logits(features(), labels(&[1], &device));
        assert_close("logits", &values(logits), &[6.0, 0.0, -6.0, 0.0], 1e-6);
        let expected = nca.forward(features(), labels(&[1], &device));
        assert_close("loss", &values(value), &values(expected), 1e-6);
        let batch = (features(), labels(&[4], &device));
        assert!(nca.try_forward_with_logits(batch).is_err());

        let triple = SoftTripleConfig::new(2, 2).with_sub_centers(2);
        let triple = triple.with_scale(5.0).with_gamma(0.5);
        let triple: SoftTriple = triple.init_with_centers(proxies()).unwrap();
        // exp(cos / gamma) of the proxies of a class are its shares: (e^2, 1) and (e^-2, 1).
        let share = |cosine: f64| (2.0 * cosine).exp() / ((2.0 * cosine).exp() + 1.0) * cosine;
        let similarities = [5.0 * share(1.0), 5.0 * share(-1.0)];
        let found = checked(&|x| triple.logits(x).unwrap());
        assert_close("soft triple", &found, &similarities, 1e-6);

        let message =
            "features have shape [4, 3]: it must be [batch_size, feature_dim] with feature_dim = 2";
        let wide = || Tensor::<2>::zeros([4, 3], &device);
        for error in [
            anchor.logits(wide()),
            nca.logits(wide()),
            triple.logits(wide()),
        ] {
            assert_eq!(error.unwrap_err().to_string(), message);
        }
    }
}

#[test]
fn display_names_the_settings() {
    let device = &Device::flex();
    assert_eq!(
        ProxyAnchorConfig::new(10, 2).init(device).to_string(),
        "ProxyAnchor {num_classes: 10, feature_dim: 2, scale: 32, margin: 0.1, params: 20}"
    );
    assert_eq!(
        ProxyNcaConfig::new(10, 2).init(device).to_string(),
        "ProxyNca {num_classes: 10, feature_dim: 2, scale: 1, denominator: AllClasses, params: 20}"
    );
    assert_eq!(
        SoftTripleConfig::new(10, 2).init(device).to_string(),
        "SoftTriple {num_classes: 10, feature_dim: 2, sub_centers: 10, scale: 20, gamma: 0.1, margin: 0.01, \
         params: 200}"
    );
}
