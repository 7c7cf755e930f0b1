//! [`EvaluationMetric`] against the functions that it shows, and each of its errors.

use crate::devices::devices;
use crate::integers::typed_labels;
use crate::tensors::{labels, matrix, typed_matrix};
use burn::data::dataloader::Progress;
use burn::tensor::{DType, Device};
use burn::train::metric::{Metric, MetricAttributes, MetricMetadata, Numeric, NumericEntry};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, RocCurve, all_pair_scores};
use burn_center_loss::{EvaluationInput, EvaluationMetric, KnnMetric};

fn metadata() -> MetricMetadata {
    MetricMetadata {
        progress: Progress::new(1, 1, None),
        iteration: None,
        lr: None,
    }
}

fn features(count: usize) -> (Vec<Vec<f32>>, Vec<i64>) {
    let value = |at: usize| ((at * 37) % 101) as f32 / 10.0;
    let row = |at: usize| vec![value(at), value(at * at + 3), (at % 3) as f32];
    (
        (0..count).map(row).collect(),
        (0..count).map(|at| (at % 3) as i64).collect(),
    )
}

fn input(rows: &[Vec<f32>], names: &[i64], device: &Device) -> EvaluationInput {
    EvaluationInput::new(matrix(rows, device), labels(names, device))
}

/// The value after an epoch of batches of four.
fn of_epoch(
    mut metric: EvaluationMetric,
    rows: &[Vec<f32>],
    names: &[i64],
    device: &Device,
) -> f64 {
    // A value of the epoch before must not remain.
    metric
        .update(&input(&rows[..2], &[9, 9], device), &metadata())
        .unwrap();
    metric.clear();
    for (rows, names) in rows.chunks(4).zip(names.chunks(4)) {
        let entry = metric
            .update(&input(rows, names, device), &metadata())
            .unwrap();
        assert!(entry.is_not_available());
        assert!(metric.value().is_none() && metric.running_value().is_none());
    }
    metric.compute().unwrap();
    let NumericEntry::Final(value) = metric.final_value() else {
        panic!("{:?}", metric.final_value());
    };
    value
}

#[test]
fn values_of_an_epoch_are_those_of_all_its_batches() {
    let (rows, names) = features(30);
    for device in devices() {
        for distance in [KnnMetric::Euclidean, KnnMetric::Cosine] {
            let set = RetrievalSet::new(matrix(&rows, &device), labels(&names, &device));
            let config = RetrievalConfig::new().with_metric(distance);
            let means = config.evaluate(&set).unwrap().means().unwrap();
            let pairs =
                all_pair_scores(matrix(&rows, &device), labels(&names, &device), distance).unwrap();
            let curve = RocCurve::new(&pairs.scores, &pairs.same).unwrap();
            for (metric, expected) in [
                (
                    EvaluationMetric::precision_at_1(distance),
                    means.precision_at[0],
                ),
                (EvaluationMetric::r_precision(distance), means.r_precision),
                (EvaluationMetric::map_at_r(distance), means.map_at_r),
                (
                    EvaluationMetric::equal_error_rate(distance),
                    curve.equal_error_rate(),
                ),
                (EvaluationMetric::auroc(distance), curve.auc()),
            ] {
                let name = metric.name();
                for device in [device.clone(), device.clone().autodiff()] {
                    let found = of_epoch(metric.clone(), &rows, &names, &device);
                    assert!(
                        (found - 100.0 * expected).abs() < 1e-9,
                        "{name}: {found}, {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn pairs_of_many_samples_are_those_of_evenly_spaced_ones() {
    let (rows, names) = features(25);
    for device in devices() {
        let kept: Vec<usize> = (0..10).map(|place| place * 25 / 10).collect();
        let kept_rows: Vec<Vec<f32>> = kept.iter().map(|at| rows[*at].clone()).collect();
        let kept_names: Vec<i64> = kept.iter().map(|at| names[*at]).collect();
        let metric = || EvaluationMetric::auroc(KnnMetric::Euclidean);
        let expected = of_epoch(metric(), &kept_rows, &kept_names, &device);
        let found = of_epoch(metric().with_max_samples(10), &rows, &names, &device);
        assert_eq!(found, expected);
    }
}

#[test]
fn names_differ_and_directions_are_told() {
    let mut names = Vec::new();
    for distance in [KnnMetric::Euclidean, KnnMetric::Cosine] {
        for (metric, better) in [
            (EvaluationMetric::precision_at_1(distance), true),
            (EvaluationMetric::r_precision(distance), true),
            (EvaluationMetric::map_at_r(distance), true),
            (EvaluationMetric::equal_error_rate(distance), false),
            (EvaluationMetric::auroc(distance), true),
        ] {
            let MetricAttributes::Numeric(attributes) = metric.attributes() else {
                panic!("{:?}", metric.attributes());
            };
            assert_eq!(attributes.higher_is_better, better, "{}", metric.name());
            assert_eq!(attributes.unit.as_deref(), Some("%"));
            names.push(metric.name().to_string());
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 10);
}

#[test]
fn an_undefined_value_is_an_error() {
    let device = Device::flex();
    let message = |mut metric: EvaluationMetric, batches: &[EvaluationInput]| {
        for batch in batches {
            metric.update(batch, &metadata()).unwrap();
        }
        metric.compute().unwrap_err().to_string()
    };
    let map = || EvaluationMetric::map_at_r(KnnMetric::Euclidean);
    let error_rate = || EvaluationMetric::equal_error_rate(KnnMetric::Euclidean);
    let rows = [vec![0.0], vec![1.0]];
    for (metric, batches, expected) in [
        (
            map(),
            vec![],
            "features is empty; it must hold at least 1 value",
        ),
        (
            map(),
            vec![input(&rows, &[1, 2], &device)],
            "none of 2 queries has a reference with its label; at least 1 must have one",
        ),
        (
            error_rate(),
            vec![input(&rows, &[1, 1], &device)],
            "same holds 1 times true and 0 times false; each must occur",
        ),
        (
            map(),
            vec![input(&[vec![f32::NAN], vec![0.0]], &[1, 1], &device)],
            "features holds NaN in row 0, column 0; every value must be finite",
        ),
    ] {
        let message = message(metric, &batches);
        assert!(message.ends_with(expected), "{message}");
    }
}

/// Batches may come from different devices, in different float types and in different label types.
#[test]
fn batches_are_joined_whatever_their_device_and_types() {
    // Small integers are numbers of every float type.
    let rows: Vec<Vec<f64>> = (0..40)
        .map(|at| vec![(at * 7 % 11).into(), (at % 5).into()])
        .collect();
    let names: Vec<i128> = (0..40).map(|at| at % 4).collect();
    let types = [
        (DType::F32, DType::I64),
        (DType::F64, DType::U8),
        (DType::F16, DType::I32),
        (DType::F32, DType::U64),
    ];
    let batch = |at: usize, device: &Device, (float, int): (DType, DType)| {
        let range = at * 4..(at + 1) * 4;
        EvaluationInput::new(
            typed_matrix(&rows[range.clone()], float, device),
            typed_labels(&names[range], int, device),
        )
    };
    for make in [
        EvaluationMetric::map_at_r as fn(KnnMetric) -> EvaluationMetric,
        EvaluationMetric::precision_at_1,
        EvaluationMetric::auroc,
    ] {
        let value = |batches: &mut dyn Iterator<Item = EvaluationInput>| {
            let mut metric = make(KnnMetric::Euclidean);
            for batch in batches {
                metric.update(&batch, &metadata()).unwrap();
            }
            metric.compute().unwrap();
            metric.final_value().current()
        };
        let flex = Device::flex();
        let expected = value(&mut (0..10).map(|at| batch(at, &flex, types[0])));
        let devices = devices();
        let mixed = value(&mut (0..10).map(|at| {
            let device = &devices[at % devices.len()];
            let of_batch = types[at / 2 % types.len()];
            let supported = device.supports_dtype(of_batch.0) && device.supports_dtype(of_batch.1);
            batch(at, device, if supported { of_batch } else { types[0] })
        }));
        assert_eq!(mixed, expected);
    }
}

#[test]
fn batches_that_do_not_fit_are_an_error() {
    let device = Device::flex();
    let mut metric = EvaluationMetric::map_at_r(KnnMetric::Euclidean);
    metric
        .update(&input(&[vec![0.0, 1.0]], &[1], &device), &metadata())
        .unwrap();
    for (batch, expected) in [
        (
            input(&[vec![0.0]], &[1], &device),
            "features has 1 columns and those of the batches before have 2; the numbers must be equal",
        ),
        (
            input(&[vec![0.0, 1.0]], &[1, 2], &device),
            "labels has 2 entries and features has 1; the numbers must be equal",
        ),
    ] {
        let message = metric.update(&batch, &metadata()).unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
#[should_panic(expected = "max_samples is 1; it must be at least 2")]
fn one_sample_makes_no_pair() {
    let _ = EvaluationMetric::auroc(KnnMetric::Euclidean).with_max_samples(1);
}
