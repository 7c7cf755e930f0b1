//! [`EvaluationMetric`] against the functions that it shows, and each of its errors.

use crate::center_metric::metadata;
use crate::devices::devices;
use crate::integers::typed_labels;
use crate::tensors::{labels, matrix, typed_matrix};
use burn::tensor::{DType, Device};
use burn::train::metric::{Metric, MetricAttributes, Numeric, NumericEntry};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, RocCurve, all_pair_scores};
use burn_center_loss::{EvaluationInput, EvaluationMetric, KnnMetric};

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
            let error_rate = curve.equal_error_rate();
            for (metric, expected, better) in [
                (EvaluationMetric::precision_at_1(distance), precision, true),
                (
                    EvaluationMetric::r_precision(distance),
                    means.r_precision,
                    true,
                ),
                (EvaluationMetric::map_at_r(distance), means.map_at_r, true),
                (
                    EvaluationMetric::equal_error_rate(distance),
                    error_rate,
                    false,
                ),
                (EvaluationMetric::auroc(distance), curve.auc(), true),
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

#[test]
fn undefined_values_and_batches_that_do_not_fit_are_errors() {
    let device = Device::flex();
    let map = || EvaluationMetric::map_at_r(KnnMetric::Euclidean);
    let batch = |rows: &[&[f32]], names: &[i64]| {
        let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.to_vec()).collect();
        input(&rows, names, &device)
    };
    let of_pair = |names: [i64; 2]| vec![batch(&[&[0.0], &[1.0]], &names)];
    let nan = vec![batch(&[&[f32::NAN], &[0.0]], &[1, 1])];
    for (mut metric, batches, expected) in [
        (
            map(),
            vec![],
            "features is empty; it must hold at least 1 value",
        ),
        (
            map(),
            of_pair([1, 2]),
            "none of 2 queries has a reference with its label; at least 1 must have one",
        ),
        (
            EvaluationMetric::equal_error_rate(KnnMetric::Euclidean),
            of_pair([1, 1]),
            "same holds 1 times true and 0 times false; each must occur",
        ),
        (
            map(),
            nan,
            "features holds NaN in row 0, column 0; every value must be finite",
        ),
    ] {
        for batch in batches {
            metric.update(&batch, &metadata()).unwrap();
        }
        let message = metric.compute().unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
    }
    let mut metric = map();
    let first = batch(&[&[0.0, 1.0]], &[1]);
    metric.update(&first, &metadata()).unwrap();
    for (batch, expected) in [
        (
            batch(&[&[0.0]], &[1]),
            "features has 1 columns and those of the batches before have 2; the numbers must be equal",
        ),
        (
            batch(&[&[0.0, 1.0]], &[1, 2]),
            "labels has 2 entries and features has 1; the numbers must be equal",
        ),
    ] {
        let message = metric.update(&batch, &metadata()).unwrap_err().to_string();
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
#[should_panic(expected = "max_samples is 1; it must be at least 2")]
fn one_sample_makes_no_pair() {
    let _ = EvaluationMetric::auroc(KnnMetric::Euclidean).with_max_samples(1);
}
