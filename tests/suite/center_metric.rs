//! [`CenterMetric`] over batches with and without a value.

use burn::data::dataloader::Progress;
use burn::tensor::{Device, Tensor};
use burn::train::metric::{Metric, MetricMetadata, Numeric, NumericEntry};
use burn_center_loss::{CenterLossConfig, CenterMetric, CenterStatistics};

use crate::tensors::{labels, matrix};

pub fn metadata() -> MetricMetadata {
    MetricMetadata {
        progress: Progress::new(1, 1, None),
        iteration: None,
        lr: None,
    }
}

fn metrics() -> [CenterMetric; 3] {
    [
        CenterMetric::mean_distance(),
        CenterMetric::min_center_distance(),
        CenterMetric::ratio(),
    ]
}

/// A batch of this many samples at this mean distance.
fn statistics(mean: f64, samples: usize) -> CenterStatistics {
    CenterStatistics {
        mean_distance: Some(mean),
        min_center_distance: Some(10.0),
        ratio: Some(mean / 10.0),
        samples,
    }
}

/// A batch of ignored labels.
fn ignored(num_classes: usize) -> CenterStatistics {
    let device = Device::flex();
    let loss = CenterLossConfig::new(num_classes, 1)
        .with_ignore_label(Some(-1))
        .init_with_centers(
            Tensor::arange(0..num_classes as i64, &device)
                .float()
                .reshape([-1, 1]),
        );
    let features = matrix(&[vec![1.0], vec![2.0]], &device);
    loss.unwrap()
        .statistics(features, labels(&[-1, -1], &device))
        .unwrap()
}

fn number(entry: Option<NumericEntry>) -> Option<f64> {
    entry.map(|entry| entry.current())
}

#[test]
fn distances_and_ratios_are_means_over_samples() {
    for (mut metric, mean) in metrics().into_iter().zip([2.0, 10.0, 0.2]) {
        for (distance, samples) in [(1.0, 30), (5.0, 10)] {
            metric
                .update(&statistics(distance, samples), &metadata())
                .unwrap();
        }
        let NumericEntry::Final(found) = metric.final_value() else {
            panic!("{:?}", metric.final_value());
        };
        assert!((found - mean).abs() < 1e-12, "{}: {found}", metric.name());
    }
}

/// Neither the batch before nor a NaN stands for a batch without the value.
#[test]
fn a_batch_without_a_value_shows_none_and_changes_nothing() {
    let (with, without) = (statistics(2.0, 4), ignored(1));
    for mut metric in metrics() {
        metric.update(&with, &metadata()).unwrap();
        let before = number(metric.running_value());
        let entry = metric.update(&without, &metadata()).unwrap();
        assert!(entry.is_not_available());
        assert!(
            entry.formatted.ends_with("batch N/A"),
            "{}",
            entry.formatted
        );
        assert_eq!(number(metric.value()), None);
        assert_eq!(number(metric.running_value()), before);
        let entry = metric.compute().unwrap();
        assert!(!entry.is_not_available());
        assert_eq!(Some(metric.final_value().current()), before);
    }
}

#[test]
fn an_epoch_without_a_value_shows_none() {
    for mut metric in metrics() {
        metric.update(&statistics(2.0, 4), &metadata()).unwrap();
        metric.clear();
        for _ in 0..2 {
            let entry = metric.update(&ignored(1), &metadata()).unwrap();
            assert_eq!(entry.formatted, "epoch N/A - batch N/A");
        }
        assert!(metric.compute().unwrap().is_not_available());
        assert!(metric.value().is_none() && metric.running_value().is_none());
        let NumericEntry::Aggregated { count: 0, .. } = metric.final_value() else {
            panic!("{:?}", metric.final_value());
        };
        assert!(!metric.final_value().current().is_nan());
    }
}

/// The distance between centers needs no samples.
#[test]
fn a_batch_of_ignored_labels_has_a_distance_between_centers() {
    let mut metric = CenterMetric::min_center_distance();
    let without = ignored(3);
    assert_eq!((without.samples, without.mean_distance), (0, None));
    for _ in 0..3 {
        let entry = metric.update(&without, &metadata()).unwrap();
        assert_eq!(entry.formatted, "epoch 1.0000 - batch 1.0000");
    }
    metric.compute().unwrap();
    assert_eq!(metric.final_value().current(), 1.0);
}
