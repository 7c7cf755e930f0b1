#![cfg_attr(
    feature = "ndarray",
    allow(deprecated, reason = "supported as long as Burn has it")
)]

use burn::nn::loss::Reduction;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Distribution, FloatDType, Int, Tensor, TensorData};

use super::target_angles::pairs;
use super::{Scale, Softmax, SoftmaxPass, TargetScores, host, logits, target_angles};
use crate::batch::{
    BatchRules, CheckedBatch, Checking, ClassBalance, LabelledBatch, Weighing, Weights,
};

const BATCH: usize = 20;
const CLASSES: usize = 37;
const MARGIN: f64 = 0.3;

#[derive(Clone, Copy, Debug)]
struct Case {
    sub_centers: usize,
    scale: Scale,
    bound: Option<f64>,
    smoothing: f64,
    /// What features are multiplied by, and class vectors divided by.
    norm: f64,
}

const PLAIN: Case = Case {
    sub_centers: 1,
    scale: Scale::Fixed(9.0),
    bound: None,
    smoothing: 0.0,
    norm: 1.0,
};

fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for sub_centers in [1, 3] {
        for scale in [Scale::Fixed(9.0), Scale::Length(2.0)] {
            for (bound, smoothing) in [(None, 0.0), (Some(0.6), 0.1), (None, 0.1)] {
                if bound.is_some() && matches!(scale, Scale::Length(_)) {
                    continue;
                }
                cases.push(Case {
                    sub_centers,
                    scale,
                    bound,
                    smoothing,
                    norm: 1.0,
                });
            }
        }
        for norm in [1e-30, 1e30] {
            cases.push(Case {
                sub_centers,
                norm,
                ..PLAIN
            });
        }
    }
    cases
}

/// Devices without autodiff, with the data types of the class vectors, and tolerances.
fn devices() -> Vec<(Device, FloatDType, f64)> {
    let mut devices = vec![Device::flex()];
    if cfg!(feature = "ndarray") {
        devices.push(ndarray());
    }
    let with_types = |device: Device| {
        [
            (device.clone(), FloatDType::F32, 1e-5),
            (device, FloatDType::F64, 1e-11),
        ]
    };
    devices.into_iter().flat_map(with_types).collect()
}

#[cfg(feature = "ndarray")]
fn ndarray() -> Device {
    Device::ndarray()
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Device {
    Device::flex()
}

/// Features, class vectors and classes.
#[derive(Clone)]
struct Inputs {
    features: TensorData,
    centers: TensorData,
    labels: Vec<i64>,
    weights: Vec<f64>,
}

fn inputs(case: &Case) -> Inputs {
    let device = Device::flex();
    device.seed(3);
    let random = |rows, factor: f64| {
        let normal = Distribution::Normal(0.0, 1.0);
        let rows = Tensor::<2>::random([rows, 5], normal, (&device, DType::F32));
        (rows * factor).into_data()
    };
    let mut weights: Vec<f64> = (0..BATCH).map(|i| 0.5 + (i % 3) as f64).collect();
    weights[3] = 0.0;
    Inputs {
        features: random(BATCH, case.norm),
        centers: random(CLASSES * case.sub_centers, 1.0 / case.norm),
        labels: (0..BATCH as i64).map(|i| i * 7 % CLASSES as i64).collect(),
        weights,
    }
}

/// Inputs on an autodiff device.
struct Leaves {
    features: Tensor<2>,
    centers: Tensor<2>,
}

impl Inputs {
    fn leaves(&self, device: &Device, dtype: FloatDType) -> Leaves {
        let leaf = |data: &TensorData| {
            let options = (&device.clone().autodiff(), DType::from(dtype));
            Tensor::<2>::from_data(data.clone(), options).require_grad()
        };
        Leaves {
            features: leaf(&self.features),
            centers: leaf(&self.centers),
        }
    }

    fn check(&self, leaves: &Leaves, dtype: FloatDType, checking: Checking) -> CheckedBatch {
        let device = leaves.features.device().without_autodiff();
        let rules = BatchRules {
            num_classes: CLASSES,
            feature_dim: leaves.features.dims()[1],
            ignore_label: None,
            checking,
        };
        let labels = Tensor::<1, Int>::from_data(self.labels.as_slice(), &device);
        let weights =
            Tensor::<1>::from_data(self.weights.as_slice(), (&device, DType::from(dtype)));
        let batch = LabelledBatch::new(leaves.features.clone(), labels).with_weights(weights);
        rules.check(batch, &device, dtype).unwrap()
    }
}

fn softmax(
    case: &Case,
    features: Tensor<2>,
    centers: Tensor<2>,
    classes: Tensor<1, Int>,
) -> Softmax {
    let angles = target_angles(&features, &centers, &classes, case.sub_centers);
    let (cosine, sine) = (angles.cosine.clone(), angles.sine.clone());
    let (cos, sin) = (MARGIN.cos(), MARGIN.sin());
    Softmax {
        features,
        centers,
        classes,
        sub_centers: case.sub_centers,
        scale: case.scale,
        bound: case.bound,
        smoothing: case.smoothing,
        target: TargetScores {
            value: cosine.clone() * cos - sine.clone() * sin,
            slope: sine * cos + cosine * sin,
        },
        angles,
        budget: usize::MAX,
    }
}

fn weigh(
    batch: &mut CheckedBatch,
    pass: &SoftmaxPass,
    leaves: &Leaves,
    reduction: Option<&Reduction>,
) -> Weights {
    let weighing = Weighing {
        lambda: 1.0,
        reduction,
        class_balance: ClassBalance::None,
        class_weights: None,
    };
    let centers = leaves.centers.clone().without_autodiff();
    batch
        .weigh(&pass.losses(), None, &weighing, &centers)
        .unwrap()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The values, and the gradients of features and class vectors of a sum of multiples of them.
fn values_and_gradients(values: Tensor<1>, leaves: &Leaves) -> [Vec<f64>; 3] {
    let count = values.dims()[0] as i64;
    let factors = Tensor::<1, Int>::arange(1..count + 1, &values.device()).float();
    let gradients = (values.clone() * factors.cast(values.dtype()))
        .sum()
        .backward();
    [
        numbers(values),
        numbers(leaves.features.grad(&gradients).unwrap()),
        numbers(leaves.centers.grad(&gradients).unwrap()),
    ]
}

/// All scores at once in `f64`, with Burn's own gradients: the losses, and the logits without margin.
fn reference(case: &Case, inputs: &Inputs, leaves: &Leaves) -> (Tensor<1>, Tensor<2>) {
    let norms = |rows: &Tensor<2>| (rows.clone() * rows.clone()).sum_dim(1).sqrt();
    let (x, w) = (leaves.features.clone(), leaves.centers.clone());
    let units = |rows: &Tensor<2>| rows.clone() / norms(rows);
    let cosines = units(&x).matmul(units(&w).transpose());
    let cosines = cosines
        .reshape([BATCH, CLASSES, case.sub_centers])
        .max_dim(2)
        .squeeze_dim::<2>(2);
    let scales = match case.scale {
        Scale::Fixed(scale) => norms(&x).full_like(scale),
        Scale::Length(scale) => norms(&x) * scale,
    };
    let classes = Tensor::<1, Int>::from_data(inputs.labels.as_slice(), &x.device());
    let classes = classes.unsqueeze_dim::<2>(1);
    let cosine = cosines.clone().gather(1, classes.clone());
    let sine = (-(cosine.clone() * cosine.clone()) + 1.0).sqrt();
    let value = cosine * MARGIN.cos() - sine * MARGIN.sin();
    let bound = case.bound.unwrap_or(2.0);
    let limited = cosines.clone().clamp(-bound, bound);
    let columns = Tensor::<1, Int>::arange(0..CLASSES as i64, &x.device()).unsqueeze_dim::<2>(0);
    let shape = [BATCH, CLASSES];
    let is_target = classes.clone().expand(shape).equal(columns.expand(shape));
    let scores = limited.mask_where(is_target, value.expand(shape)) * scales.clone();
    let logs = log_softmax(scores, 1);
    let losses = logs.clone().gather(1, classes) * (1.0 - case.smoothing)
        + logs.sum_dim(1) * (case.smoothing / CLASSES as f64);
    ((-losses).squeeze_dim(1), cosines * scales)
}

fn assert_close(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= tolerance * scale,
            "{name}[{place}]: {found} is not {expected}"
        );
    }
}

#[test]
fn losses_and_gradients_are_those_of_all_scores_at_once() {
    for case in cases() {
        let inputs = inputs(&case);
        let flex = Device::flex();
        for reduction in [None, Some(&Reduction::Mean)] {
            let exact = inputs.leaves(&flex, FloatDType::F64);
            let (losses, _) = reference(&case, &inputs, &exact);
            let weights = Tensor::<1>::from_data(inputs.weights.as_slice(), (&flex, DType::F64));
            let each = losses * weights.clone();
            let expected = match reduction {
                Some(_) => (each / weights.sum()).sum(),
                None => each,
            };
            let expected = values_and_gradients(expected, &exact);
            for (device, dtype, tolerance) in devices() {
                for budget in [0, usize::MAX] {
                    for step in [Some(1), Some(8), None] {
                        let leaves = inputs.leaves(&device, dtype);
                        let mut batch = inputs.check(&leaves, dtype, Checking::Strict);
                        let (features, classes) = (batch.features(), batch.classes.clone());
                        let mut softmax = softmax(&case, features, leaves.centers.clone(), classes);
                        softmax.budget = budget;
                        let pass = softmax.forward_in_blocks(step);
                        let weights = weigh(&mut batch, &pass, &leaves, reduction);
                        let found = values_and_gradients(pass.finish(&weights), &leaves);
                        let name = format!(
                            "{case:?} {reduction:?} {device:?} {dtype:?} {budget} {step:?}"
                        );
                        for (nth, kind) in ["value", "features", "centers"].iter().enumerate() {
                            let name = format!("{kind} of {name}");
                            assert_close(&name, &found[nth], &expected[nth], tolerance);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn logits_have_no_margin() {
    for case in cases() {
        let inputs = inputs(&case);
        let (_, expected) = reference(
            &case,
            &inputs,
            &inputs.leaves(&Device::flex(), FloatDType::F64),
        );
        let expected = numbers(expected);
        for (device, dtype, tolerance) in devices() {
            let leaves = inputs.leaves(&device, dtype);
            let classes = Tensor::<1, Int>::from_data(inputs.labels.as_slice(), &device);
            let (x, w) = (leaves.features, leaves.centers);
            // Kept, not kept, and without autodiff.
            for (x, w, budget) in [
                (x.clone(), w.clone(), usize::MAX),
                (x.clone(), w.clone(), 0),
                (x.clone().inner(), w.clone().inner(), usize::MAX),
            ] {
                let mut softmax = softmax(&case, x, w, classes.clone());
                softmax.budget = budget;
                let found = numbers(softmax.forward_in_blocks(Some(8)).logits());
                let name = format!("{case:?} {device:?} {dtype:?} {budget}");
                assert_close(&name, &found, &expected, tolerance);
            }
            let found = logits(x, w, case.sub_centers, case.scale);
            assert!(found.is_autodiff());
            assert_close(&format!("{case:?}"), &numbers(found), &expected, tolerance);
        }
    }
}

#[test]
fn a_bad_sub_center_is_in_every_loss() {
    for (device, dtype, _) in devices() {
        for (value, row) in [(f64::NAN, 1), (f64::INFINITY, 5), (f64::NEG_INFINITY, 6)] {
            for (bound, sub_centers) in [(None, 3), (Some(0.6), 1)] {
                let case = Case {
                    sub_centers,
                    bound,
                    ..PLAIN
                };
                let inputs = inputs(&case);
                let leaves = inputs.leaves(&device, dtype);
                let bad = Tensor::full([1, 1], value, (&device, DType::from(dtype)));
                let centers = leaves
                    .centers
                    .inner()
                    .slice_assign([row..row + 1, 2..3], bad);
                let classes = Tensor::<1, Int>::from_data(inputs.labels.as_slice(), &device);
                let softmax = softmax(&case, leaves.features.inner(), centers, classes);
                let losses = numbers(softmax.forward_in_blocks(Some(8)).losses());
                assert!(losses.iter().all(|loss| loss.is_nan()), "{losses:?}");
            }
        }
    }
}

/// Whatever arrives for a sample that takes no part.
#[test]
fn infinite_gradients_of_samples_that_take_no_part() {
    for (device, dtype, _) in devices() {
        for case in cases() {
            let inputs = inputs(&case);
            let leaves = inputs.leaves(&device, dtype);
            let mut batch = inputs.check(&leaves, dtype, Checking::Strict);
            let (features, classes) = (batch.features(), batch.classes.clone());
            let pass = softmax(&case, features, leaves.centers.clone(), classes).forward();
            let weights = weigh(&mut batch, &pass, &leaves, None);
            // The slope of the root at zero is infinite.
            let gradients = pass.finish(&weights).sqrt().sum().backward();
            let features = numbers(leaves.features.grad(&gradients).unwrap());
            assert_eq!(features[15..20], [0.0; 5]);
            let centers = numbers(leaves.centers.grad(&gradients).unwrap());
            for gradient in features.iter().chain(&centers) {
                assert!(gradient.is_finite(), "{case:?} {device:?} {dtype:?}");
            }
        }
    }
}

#[test]
fn a_skipped_batch_has_no_gradient() {
    for (device, dtype, _) in devices() {
        for reduction in [None, Some(&Reduction::Mean)] {
            for sub_centers in [1, 3] {
                let case = Case {
                    sub_centers,
                    ..PLAIN
                };
                let inputs = inputs(&case);
                let mut leaves = inputs.leaves(&device, dtype);
                let bad = Tensor::full([1, 1], f64::NAN, (&device, DType::from(dtype)));
                let centers = leaves.centers.inner().slice_assign([6..7, 2..3], bad);
                leaves.centers = centers.autodiff().require_grad();
                let mut batch = inputs.check(&leaves, dtype, Checking::Deferred);
                let (features, classes) = (batch.features(), batch.classes.clone());
                let softmax = softmax(&case, features, leaves.centers.clone(), classes);
                let pass = softmax.forward_in_blocks(Some(8));
                let weights = weigh(&mut batch, &pass, &leaves, reduction);
                let value = pass.finish(&weights);
                let gradients = value.backward();
                assert!(numbers(value).iter().all(|value| *value == 0.0));
                for (leaf, rows) in [(&leaves.features, 0), (&leaves.centers, 6)] {
                    let gradient = numbers(leaf.grad(&gradients).unwrap());
                    for (place, value) in gradient.iter().enumerate() {
                        // The class vector that is NaN is left as it is.
                        let is_bad = rows > 0 && place / 5 == rows;
                        assert!(
                            *value == 0.0 || is_bad,
                            "{device:?} {dtype:?} {reduction:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn zero_rows_have_no_direction() {
    for (device, dtype, _) in devices() {
        for reduction in [None, Some(&Reduction::Mean)] {
            let inputs = inputs(&PLAIN);
            let mut leaves = inputs.leaves(&device, dtype);
            let zeros = Tensor::zeros([1, 5], (&device, DType::from(dtype)));
            let zeroed = |leaf: Tensor<2>, row: usize| {
                let values = leaf.inner().slice_assign(row..row + 1, zeros.clone());
                values.autodiff().require_grad()
            };
            leaves.features = zeroed(leaves.features, 2);
            leaves.centers = zeroed(leaves.centers, 7);
            let mut batch = inputs.check(&leaves, dtype, Checking::Strict);
            let (features, classes) = (batch.features(), batch.classes.clone());
            let pass = softmax(&PLAIN, features, leaves.centers.clone(), classes).forward();
            let weights = weigh(&mut batch, &pass, &leaves, reduction);
            let gradients = pass.finish(&weights).sum().backward();
            for (leaf, row) in [(&leaves.features, 2), (&leaves.centers, 7)] {
                let gradient = numbers(leaf.grad(&gradients).unwrap());
                assert_eq!(gradient[row * 5..row * 5 + 5], [0.0; 5]);
                assert!(gradient.iter().all(|value| value.is_finite()));
            }
        }
    }
}

#[test]
fn angles_of_all_sizes_and_norms() {
    use std::f64::consts::PI;
    let device = Device::flex();
    for wide in [None, Some(DType::F64), Some(DType::F32)] {
        for norm in [1e-30, 1.0, 1e30] {
            for angle in [0.0, 1e-8, 1e-4, 1.0, PI / 2.0, PI - 1e-4, PI] {
                for turn in [0.0, 0.9, 4.0_f64] {
                    let vector = |angle: f64, norm: f64| {
                        [angle.cos(), angle.sin()].map(|value| (value * norm) as f32)
                    };
                    let (x, w) = (vector(turn + angle, norm), vector(turn, 3.0));
                    let features = Tensor::from_data([x], &device);
                    let centers = Tensor::from_data([w], &device);
                    let rows = Tensor::from_data([0], &device);
                    let found = match wide {
                        Some(wide) => pairs(features, centers, rows, wide),
                        None => host::pairs(features, centers, rows),
                    };
                    let (x, w) = (x.map(f64::from), w.map(f64::from));
                    let cross = x[0] * w[1] - x[1] * w[0];
                    let dot = x[0] * w[0] + x[1] * w[1];
                    let expected = cross.abs().atan2(dot);
                    let name = format!("{wide:?} {norm} {angle} {turn}");
                    let is_close = |kind: &str, found: Tensor<1>, expected: f64, tolerance: f64| {
                        let found = numbers(found)[0];
                        let error = (found - expected).abs();
                        assert!(
                            error <= tolerance,
                            "{kind} {name}: {found} is not {expected}"
                        );
                    };
                    // Without f64 a difference of unit rows has the rounding of their entries.
                    is_close("angle", found.angle, expected, 1e-6);
                    is_close("cosine", found.cosine, expected.cos(), 1e-6);
                    is_close("sine", found.sine, expected.sin(), 1e-6);
                    is_close("norm", found.norms / norm, 1.0, 1e-6);
                    let sine = expected.sin();
                    if wide == Some(DType::F32) && sine < 1e-2 || sine < 1e-9 {
                        let rows = numbers(found.by_features);
                        assert!(rows.iter().all(|value| (value * norm).abs() < 1.001));
                        continue;
                    }
                    for (kind, found, [of, to]) in [
                        ("features", found.by_features, [x, w]),
                        ("centers", found.by_centers, [w, x]),
                    ] {
                        let side = (of[0] * to[1] - of[1] * to[0]).signum();
                        let length = of[0].hypot(of[1]);
                        let tolerance = if wide == Some(DType::F32) { 1e-4 } else { 1e-6 };
                        let across = [-of[1] / length * side, of[0] / length * side];
                        for (place, expected) in across.into_iter().enumerate() {
                            let found = found.clone().slice([0..1, place..place + 1]);
                            let found = found.reshape([1]).cast(DType::F64) * length;
                            is_close(kind, found, expected, tolerance);
                        }
                    }
                }
            }
        }
    }
}
