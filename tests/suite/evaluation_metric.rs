//! [`EvaluationMetric`] against the functions that it shows, and each of its errors.

use crate::center_metric::metadata;
use crate::devices::devices;
use crate::integers::typed_labels;
use crate::messages::assert_messages;
use crate::tensors::{labels, matrix, typed_matrix};
use burn::tensor::{DType, Device};
use burn::train::metric::{Metric, MetricAttributes, Numeric, NumericEntry};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, RocCurve, all_pair_scores};
use burn_center_loss::{EvaluationInput, EvaluationMetric, KnnMetric};
use std::fmt::Display;

fn features(count: usize) -> (Vec<Vec<f32>>, Vec<i64>) {
    let value = |at: usize| ((at * 37) % 101) as f32 / 10.0;
    let row = |at: usize| vec![value(at), value(at * at + 3), (at % 3) as f32];
    (0..count).map(|at| (row(at), (at % 3) as i64)).unzip()
}

fn input(rows: &[Vec<f32>], names: &[i64], device: &Device) -> EvaluationInput {
    EvaluationInput::new(matrix(rows, device), labels(names, device))
}

/// The value after an epoch of batches of four.
fn of_epoch(metric: &EvaluationMetric, rows: &[Vec<f32>], names: &[i64], device: &Device) -> f64 {
    let mut metric = metric.clone();
    // A value of the epoch before must not remain.
    let before = input(&rows[..2], &[9, 9], device);
    metric.update(&before, &metadata()).unwrap();
    metric.clear();
    for (rows, names) in rows.chunks(4).zip(names.chunks(4)) {
        let batch = input(rows, names, device);
        let entry = metric.update(&batch, &metadata()).unwrap();
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
        let mut metric_names = Vec::new();
        for distance in [KnnMetric::Euclidean, KnnMetric::Cosine] {
            let (x, y) = (matrix(&rows, &device), labels(&names, &device));
            let set = RetrievalSet::new(x.clone(), y.clone());
            let config = RetrievalConfig::new().with_metric(distance);
            let means = config.evaluate(&set).unwrap().means().unwrap();
            let pairs = all_pair_scores(x, y, distance).unwrap();
            let curve = RocCurve::new(&pairs.scores, &pairs.same).unwrap();
            let precision = means.precision_at[0];
            let (r_precision, map) = (means.r_precision, means.map_at_r);
            let (errors, area) = (curve.equal_error_rate(), curve.auc());
            for (metric, expected, better) in [
                (EvaluationMetric::precision_at_1(distance), precision, true),
                (EvaluationMetric::r_precision(distance), r_precision, true),
                (EvaluationMetric::map_at_r(distance), map, true),
                (EvaluationMetric::equal_error_rate(distance), errors, false),
                (EvaluationMetric::auroc(distance), area, true),
            ] {
                let name = metric.name();
                for device in [device.clone(), device.clone().autodiff()] {
                    let found = of_epoch(&metric, &rows, &names, &device);
                    let error = (found - 100.0 * expected).abs();
                    assert!(error < 1e-9, "{name}: {found}, {expected}");
                }
                let MetricAttributes::Numeric(attributes) = metric.attributes() else {
                    panic!("{:?}", metric.attributes());
                };
                assert_eq!(attributes.higher_is_better, better, "{name}");
                assert_eq!(attributes.unit.as_deref(), Some("%"));
                metric_names.push(name.to_string());
            }
        }
        metric_names.sort();
        metric_names.dedup();
        assert_eq!(metric_names.len(), 10);
    }
}

#[test]
fn pairs_of_many_samples_are_those_of_evenly_spaced_ones() {
    let (rows, names) = features(25);
    for device in devices() {
        let kept = (0..10).map(|place| place * 25 / 10);
        let (kept_rows, kept_names): (Vec<_>, Vec<_>) =
            kept.map(|at| (rows[at].clone(), names[at])).unzip();
        let metric = EvaluationMetric::auroc(KnnMetric::Euclidean);
        let expected = of_epoch(&metric, &kept_rows, &kept_names, &device);
        let found = of_epoch(&metric.with_max_samples(10), &rows, &names, &device);
        assert_eq!(found, expected);
    }
}

/// The message of an error, without that of what wraps it.
fn message(error: impl Display) -> String {
    let whole = error.to_string();
    whole.lines().last().unwrap().trim().to_string()
}

#[test]
fn undefined_values_and_batches_that_do_not_fit_are_errors() {
    let device = Device::flex();
    let map = || EvaluationMetric::map_at_r(KnnMetric::Euclidean);
    let error_rate = || EvaluationMetric::equal_error_rate(KnnMetric::Euclidean);
    let of_pair = |first: f32, names: [i64; 2]| input(&[vec![first], vec![1.0]], &names, &device);
    let undefined = |mut metric: EvaluationMetric, batches: &[EvaluationInput]| {
        for batch in batches {
            metric.update(batch, &metadata()).unwrap();
        }
        metric.compute().map_err(message)
    };
    let mut started = map();
    let first = input(&[vec![0.0, 1.0]], &[1], &device);
    started.update(&first, &metadata()).unwrap();
    let mut update = |row: Vec<f32>, names: &[i64]| {
        let batch = input(&[row], names, &device);
        started.update(&batch, &metadata()).map_err(message)
    };
    assert_messages! {
        undefined(map(), &[]) => "features is empty; it must hold at least 1 value";
        undefined(map(), &[of_pair(0.0, [1, 2])]) =>
            "none of 2 queries has a reference with its label; at least 1 must have one";
        undefined(error_rate(), &[of_pair(0.0, [1, 1])]) =>
            "same holds 1 times true and 0 times false; each must occur";
        undefined(map(), &[of_pair(f32::NAN, [1, 1])]) =>
            "features holds NaN in row 0, column 0; every value must be finite";
        update(vec![0.0], &[1]) =>
            "features has 1 columns and those of the batches before have 2; the numbers must be equal";
        update(vec![0.0, 1.0], &[1, 2]) => "labels has 2 entries and features has 1; the numbers must be equal";
    }
}

/// Batches may come from different devices, in different float types and in different label types.
#[test]
fn batches_are_joined_whatever_their_device_and_types() {
    // Small integers are numbers of every float type.
    let row = |at: i32| vec![f64::from(at * 7 % 11), f64::from(at % 5)];
    let rows: Vec<Vec<f64>> = (0..40).map(row).collect();
    let names: Vec<i128> = (0..40).map(|at| at % 4).collect();
    let types = [
        (DType::F32, DType::I64),
        (DType::F64, DType::U8),
        (DType::F16, DType::I32),
        (DType::F32, DType::U64),
    ];
    let batch = |at: usize, device: &Device, (float, int): (DType, DType)| {
        let range = at * 4..(at + 1) * 4;
        let features = typed_matrix(&rows[range.clone()], float, device);
        EvaluationInput::new(features, typed_labels(&names[range], int, device))
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
#[should_panic(expected = "max_samples is 1; it must be at least 2")]
fn one_sample_makes_no_pair() {
    let _ = EvaluationMetric::auroc(KnnMetric::Euclidean).with_max_samples(1);
}
