//! The pass against the tensor operations, on the same backend.

use burn::tensor::{Device, Distribution, Int, Tensor};
use proptest::prelude::*;

use super::super::comparison::{assert_close, cases, outcome};
use crate::{CenterLoss, CenterLossConfig, Precision};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_pass_gives_what_the_operations_give(case in cases(false)) {
        let device = Device::flex().autodiff();
        case.check(CenterLoss::measure_fused, &device, Precision::F64, 1e-12);
    }
}

#[cfg(feature = "rayon")]
#[test]
fn the_number_of_threads_changes_no_bit() {
    let device = Device::flex().autodiff();
    for num_classes in [2, 7, 500] {
        let (batch_size, feature_dim) = (700, 300);
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
    let features = |value: f32| Tensor::from_data([[value, 0.0]], &device);
    let label = |label: i64| Tensor::<1, Int>::from_data([label], &device);
    let weight = |weight: f32| Tensor::<1>::from_data([weight], &device);
    assert!(
        loss.measure_fused(&features(1.0), &label(1), Some(&weight(1.0)))
            .is_some()
    );
    assert!(
        loss.measure_fused(&features(f32::NAN), &label(1), None)
            .is_none()
    );
    // Finite, but its square is not: the value of the loss may still be.
    assert!(
        loss.measure_fused(&features(1e30), &label(1), None)
            .is_none()
    );
    assert!(
        loss.measure_fused(&features(1.0), &label(2), None)
            .is_none()
    );
    assert!(
        loss.measure_fused(&features(1.0), &label(-1), None)
            .is_none()
    );
    assert!(
        loss.measure_fused(&features(1.0), &label(1), Some(&weight(-1.0)))
            .is_none()
    );
}
