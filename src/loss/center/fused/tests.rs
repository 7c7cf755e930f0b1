//! The pass against the tensor operations, on the same backend.

use burn::tensor::{Device, Distribution, Int, Tensor};
use proptest::prelude::*;

use super::super::comparison::{Problem, assert_close, cases, host, outcome};
use super::pass::Pulls;
use crate::{CenterLoss, CenterLossConfig, Precision};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_pass_gives_what_the_operations_give(case in cases(false)) {
        let device = Device::flex().autodiff();
        case.check(CenterLoss::measure_fused, &device, Precision::F64, 1e-12);
    }

    /// With and without the pulls of single samples.
    #[test]
    fn forward_does_what_measuring_and_applying_do(case in cases(false)) {
        let device = Device::flex().autodiff();
        let Problem { loss, features, labels, weights } = case.problem(&device, Precision::F64);
        let input = |loss: &CenterLoss| loss.fitting(features.clone(), labels.clone(), weights.clone()).unwrap();

        let applied = loss.clone();
        let (measured, update) = applied.measure_fused(&input(&applied)).unwrap();
        applied.apply(update).unwrap();
        let valued = loss.value_fused(&input(&loss)).unwrap();
        assert_eq!(host(valued), host(measured.clone()));

        for wanted in [Pulls::All, Pulls::OfSeveral] {
            let moved = loss.clone();
            let forward = moved.forward_by(wanted, &input(&moved)).unwrap().unwrap();
            assert_eq!(host(forward), host(measured.clone()));
            assert_close("centers", &host(moved.centers()), &host(applied.centers()), 1e-14);
            assert_eq!(moved.step(), applied.step());
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn the_number_of_threads_changes_no_bit() {
    let device = Device::flex().autodiff();
    for num_classes in [2, 7, 500] {
        let (batch_size, feature_dim) = (7200, 300);
        let loss = CenterLossConfig::new(num_classes, feature_dim).init(&device);
        let _ = loss.centers();
        let features = Tensor::random([batch_size, feature_dim], Distribution::Default, &device);
        let labels =
            Tensor::<1, Int>::arange(0..batch_size as i64, &device) * 37 % num_classes as i64;
        let [one, four] = [1, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let fused = Some(CenterLoss::measure_fused as _);
                outcome(&loss, fused, &features, &labels, None)
            })
        });
        assert_eq!(one.loss, four.loss);
        assert_eq!(one.gradient, four.gradient);
        assert_eq!(one.centers, four.centers);
        let plain = outcome(&loss, None, &features, &labels, None);
        assert_close("gradient", &one.gradient, &plain.gradient, 1e-6);
        assert_close("centers", &one.centers, &plain.centers, 1e-5);
    }
}

#[test]
fn a_batch_that_is_not_in_order_is_left_to_the_operations() {
    let device = Device::flex();
    let loss = CenterLossConfig::new(2, 2).init(&device);
    let is_fused = |value: f32, label: i64, weight: Option<f32>| {
        let features = Tensor::from_data([[value, 0.0]], &device);
        let labels = Tensor::<1, Int>::from_data([label], &device);
        let weights = weight.map(|weight| Tensor::<1>::from_data([weight], &device));
        let input = loss.fitting(features, labels, weights).unwrap();
        loss.measure_fused(&input).is_some()
    };
    assert!(is_fused(1.0, 1, Some(1.0)));
    assert!(!is_fused(f32::NAN, 1, None));
    // Finite, but its square is not: the value of the loss may still be.
    assert!(!is_fused(1e30, 1, None));
    assert!(!is_fused(1.0, 2, None));
    assert!(!is_fused(1.0, -1, None));
    assert!(!is_fused(1.0, 1, Some(-1.0)));
}
