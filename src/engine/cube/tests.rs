use alloc::vec::Vec;
use burn::nn::loss::Reduction;
use burn::tensor::{DType, Distribution, FloatDType, Int, Tensor};
use proptest::prelude::*;

use super::class_totals;
use super::devices::devices;
use crate::batch::{Batch, BatchRules, Checking, ClassBalance, Weighing};
use crate::distance::CenterDistance;
use crate::engine::comparison::{assert_close, cases, host};
use crate::engine::operations;
use crate::engine::problem::{Measured, Problem, Wants};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn the_kernels_give_what_the_operations_give(case in cases()) {
        for device in devices() {
            let device = device.autodiff();
        case.check(&device, FloatDType::F32, 1e-5);
        if device.supports_dtype(DType::F64) {
            case.check(&device, FloatDType::F64, 1e-12);
        }
        }
    }
}

/// Asks of a batch on centers at zero.
fn ask(
    num_classes: usize,
    checking: Checking,
    lambda: f64,
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    measure: fn(&Problem) -> Measured,
) -> Measured {
    let device = features.device().without_autodiff();
    let [_, feature_dim] = features.dims();
    let rules = BatchRules {
        num_classes,
        feature_dim,
        ignore_label: None,
        checking,
    };
    let batch = rules.fit(Batch::new(features, labels), &device, FloatDType::F32);
    measure(&Problem {
        batch: batch.expect("the shapes fit"),
        centers: Tensor::zeros([num_classes, feature_dim], &device),
        tracked: false,
        rules: &rules,
        weighing: Weighing {
            lambda,
            reduction: Some(&Reduction::Mean),
            class_balance: ClassBalance::None,
            class_weights: None,
        },
        distance: CenterDistance::Euclidean,
        radius: 0.0,
        wants: Wants::Pulls,
    })
}

fn by_kernels(problem: &Problem) -> Measured {
    super::measure(problem).expect("the kernels take the batch")
}

fn by_operations(problem: &Problem) -> Measured {
    operations::measure(problem).expect("the batch is in order")
}

#[test]
fn rows_wider_than_a_cube_and_batches_of_many_cubes() {
    for device in devices() {
        let device = device.autodiff();
        for (batch_size, num_classes, feature_dim) in [(3, 2, 1000), (1500, 7, 3), (700, 500, 130)]
        {
            for checking in [Checking::Strict, Checking::Deferred] {
                let shape = [batch_size, feature_dim];
                let features = Tensor::random(shape, Distribution::Default, &device);
                let labels = Tensor::<1, Int>::arange(0..batch_size as i64, &device) * 37
                    % num_classes as i64;
                let outcome = |measure| {
                    let features = features.clone().detach().require_grad();
                    let measured = ask(
                        num_classes,
                        checking,
                        1.0,
                        features.clone(),
                        labels.clone(),
                        measure,
                    );
                    let gradients = measured.value.clone().backward();
                    let gradient = features.grad(&gradients).expect("features are tracked");
                    let pulls = measured.pulls.expect("the pulls were asked for");
                    [
                        host(measured.value.inner()),
                        host(gradient),
                        host(pulls.rows),
                    ]
                };
                let [fast, again, plain] = [by_kernels, by_kernels, by_operations].map(outcome);
                for ((fast, again), plain) in fast.iter().zip(&again).zip(&plain) {
                    assert_close("kernels", fast, plain, 1e-5);
                    assert_eq!(fast, again);
                }
            }
        }
    }
}

#[test]
fn a_distance_whose_square_overflows_counts_with_its_small_weight() {
    for device in devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            let features = Tensor::from_data([[3e25, 0.0, -4e25]], &device);
            let labels = Tensor::from_data([1], &device);
            let measured = ask(2, checking, 1e-20, features, labels, by_kernels);
            let expected = 1e-20 * 25e50 / 2.0;
            let value = host(measured.value)[0];
            assert!((value / expected - 1.0).abs() < 1e-6, "{value}");
            if let Some(left_out) = measured.left_out {
                let left_out: Vec<i64> = left_out.into_data().iter::<i64>().collect();
                assert_eq!(left_out, [0; 4]);
            }
        }
    }
}

#[test]
fn class_totals_are_sums_over_the_class() {
    for device in devices() {
        let classes: Vec<i64> = (0..300).map(|i| i * i % 17 + 1_000_000).collect();
        let weights: Vec<f64> = (0..300).map(|i| f64::from(i % 5)).collect();
        let expected: Vec<f64> = classes
            .iter()
            .map(|class| {
                let pairs = classes.iter().zip(&weights);
                pairs
                    .filter(|(other, _)| *other == class)
                    .map(|(_, weight)| weight)
                    .sum()
            })
            .collect();
        let totals = class_totals(
            &Tensor::from_data(classes.as_slice(), &device),
            &Tensor::from_data(weights.as_slice(), &device),
        );
        assert_eq!(host(totals), expected);
    }
}

/// Fusion does not let anyone see the memory.
#[cfg(not(feature = "fusion"))]
#[test]
fn centers_are_copied_only_if_someone_else_holds_them() {
    use burn::backend::Cube;
    for device in devices() {
        let centers = Tensor::<2>::zeros([5, 3], &device);
        let centers = centers.try_into_primitive::<Cube>().unwrap();
        let classes = Tensor::<1, Int>::from_data([1, 4, 1], &device);
        let pulls = Tensor::<2>::ones([3, 3], &device);
        let factors = Tensor::<1>::from_data([1.0, 0.0, 2.0], &device);
        let apply = |centers| {
            super::apply_kernel::apply(
                centers,
                classes.clone().try_into_primitive::<Cube>().unwrap(),
                pulls.clone().try_into_primitive::<Cube>().unwrap(),
                factors.clone().try_into_primitive::<Cube>().unwrap(),
            )
        };
        let memory =
            |tensor: &burn_cubecl::tensor::CubeTensor| tensor.handle.memory.descriptor().id;
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
}

/// A step that would carry a value beyond what is finite leaves it as it is.
#[test]
fn values_that_would_overflow_stay() {
    use crate::batch::PerSample;
    use crate::centers::{Classes, Step, Target};
    for device in devices() {
        let step = Step {
            classes: Classes::Host(alloc::vec![1, 1]),
            pulls: Tensor::from_data([[3e38, 1.0], [3e38, 1.0]], &device),
            factors: PerSample::Host(alloc::vec![1.0, 1.0]),
            num_classes: 2,
            singles: None,
        };
        let target = Target {
            shape: [2, 2],
            dtype: FloatDType::F32,
            device: device.clone(),
        };
        let centers = Tensor::<2>::ones([2, 2], &device);
        let addition = crate::engine::prepare(step, &target).unwrap();
        assert_eq!(host(addition.add_to(centers)), [1.0, 1.0, 1.0, 3.0]);
    }
}
