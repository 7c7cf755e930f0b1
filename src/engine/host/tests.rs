use burn::nn::loss::Reduction;
use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor};
use proptest::prelude::*;

use crate::batch::{Batch, BatchRules, Checking, ClassBalance, Weighing};
use crate::distance::CenterDistance;
use crate::engine::comparison::cases;
#[cfg(feature = "rayon")]
use crate::engine::comparison::{assert_close, host};
#[cfg(feature = "rayon")]
use crate::engine::operations;
use crate::engine::problem::{Measured, Problem, Wants};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_pass_gives_what_the_operations_give(case in cases()) {
        let device = Device::flex().autodiff();
        case.check(&device, FloatDType::F64, 1e-12);
        case.check(&device, FloatDType::F32, 1e-5);
    }
}

/// Asks of a batch on centers at zero.
fn with_problem<R>(
    num_classes: usize,
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    weights: Option<Tensor<1>>,
    ask: impl FnOnce(&Problem) -> R,
) -> R {
    let device = features.device().without_autodiff();
    let [_, feature_dim] = features.dims();
    let rules = BatchRules {
        num_classes,
        feature_dim,
        ignore_label: None,
        checking: Checking::Strict,
    };
    let batch = Batch::new(features, labels);
    let batch = match weights {
        Some(weights) => batch.with_weights(weights),
        None => batch,
    };
    ask(&Problem {
        batch: rules.fit(batch, &device, FloatDType::F32).unwrap(),
        centers: Tensor::zeros([num_classes, feature_dim], &device),
        tracked: false,
        rules: &rules,
        weighing: Weighing {
            lambda: 1.0,
            reduction: Some(&Reduction::Mean),
            class_balance: ClassBalance::None,
            class_weights: None,
        },
        distance: CenterDistance::Euclidean,
        radius: 0.0,
        wants: Wants::Pulls,
    })
}

#[cfg(feature = "rayon")]
#[test]
fn the_number_of_threads_changes_no_bit() {
    let device = Device::flex().autodiff();
    for num_classes in [2, 7, 500] {
        let (batch_size, feature_dim) = (7200, 300);
        let features = Tensor::random([batch_size, feature_dim], Distribution::Default, &device);
        let labels =
            Tensor::<1, Int>::arange(0..batch_size as i64, &device) * 37 % num_classes as i64;
        let outcome = |measure: fn(&Problem) -> Measured| {
            let features = features.clone().detach().require_grad();
            let measured =
                with_problem(num_classes, features.clone(), labels.clone(), None, measure);
            let gradients = measured.value.clone().backward();
            let gradient = host(features.grad(&gradients).unwrap());
            (
                host(measured.value.inner()),
                gradient,
                host(measured.pulls.unwrap().rows),
            )
        };
        let fast = |problem: &Problem| super::measure(problem).unwrap();
        let [one, four] = [1, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| outcome(fast))
        });
        assert_eq!(one, four);
        let plain = outcome(|problem| operations::measure(problem).unwrap());
        assert_close("value", &one.0, &plain.0, 1e-5);
        assert_close("gradient", &one.1, &plain.1, 1e-6);
    }
}

#[test]
fn a_batch_with_a_bad_sample_is_left_to_the_operations() {
    let device = Device::flex();
    let is_taken = |value: f32, label: i64, weight: f32| {
        let features = Tensor::from_data([[value, 0.0]], &device);
        let labels = Tensor::<1, Int>::from_data([label], &device);
        let weights = Tensor::<1>::from_data([weight], &device);
        with_problem(2, features, labels, Some(weights), |problem| {
            super::measure(problem).is_some()
        })
    };
    assert!(is_taken(1.0, 1, 1.0));
    assert!(!is_taken(f32::NAN, 1, 1.0));
    // Finite, but its square is not. The loss may still be.
    assert!(!is_taken(1e30, 1, 1.0));
    assert!(!is_taken(1.0, 2, 1.0));
    assert!(!is_taken(1.0, -1, 1.0));
    assert!(!is_taken(1.0, 1, -1.0));
}
