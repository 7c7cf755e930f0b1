//! The pass against the tensor operations, on the same backend.

use alloc::vec::Vec;
use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use proptest::prelude::*;

use crate::{
    CenterLoss, CenterLossConfig, Checking, ClassBalance, Precision, Reduction, UpdateRule,
};

/// Loss, gradient of the features and moved centers of one step.
struct Outcome {
    loss: Vec<f64>,
    gradient: Vec<f64>,
    centers: Vec<f64>,
}

fn outcome(
    loss: &CenterLoss,
    fused: bool,
    features: &Tensor<2>,
    labels: &Tensor<1, Int>,
    weights: Option<&Tensor<1>>,
) -> Outcome {
    let loss = loss.clone();
    let features = features.clone().detach().require_grad();
    let (value, update) = match fused {
        true => loss
            .measure_fused(&features, labels, weights)
            .expect("the batch is in order"),
        false => loss
            .measure_by_operations(
                features.clone(),
                &features,
                labels.clone(),
                weights.cloned(),
                false,
            )
            .expect("the batch is in order"),
    };
    loss.apply(update).expect("nothing overflows");
    // Unequal factors from further up, which the gradient has to be multiplied by.
    let factors = Tensor::<1, Int>::arange(1..value.dims()[0] as i64 + 1, &value.device());
    let gradients = (value.clone() * factors.float().cast(value.dtype()))
        .sum()
        .backward();
    let gradient = features.grad(&gradients).expect("features are tracked");
    Outcome {
        loss: host(value.inner()),
        gradient: host(gradient),
        centers: host(loss.centers()),
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn assert_close(name: &str, fused: &[f64], plain: &[f64], tolerance: f64) {
    assert_eq!(fused.len(), plain.len(), "{name}");
    for (fused, plain) in fused.iter().zip(plain) {
        let scale = plain.abs().max(1.0);
        assert!(
            (fused - plain).abs() <= tolerance * scale,
            "{name}: {fused} and {plain}"
        );
    }
}

fn rules() -> impl Strategy<Value = UpdateRule> {
    prop_oneof![
        Just(UpdateRule::Paper),
        Just(UpdateRule::Mean),
        Just(UpdateRule::Sum)
    ]
}

fn reductions() -> impl Strategy<Value = Reduction> {
    prop_oneof![
        Just(Reduction::Mean),
        Just(Reduction::Sum),
        Just(Reduction::None)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_pass_gives_what_the_operations_give(
        [batch_size, num_classes, feature_dim] in [1_usize..40, 1_usize..12, 1_usize..40],
        rule in rules(),
        reduction in reductions(),
        [balanced, ignoring, weighted, class_weighted, deferred, strided] in any::<[bool; 6]>(),
        lambda in 0.0..2.0,
        seed in any::<u64>(),
    ) {
        let device = Device::flex().autodiff();
        let mut config = CenterLossConfig::new(num_classes, feature_dim)
            .with_precision(Precision::F64)
            .with_update_rule(rule)
            .with_reduction(reduction)
            .with_lambda(lambda)
            .with_alpha(0.01);
        if balanced {
            config = config.with_class_balance(ClassBalance::Histogram);
        }
        if deferred {
            config = config.with_checking(Checking::Deferred);
        }
        if class_weighted {
            config = config.with_class_weights(Some((0..num_classes).map(|class| class as f64 / 2.0).collect()));
        }
        // Every tenth class of a wide range of labels is the ignored one.
        let mut labels: Vec<i64> = (0..batch_size as u64)
            .map(|i| (seed.wrapping_mul(i + 1) >> 33) as i64 % num_classes as i64)
            .collect();
        if ignoring {
            config = config.with_ignore_label(Some(-1));
            labels.iter_mut().step_by(3).skip(1).for_each(|label| *label = -1);
        }
        let options = (&device, DType::F64);
        let loss = config
            .init_with_centers(Tensor::random([num_classes, feature_dim], Distribution::Default, options))
            .unwrap();
        let features = match strided {
            true => Tensor::random([feature_dim, batch_size], Distribution::Default, options).transpose(),
            false => Tensor::random([batch_size, feature_dim], Distribution::Default, options),
        };
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
        let weights = weighted
            .then(|| Tensor::<1, Int>::arange(0..batch_size as i64, &device).float().cast(DType::F64) / 3.0);

        let [fused, plain] = [true, false]
            .map(|fused| outcome(&loss, fused, &features, &labels, weights.as_ref()));
        assert_close("loss", &fused.loss, &plain.loss, 1e-12);
        assert_close("gradient", &fused.gradient, &plain.gradient, 1e-12);
        assert_close("centers", &fused.centers, &plain.centers, 1e-12);
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
            pool.install(|| outcome(&loss, true, &features, &labels, None))
        });
        assert_eq!(one.loss, four.loss);
        assert_eq!(one.gradient, four.gradient);
        assert_eq!(one.centers, four.centers);
        let plain = outcome(&loss, false, &features, &labels, None);
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
