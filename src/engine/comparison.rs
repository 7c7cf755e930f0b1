//! The faster engines against the tensor operations, on the same device and by the same cases.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device, Distribution, FloatDType, Int, Tensor};
use proptest::prelude::*;

use super::operations;
use super::problem::{Measured, Problem, Wants};
use super::{measure, prepare};
use crate::batch::{
    Batch, BatchError, BatchRules, Checking, ClassBalance, ClassWeights, PerSample, Weighing,
};
use crate::centers::{Classes, Entries, OnDevice, Pulls, Step, Target};
use crate::distance::CenterDistance;

/// Values that the samples of a case are spoiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoiled {
    Nothing,
    Labels,
    Features,
    Weights,
    /// Features so far away that their difference from the center overflows.
    Distances,
    Centers,
    /// Features so far away that the loss overflows.
    Loss,
}

/// A batch, centers, and what is asked of them.
#[derive(Clone, Debug)]
pub(super) struct Case {
    batch_size: usize,
    num_classes: usize,
    feature_dim: usize,
    reduction: usize,
    balanced: bool,
    ignoring: bool,
    weighted: bool,
    class_weighted: bool,
    checking: Checking,
    strided: bool,
    spoiled: Spoiled,
    lambda: f64,
    seed: u64,
}

prop_compose! {
    pub(super) fn cases()(
        (batch_size, num_classes, feature_dim) in (1_usize..40, 1_usize..12, 1_usize..40),
        reduction in 0_usize..4,
        [balanced, ignoring, weighted, class_weighted, deferred, strided] in any::<[bool; 6]>(),
        spoiled in prop_oneof![
            6 => Just(Spoiled::Nothing),
            1 => Just(Spoiled::Labels),
            1 => Just(Spoiled::Features),
            1 => Just(Spoiled::Weights),
            1 => Just(Spoiled::Distances),
            1 => Just(Spoiled::Centers),
            1 => Just(Spoiled::Loss),
        ],
        lambda in 0.0..2.0,
        seed in any::<u64>(),
    ) -> Case {
        Case {
            batch_size,
            num_classes,
            feature_dim,
            reduction,
            balanced,
            ignoring,
            weighted,
            class_weighted,
            checking: if deferred { Checking::Deferred } else { Checking::Strict },
            strided,
            spoiled,
            lambda,
            seed,
        }
    }
}

/// Loss, gradient of the features, centers after a step, and what was left out.
#[derive(Debug)]
struct Outcome {
    value: Vec<f64>,
    gradient: Vec<f64>,
    centers: Vec<f64>,
    /// Zeros if the engine does not count.
    left_out: Vec<i64>,
}

/// The tensors of a case.
struct Tensors {
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    weights: Option<Tensor<1>>,
    centers: Tensor<2>,
    class_weights: Option<ClassWeights>,
}

impl Case {
    /// Checks both ways against each other on an autodiff device, bad samples and errors included.
    pub fn check(&self, device: &Device, dtype: FloatDType, tolerance: f64) {
        let tensors = self.tensors(device, dtype);
        for wants in [Wants::Pulls, Wants::Step] {
            let fast = self.outcome(&tensors, wants, measure);
            let plain = self.outcome(&tensors, wants, operations::measure);
            let (fast, plain) = match (fast, plain) {
                (Ok(fast), Ok(plain)) => (fast, plain),
                (Err(fast), Err(plain)) => {
                    assert_eq!(format(&fast), format(&plain));
                    continue;
                }
                (fast, plain) => panic!("{fast:?} and {plain:?}"),
            };
            assert_close("value", &fast.value, &plain.value, tolerance);
            assert_close("gradient", &fast.gradient, &plain.gradient, tolerance);
            assert_close("centers", &fast.centers, &plain.centers, tolerance);
            assert_eq!(fast.left_out, plain.left_out);
            assert!(
                fast.centers
                    .iter()
                    .zip(host(tensors.centers.clone()))
                    .all(|(after, before)| after.is_finite() || !before.is_finite())
            );
        }
    }

    fn outcome(
        &self,
        tensors: &Tensors,
        wants: Wants,
        measure: fn(&Problem) -> Result<Measured, BatchError>,
    ) -> Result<Outcome, BatchError> {
        let features = tensors.features.clone().detach().require_grad();
        let measured = self.with_problem(tensors, features.clone(), wants, measure)?;
        let pulls = measured.pulls.expect("the pulls were asked for");
        let target = Target {
            shape: tensors.centers.dims(),
            dtype: match tensors.centers.dtype() {
                DType::F64 => FloatDType::F64,
                _ => FloatDType::F32,
            },
            device: tensors.centers.device(),
        };
        let addition = prepare(step(*pulls), &target).expect("the step fits");
        let centers = addition.add_to(tensors.centers.clone());
        // Unequal factors from further up the graph, which the gradient has to be multiplied by.
        let value = measured.value;
        let factors = Tensor::<1, Int>::arange(1..value.dims()[0] as i64 + 1, &value.device());
        let gradients = (value.clone() * factors.float().cast(value.dtype()))
            .sum()
            .backward();
        let gradient = features.grad(&gradients).expect("features are tracked");
        let left_out = measured.left_out.map_or(vec![0; 4], |counts| {
            counts.into_data().iter::<i64>().collect()
        });
        Ok(Outcome {
            value: host(value.inner()),
            gradient: host(gradient),
            centers: host(centers),
            left_out,
        })
    }

    fn with_problem<R>(
        &self,
        tensors: &Tensors,
        features: Tensor<2>,
        wants: Wants,
        measure: impl FnOnce(&Problem) -> R,
    ) -> R {
        let reductions = [Reduction::Mean, Reduction::Sum, Reduction::BatchMean];
        let rules = self.rules();
        let dtype = match tensors.centers.dtype() {
            DType::F64 => FloatDType::F64,
            _ => FloatDType::F32,
        };
        let mut batch = Batch::new(features, tensors.labels.clone());
        if let Some(weights) = &tensors.weights {
            batch = batch.with_weights(weights.clone());
        }
        measure(&Problem {
            batch: rules
                .fit(batch, &tensors.centers.device(), dtype)
                .expect("the shapes fit"),
            centers: tensors.centers.clone(),
            tracked: false,
            rules: &rules,
            weighing: Weighing {
                lambda: self.lambda,
                reduction: reductions.get(self.reduction),
                class_balance: if self.balanced {
                    ClassBalance::Histogram
                } else {
                    ClassBalance::None
                },
                class_weights: tensors.class_weights.as_ref(),
            },
            distance: CenterDistance::Euclidean,
            radius: 0.0,
            wants,
        })
    }

    fn rules(&self) -> BatchRules {
        BatchRules {
            num_classes: self.num_classes,
            feature_dim: self.feature_dim,
            ignore_label: self.ignoring.then_some(-1),
            checking: self.checking,
        }
    }

    fn tensors(&self, device: &Device, dtype: FloatDType) -> Tensors {
        let plain = device.clone().without_autodiff();
        let dtype = DType::from(dtype);
        let mut centers = Tensor::<2>::random(
            [self.num_classes, self.feature_dim],
            Distribution::Default,
            (&plain, dtype),
        );
        if self.spoiled == Spoiled::Centers {
            centers = centers.slice_fill([0..1, 0..1], f64::NAN);
        }
        let labels = self.labels();
        Tensors {
            features: self.features(device, dtype),
            labels: Tensor::from_data(labels.as_slice(), device),
            weights: self
                .weighted
                .then(|| Tensor::from_data(self.weights().as_slice(), (device, dtype))),
            centers,
            class_weights: self.class_weighted.then(|| {
                let weights = (0..self.num_classes)
                    .map(|class| class as f64 / 2.0)
                    .collect();
                ClassWeights::new(weights, self.num_classes, &plain, dtype).unwrap()
            }),
        }
    }

    fn labels(&self) -> Vec<i64> {
        let mut labels: Vec<i64> = (0..self.batch_size as u64)
            .map(|i| (self.seed.wrapping_mul(i + 1) >> 33) as i64 % self.num_classes as i64)
            .collect();
        if self.ignoring {
            let ignored = labels.iter_mut().step_by(3).skip(1);
            ignored.for_each(|label| *label = -1);
        }
        if self.spoiled == Spoiled::Labels {
            for (label, bad) in labels
                .iter_mut()
                .step_by(5)
                .zip([self.num_classes as i64, -3])
            {
                *label = bad;
            }
        }
        labels
    }

    fn features(&self, device: &Device, dtype: DType) -> Tensor<2> {
        let (rows, columns) = (self.batch_size, self.feature_dim);
        let random = |shape| Tensor::<2>::random(shape, Distribution::Default, (device, dtype));
        let mut features = if self.strided {
            random([columns, rows]).transpose()
        } else {
            // A part of a larger matrix, which starts within its memory.
            random([rows + 2, columns]).narrow(0, 2, rows)
        };
        let largest = super::overflow::largest(dtype);
        let values = match self.spoiled {
            Spoiled::Features => vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY],
            // The norm overflows, unless there is one column: then the distance is as large as can be.
            Spoiled::Distances if columns == 1 => vec![0.9 * largest],
            Spoiled::Distances => vec![largest],
            Spoiled::Loss => vec![largest.sqrt() * 3.0],
            _ => vec![],
        };
        for (sample, value) in (0..rows).skip(2).step_by(4).zip(values) {
            let first = if self.spoiled == Spoiled::Distances {
                0
            } else {
                columns - 1
            };
            features = features.slice_fill([sample..sample + 1, first..columns], value);
        }
        features
    }

    fn weights(&self) -> Vec<f64> {
        let mut weights: Vec<f64> = (0..self.batch_size).map(|i| i as f64 / 3.0).collect();
        if self.spoiled == Spoiled::Weights {
            let values = [-1.0, f64::NAN, f64::INFINITY];
            for (weight, value) in weights.iter_mut().skip(1).step_by(3).zip(values) {
                *weight = value;
            }
        }
        weights
    }
}

/// A step that moves each center by a hundredth of the sum of the weighted pulls.
fn step(pulls: Pulls) -> Step {
    let (classes, factors) = match pulls.entries {
        Entries::Host { samples, .. } => {
            let factors = samples.weights.iter().map(|weight| 0.01 * weight).collect();
            (Classes::Host(samples.classes), PerSample::Host(factors))
        }
        Entries::Device(entries) => {
            let OnDevice { samples, reach } = *entries;
            assert!(host(reach).iter().all(|reach| reach.is_finite()));
            let factors = samples.weights.mul_scalar(0.01);
            (
                Classes::Device(Box::new(samples.classes)),
                PerSample::Device(factors),
            )
        }
    };
    Step {
        classes,
        pulls: pulls.rows,
        factors,
        num_classes: pulls.num_classes,
        singles: pulls.singles,
    }
}

fn format(error: &BatchError) -> String {
    alloc::format!("{error}")
}

pub(super) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

pub(super) fn assert_close(name: &str, fast: &[f64], plain: &[f64], tolerance: f64) {
    assert_eq!(fast.len(), plain.len(), "{name}");
    for (fast, plain) in fast.iter().zip(plain) {
        let scale = plain.abs().max(1.0);
        // Infinite values must be equal; NaN is equal to NaN alone.
        let same = fast == plain
            || (fast.is_nan() && plain.is_nan())
            || (fast - plain).abs() <= tolerance * scale;
        assert!(same, "{name}: {fast} and {plain}");
    }
}
