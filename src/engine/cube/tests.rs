//! The kernels against the tensor operations, on the same backend.

use alloc::vec::Vec;
use burn::tensor::{DType, Device, DeviceKind, Distribution, Int, Tensor};
use proptest::prelude::*;

use super::super::comparison::{assert_close, cases, outcome};
use super::super::samples::HostSamples;
use super::{are_available, class_totals};
use crate::{CenterLoss, CenterLossConfig, Checking, Precision, UpdateRule};

fn device() -> Device {
    assert!(are_available());
    Device::wgpu(DeviceKind::DefaultDevice)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_kernels_give_what_the_operations_give(case in cases(true)) {
        let device = device().autodiff();
        case.check(CenterLoss::measure_by_kernels, &device, Precision::F32, 1e-5);
        if device.supports_dtype(DType::F64) {
            case.check(CenterLoss::measure_by_kernels, &device, Precision::F64, 1e-12);
        }
    }
}

#[test]
fn rows_wider_than_a_cube_and_batches_of_many_cubes() {
    let device = device().autodiff();
    for (batch_size, num_classes, feature_dim) in [(3, 2, 1000), (1500, 7, 3), (700, 500, 130)] {
        for checking in [Checking::Strict, Checking::Deferred] {
            let loss = CenterLossConfig::new(num_classes, feature_dim)
                .with_checking(checking)
                .init(&device);
            let _ = loss.centers();
            let shape = [batch_size, feature_dim];
            let features = Tensor::random(shape, Distribution::Default, &device);
            let labels =
                Tensor::<1, Int>::arange(0..batch_size as i64, &device) * 37 % num_classes as i64;
            let [fast, plain] = [Some(CenterLoss::measure_by_kernels as _), None]
                .map(|fast| outcome(&loss, fast, &features, &labels, None));
            assert_close("loss", &fast.loss, &plain.loss, 1e-5);
            assert_close("gradient", &fast.gradient, &plain.gradient, 1e-6);
            assert_close("centers", &fast.centers, &plain.centers, 1e-5);
            let again = Some(CenterLoss::measure_by_kernels as _);
            let again = outcome(&loss, again, &features, &labels, None);
            assert_eq!(again.loss, fast.loss);
            assert_eq!(again.gradient, fast.gradient);
            assert_eq!(again.centers, fast.centers);
        }
    }
}

#[test]
fn a_distance_whose_square_overflows_counts_with_its_small_weight() {
    let device = device().autodiff();
    for checking in [Checking::Strict, Checking::Deferred] {
        let loss = CenterLossConfig::new(2, 3)
            .with_lambda(1e-20)
            .with_update_rule(UpdateRule::Paper)
            .with_checking(checking)
            .init_with_centers(Tensor::zeros([2, 3], &device))
            .unwrap();
        let features = Tensor::from_data([[3e25, 0.0, -4e25]], &device);
        let labels = Tensor::from_data([1], &device);
        let fast = Some(CenterLoss::measure_by_kernels as _);
        let fast = outcome(&loss, fast, &features, &labels, None);
        let expected = 1e-20 * 25e50 / 2.0;
        assert!(
            (fast.loss[0] / expected - 1.0).abs() < 1e-6,
            "{:?}",
            fast.loss
        );
        assert_eq!(fast.left_out, "");
        assert!((fast.centers[3] / 0.5 / 0.5 / 3e25 - 1.0).abs() < 1e-6);
    }
}

#[test]
fn class_totals_are_those_of_the_host() {
    let device = device();
    let classes: Vec<usize> = (0..300).map(|i| i * i % 17 + 1_000_000).collect();
    let weights: Vec<f64> = (0..300).map(|i| f64::from(i % 5)).collect();
    let index: Vec<i64> = classes.iter().map(|class| *class as i64).collect();
    let totals = class_totals(
        &Tensor::from_data(index.as_slice(), &device),
        &Tensor::from_data(weights.as_slice(), &device),
    );
    let totals: Vec<f64> = totals.unwrap().into_data().iter::<f64>().collect();
    let reach = 0.0;
    let host = HostSamples {
        classes,
        weights,
        reach,
    };
    assert_eq!(totals, host.class_totals());
}

/// Fusion does not let anyone see the memory.
#[cfg(not(feature = "fusion"))]
#[test]
fn centers_are_copied_only_if_someone_else_holds_them() {
    use burn::backend::Cube;
    let device = device();
    let centers = Tensor::<2>::zeros([5, 3], &device);
    let centers = centers.try_into_primitive::<Cube>().unwrap();
    let classes = Tensor::<1, Int>::from_data([1, 4, 1], &device);
    let pulls = Tensor::<2>::ones([3, 3], &device);
    let factors = Tensor::<1>::from_data([1.0, 0.0, 2.0], &device);
    let apply = |centers| {
        super::apply::apply(
            centers,
            classes.clone().try_into_primitive::<Cube>().unwrap(),
            pulls.clone().try_into_primitive::<Cube>().unwrap(),
            factors.clone().try_into_primitive::<Cube>().unwrap(),
        )
    };
    let memory = |tensor: &burn_cubecl::tensor::CubeTensor| tensor.handle.memory.descriptor().id;
    let before = memory(&centers);
    let moved = apply(centers);
    assert_eq!(memory(&moved), before);
    let twice = apply(moved.clone());
    assert_ne!(memory(&twice), before);
    let values = |tensor| Tensor::<2>::from_primitive::<Cube>(tensor).into_data();
    let (zero, three, six) = ([0_f32; 3], [3_f32; 3], [6_f32; 3]);
    assert_eq!(values(moved), [zero, three, zero, zero, zero].into());
    assert_eq!(values(twice), [zero, six, zero, zero, zero].into());
}
