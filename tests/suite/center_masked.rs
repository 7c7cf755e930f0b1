//! Samples that do not count have gradients of exactly zero and change nothing, whatever their features hold.

use burn::nn::loss::Reduction;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_center_loss::{
    Batch, CenterDistance, Checking, ClassBalance, LeftOut, Precision, UpdateRule,
};

use crate::center_plain::{Case, Plain, every_case};
use crate::devices::{ONE_IN, devices_with, values};
use crate::fixtures::assert_close;
use crate::storage::centers_id;
use crate::tensors::{labels, typed_matrix};

const NUM_CLASSES: usize = 4;
const IGNORED: i64 = 1;

/// A sample that does not count: its features, label and weight.
type Sample = (Vec<f64>, i64, f64);

/// Features that nothing may be computed from, in the largest and the smallest numbers of the type.
fn extremes(dtype: DType) -> [f64; 7] {
    let (most, least) = match dtype {
        DType::F64 => (f64::MAX, f64::from_bits(1)),
        DType::F16 => (65504.0, 6e-8),
        _ => (f32::MAX.into(), f32::from_bits(1).into()),
    };
    [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        most,
        -most,
        least,
        0.0,
    ]
}

/// Samples that count under no way of checking: the ignored ones.
fn ignored(dtype: DType) -> Vec<Sample> {
    let features = extremes(dtype)
        .into_iter()
        .flat_map(|x| [vec![x, x], vec![1.0, x]]);
    features.map(|row| (row, IGNORED, 1.0)).collect()
}

/// Good samples whose weight is zero.
fn without_weight(dtype: DType) -> Vec<Sample> {
    let least = extremes(dtype)[5];
    let rows = [
        vec![least, least],
        vec![least, 0.0],
        vec![0.0, 0.0],
        vec![0.5, -2.0],
    ];
    rows.map(|row| (row, 0, 0.0)).to_vec()
}

/// Samples that deferred checking leaves out, and how many for which reason.
fn left_out(dtype: DType) -> (Vec<Sample>, LeftOut) {
    let mut samples = vec![];
    for x in extremes(dtype) {
        samples.push((vec![1.0, x], -1, 1.0));
        samples.push((vec![x, x], NUM_CLASSES as i64, 1.0));
    }
    let labels = samples.len() as u64;
    for x in &extremes(dtype)[..3] {
        // A weight of zero does not make them good.
        for weight in [1.0, 0.0] {
            samples.push((vec![*x, 0.5], 2, weight));
            samples.push((vec![1.0, *x], 0, weight));
        }
    }
    let features = samples.len() as u64 - labels;
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        samples.push((vec![0.5, 0.25], 3, weight));
    }
    let left_out = LeftOut {
        labels,
        features,
        weights: 3,
        distances: 0,
    };
    (samples, left_out)
}

/// The numbers of a float type that is not `f64`, as the device holds them.
fn rounded(value: f64, dtype: DType) -> f64 {
    TensorData::new(vec![value], [1])
        .convert_dtype(dtype)
        .iter::<f64>()
        .next()
        .unwrap()
}

struct Outcome {
    value: Vec<f64>,
    gradient: Vec<Vec<f64>>,
    center_gradient: Vec<f64>,
    centers: Vec<f64>,
}

/// A loss in the precision that belongs to features of a type.
fn outcome(
    case: &Case,
    centers: &[Vec<f64>],
    samples: &[Sample],
    dtype: DType,
    device: &Device,
) -> (Outcome, LeftOut) {
    let of_centers = match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let loss = case
        .config
        .init_with_centers(typed_matrix(centers, of_centers, device))
        .unwrap();
    let rows: Vec<Vec<f64>> = samples.iter().map(|(row, ..)| row.clone()).collect();
    let y: Vec<i64> = samples.iter().map(|(_, label, _)| *label).collect();
    let weights: Vec<f64> = samples.iter().map(|(.., weight)| *weight).collect();
    let features = typed_matrix(&rows, dtype, device).require_grad();
    let weights = Tensor::from_data(weights.as_slice(), (device, of_centers));
    let batch = Batch::new(features.clone(), labels(&y, device)).with_weights(weights);
    let value = case.forward(&loss, batch).unwrap();
    // Unequal factors from further up the graph.
    let factors: Vec<f64> = (0..value.dims()[0]).map(|i| 1.0 + i as f64 / 2.0).collect();
    let factors = Tensor::from_data(factors.as_slice(), (device, of_centers));
    let gradients = (value.clone() * factors).sum().backward();
    let gradient = values(features.grad(&gradients).unwrap());
    let gradients = GradientsParams::from_grads(gradients, &loss);
    let outcome = Outcome {
        value: values(value),
        gradient: gradient.chunks(2).map(<[f64]>::to_vec).collect(),
        center_gradient: gradients
            .get::<2>(centers_id(&loss))
            .map(values)
            .unwrap_or_default(),
        centers: values(loss.centers()),
    };
    (outcome, loss.take_left_out().unwrap())
}

/// Checks a batch with samples that do not count against the same batch without them.
fn check(case: &Case, dtype: DType, device: &Device) {
    let plain = Plain::new(5, NUM_CLASSES, 2, 3);
    let centers: Vec<Vec<f64>> = plain
        .centers
        .iter()
        .map(|row| row.iter().map(|x| rounded(*x, DType::F32)).collect())
        .collect();
    let counting: Vec<Sample> = (0..5)
        .map(|i| {
            let row = plain.features[i]
                .iter()
                .map(|x| rounded(*x, DType::F16))
                .collect();
            (row, [0, 2, 3, 2, 0][i], [1.0, 0.5, 2.0, 1.0, 3.0][i])
        })
        .collect();
    let mut others = ignored(dtype);
    others.extend(without_weight(dtype));
    let mut expected_left_out = LeftOut::default();
    if case.config.checking == Checking::Deferred {
        let (samples, counts) = left_out(dtype);
        others.extend(samples);
        expected_left_out = counts;
    }
    // Counting samples first, last and between the others.
    let mut all = others.clone();
    let places = [0, 1, 9, 10, others.len() + 4];
    for (place, sample) in places.iter().zip(&counting) {
        all.insert(*place, sample.clone());
    }
    let (with, counts) = outcome(case, &centers, &all, dtype, device);
    let (mut without, _) = outcome(case, &centers, &counting, dtype, device);
    let name = format!("{dtype:?}, {}", case.name());
    assert_eq!(counts, expected_left_out, "{name}");

    if case.per_sample {
        for (i, value) in with
            .value
            .iter()
            .enumerate()
            .filter(|(i, _)| !places.contains(i))
        {
            assert_eq!(*value, 0.0, "{name}: value[{i}]");
        }
    } else if matches!(case.config.reduction, Reduction::BatchMean) {
        // The mean over the rows counts them all.
        let share = counting.len() as f64 / all.len() as f64;
        let gradients = without.gradient.iter_mut().flatten();
        for value in gradients
            .chain(&mut without.value)
            .chain(&mut without.center_gradient)
        {
            *value *= share;
        }
    }
    for (i, row) in with
        .gradient
        .iter()
        .enumerate()
        .filter(|(i, _)| !places.contains(i))
    {
        assert_eq!(*row, [0.0, 0.0], "{name}: gradient[{i}] of {:?}", all[i]);
    }
    let tolerance = match dtype {
        DType::F64 => 1e-12,
        DType::F16 => 2e-3,
        _ => 1e-5,
    };
    if case.per_sample {
        // The factors from further up the graph differ with the place.
        let kept: Vec<f64> = places.iter().map(|place| with.value[*place]).collect();
        assert_close(&name, &kept, &without.value, tolerance);
        for (nth, place) in places.iter().enumerate() {
            let factor = (1.0 + nth as f64 / 2.0) / (1.0 + *place as f64 / 2.0);
            let row: Vec<f64> = with.gradient[*place].iter().map(|x| x * factor).collect();
            assert_close(&name, &row, &without.gradient[nth], tolerance);
        }
    } else {
        let kept: Vec<f64> = places
            .iter()
            .flat_map(|place| with.gradient[*place].clone())
            .collect();
        assert_close(&name, &with.value, &without.value, tolerance);
        assert_close(&name, &kept, &without.gradient.concat(), tolerance);
        assert_close(
            &name,
            &with.center_gradient,
            &without.center_gradient,
            tolerance,
        );
    }
    assert!(
        with.center_gradient.iter().all(|value| value.is_finite()),
        "{name}"
    );
    assert_close(&name, &with.centers, &without.centers, tolerance);
    // Class 1 is that of the ignored samples alone.
    assert_eq!(with.centers[2..4], centers[1][..], "{name}");
}

/// Rule, distance, radius, balance, reduction, class weights and ignored label in every combination.
fn configurations() -> Vec<Case> {
    let plain = Plain::new(1, NUM_CLASSES, 2, 3);
    let mut cases = vec![];
    for case in every_case(&plain) {
        // Auto is another name for the mean.
        if matches!(case.config.reduction, Reduction::Auto) {
            continue;
        }
        for checking in [Checking::Strict, Checking::Deferred] {
            let mut case = case.clone();
            case.config.checking = checking;
            case.config.ignore_label = Some(IGNORED);
            cases.push(case);
        }
    }
    cases.into_iter().step_by(ONE_IN).collect()
}

fn check_all(dtype: DType, precision: Precision) {
    for device in devices_with(dtype).into_iter().map(Device::autodiff) {
        for mut case in configurations() {
            case.config.precision = precision;
            check(&case, dtype, &device);
        }
    }
}

#[test]
fn in_single_precision() {
    check_all(DType::F32, Precision::F32);
}

#[test]
fn in_double_precision() {
    check_all(DType::F64, Precision::F64);
}

#[test]
fn in_half_precision() {
    check_all(DType::F16, Precision::F32);
}

/// Features and center are finite, but their difference is not.
#[test]
fn samples_too_far_from_their_center() {
    for (dtype, precision) in [(DType::F32, Precision::F32), (DType::F64, Precision::F64)] {
        let most = extremes(dtype)[3];
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            for mut case in configurations() {
                let is_euclidean = case.config.distance == CenterDistance::Euclidean;
                if case.config.checking == Checking::Strict || !is_euclidean {
                    continue;
                }
                case.config.precision = precision;
                let centers = [
                    vec![-most, 1.0],
                    vec![0.0; 2],
                    vec![0.5, 2.0],
                    vec![1.0, -1.0],
                ];
                let far: Sample = (vec![most, 0.0], 0, 1.0);
                let near: Sample = (vec![0.75, 2.5], 2, 1.0);
                let (with, counts) = outcome(&case, &centers, &[far, near.clone()], dtype, &device);
                let (without, _) = outcome(&case, &centers, &[near], dtype, &device);
                let name = format!("{dtype:?}, {}", case.name());
                let expected = LeftOut {
                    distances: 1,
                    ..LeftOut::default()
                };
                assert_eq!(counts, expected, "{name}");
                assert_eq!(with.gradient[0], [0.0, 0.0], "{name}");
                assert_close(&name, &with.centers, &without.centers, 1e-6);
                if case.config.update_rule == UpdateRule::Gradient {
                    assert_eq!(with.center_gradient[..2], [0.0, 0.0], "{name}");
                }
                if !case.per_sample && matches!(case.config.reduction, Reduction::Sum) {
                    assert_close(&name, &with.value, &without.value, 1e-6);
                    assert_close(&name, &with.gradient[1], &without.gradient[0], 1e-6);
                }
                if case.config.class_balance == ClassBalance::None && case.per_sample {
                    assert_eq!(with.value[0], 0.0, "{name}");
                    assert_close(&name, &with.value[1..], &without.value, 1e-6);
                }
            }
        }
    }
}
