//! The statistics of angles against the fixture and a loop in f64.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::margin::{AdaFace, AngleSummary};
use burn_center_loss::{CenterDType, Margin, MarginSoftmax, MarginSoftmaxConfig};
use serde::Deserialize;

use crate::devices::{devices, devices_with};
use crate::fixtures::{assert_close, cases};
use crate::margin_scales::margin_of;
use crate::plain::{Plain, cosine};
use crate::tensors::{labels, typed_matrix};

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Case {
    AngleStatistics(Box<StatisticsCase>),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct StatisticsCase {
    name: String,
    num_classes: usize,
    feature_dim: usize,
    margin_kind: String,
    margin: f64,
    labels: Vec<i64>,
    embeddings: Vec<Vec<f64>>,
    weight: Vec<Vec<f64>>,
    own_mean: f64,
    own_quantiles: [f64; 3],
    nearest_other_mean: f64,
    nearest_other_quantiles: [f64; 3],
    violating_share: f64,
    wrong_share: f64,
    closest_classes_angle: f64,
    closest_classes: (usize, usize),
}

fn assert_summary(name: &str, found: Option<AngleSummary>, mean: f64, quantiles: [f64; 3]) {
    let found = found.unwrap();
    let numbers = |mean: f64, [low, median, high]: [f64; 3]| [mean, low, median, high];
    let (found, expected) = (
        numbers(found.mean, found.quantiles),
        numbers(mean, quantiles),
    );
    assert_close(name, &found, &expected, 1e-9);
}

#[test]
fn statistics_are_those_of_the_fixture() {
    let mut count = 0;
    for case in cases::<Case>("suggested_scale.json") {
        let Case::AngleStatistics(case) = case else {
            continue;
        };
        count += 1;
        for device in devices() {
            let loss = MarginSoftmaxConfig::new(case.num_classes, case.feature_dim)
                .with_margin(margin_of(&case.margin_kind, case.margin))
                .init_with_centers(typed_matrix(&case.weight, DType::F32, &device))
                .unwrap();
            let features = typed_matrix(&case.embeddings, DType::F32, &device);
            let found = loss
                .angle_statistics(features, labels(&case.labels, &device))
                .unwrap();
            let name = &case.name;
            assert_summary(name, found.own, case.own_mean, case.own_quantiles);
            assert_summary(
                name,
                found.nearest_other,
                case.nearest_other_mean,
                case.nearest_other_quantiles,
            );
            assert_eq!(found.violating_share, Some(case.violating_share), "{name}");
            assert_eq!(found.wrong_share, Some(case.wrong_share), "{name}");
            assert_eq!(
                (found.samples, found.margin),
                (case.labels.len(), Some(case.margin))
            );
            assert_eq!(found.closest_classes, None);
            let closest = loss.closest_classes().unwrap().unwrap();
            assert_eq!(closest.classes, case.closest_classes, "{name}");
            assert_close(name, &[closest.angle], &[case.closest_classes_angle], 1e-9);
        }
    }
    assert_eq!(count, 3);
}

/// The statistics by loops, for any number of sub-centers; the shares for a margin that lowers the cosine.
fn by_loops(plain: &Plain, sub_centers: usize, margin: f64) -> (f64, f64, f64, f64) {
    let mut totals = [0.0; 4];
    for (x, label) in plain.features.iter().zip(&plain.labels) {
        let (mut own, mut other) = (-1.0_f64, -1.0_f64);
        for (row, w) in plain.centers.iter().enumerate() {
            let is_own = row / sub_centers == *label as usize;
            let largest = if is_own { &mut own } else { &mut other };
            *largest = largest.max(cosine(x, w));
        }
        let violates = f64::from(own - margin < other);
        for (total, number) in
            totals
                .iter_mut()
                .zip([own.acos(), other.acos(), violates, f64::from(other > own)])
        {
            *total += number / plain.labels.len() as f64;
        }
    }
    let [own, other, violating, wrong] = totals;
    (own, other, violating, wrong)
}

/// More class vectors than fit into one block, with sub-centers; the closest classes by a loop.
#[test]
fn statistics_of_many_classes_are_those_of_loops() {
    let (num_classes, sub_centers, feature_dim, batch_size) = (1500, 2, 3, 2000);
    let mut plain = Plain::new(batch_size, num_classes * sub_centers, feature_dim, 5);
    for label in &mut plain.labels {
        *label /= sub_centers as i64;
    }
    let (own, other, violating, wrong) = by_loops(&plain, sub_centers, 0.05);
    let mut closest = (-1.0, (0, 0));
    for (i, one) in plain.centers.iter().enumerate() {
        for (j, two) in plain.centers.iter().enumerate().take(i) {
            let classes = (j / sub_centers, i / sub_centers);
            let cosine = cosine(one, two);
            if classes.0 != classes.1 && cosine > closest.0 {
                closest = (cosine, classes);
            }
        }
    }
    for device in devices_with(DType::F64) {
        let loss = MarginSoftmaxConfig::new(num_classes, feature_dim)
            .with_margin(Margin::cosface(0.05))
            .with_sub_centers(sub_centers)
            .with_dtype(CenterDType::F64)
            .init_with_centers(typed_matrix(&plain.centers, DType::F64, &device));
        let Ok(loss) = loss else {
            continue;
        };
        let features = typed_matrix(&plain.features, DType::F64, &device);
        let found = loss
            .angle_statistics(features, labels(&plain.labels, &device))
            .unwrap();
        assert_close("own", &[found.own.unwrap().mean], &[own], 1e-9);
        assert_close(
            "other",
            &[found.nearest_other.unwrap().mean],
            &[other],
            1e-7,
        );
        assert_close(
            "violating",
            &[found.violating_share.unwrap()],
            &[violating],
            1e-9,
        );
        assert_close("wrong", &[found.wrong_share.unwrap()], &[wrong], 1e-9);
        let found = loss.closest_classes().unwrap().unwrap();
        assert_eq!(found.classes, closest.1);
        assert_close("closest", &[found.angle.cos()], &[closest.0], 1e-12);
    }
}

fn loss(config: MarginSoftmaxConfig, rows: &[Vec<f64>], device: &Device) -> MarginSoftmax {
    config
        .init_with_centers(typed_matrix(rows, DType::F32, device))
        .unwrap()
}

#[test]
fn what_does_not_count_and_what_is_not_there() {
    for device in devices() {
        let rows = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let config = MarginSoftmaxConfig::new(2, 2).with_ignore_label(Some(-1));
        let two = loss(config.clone(), &rows, &device);
        let features = |rows: &[Vec<f64>]| typed_matrix(rows, DType::F32, &device);
        // The sample that is ignored is not finite.
        let batch = features(&[vec![2.0, 0.0], vec![f64::NAN, 1.0], vec![0.0, 0.0]]);
        let found = two
            .angle_statistics(batch, labels(&[0, -1, 1], &device))
            .unwrap();
        assert_eq!(found.samples, 2);
        // A zero vector is at a right angle to everything.
        assert_close(
            "own",
            &[found.own.unwrap().quantiles[1]],
            &[std::f64::consts::FRAC_PI_4],
            1e-9,
        );
        let found = two
            .angle_statistics(features(&rows), labels(&[-1, -1], &device))
            .unwrap();
        assert_eq!(
            (
                found.own,
                found.nearest_other,
                found.wrong_share,
                found.samples
            ),
            (None, None, None, 0)
        );
        assert_eq!(found.to_string(), "own none, margin 0.5 of at most 3.14");

        let one = MarginSoftmaxConfig::new(1, 2).with_margin(Margin::None);
        let one = loss(one, &rows[..1], &device);
        let found = one
            .angle_statistics(features(&rows), labels(&[0, 0], &device))
            .unwrap();
        assert_eq!(
            (
                found.nearest_other,
                found.violating_share,
                found.wrong_share
            ),
            (None, None, None)
        );
        assert_eq!((found.margin, found.largest_margin), (None, None));
        assert_eq!(found.to_string(), "own 0.79 (1.49)");
        assert_eq!(one.closest_classes().unwrap(), None);

        let error = two.angle_statistics(features(&rows), labels(&[0, 7], &device));
        assert_eq!(
            error.unwrap_err().to_string(),
            "labels[1] is 7: it must be in 0..2"
        );
        let error = two.angle_statistics(Tensor::zeros([2, 3], &device), labels(&[0, 1], &device));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("features have shape [2, 3]")
        );
    }
}

/// AdaFace has a margin of its own for each sample, and the margin factor counts.
#[test]
fn the_margin_is_that_of_the_step() {
    for device in devices() {
        let rows = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let x = typed_matrix(&[vec![1.0, 0.6]], DType::F32, &device);
        let share = |loss: &MarginSoftmax| {
            let found = loss
                .angle_statistics(x.clone(), labels(&[0], &device))
                .unwrap();
            (found.violating_share.unwrap(), found.margin)
        };
        let arcface = loss(MarginSoftmaxConfig::new(2, 2), &rows, &device);
        assert_eq!(share(&arcface), (1.0, Some(0.5)));
        arcface.set_margin_factor(0.5).unwrap();
        assert_eq!(share(&arcface), (0.0, Some(0.25)));
        // A quality of -0.06: the cosine is cos(0.564) - 0.377.
        let adaface = Margin::AdaFace(AdaFace::new().with_margin(0.4));
        let adaface = loss(
            MarginSoftmaxConfig::new(2, 2).with_margin(adaface),
            &rows,
            &device,
        );
        assert_eq!(share(&adaface), (1.0, None));
    }
}

#[cfg(feature = "train")]
#[test]
fn metrics_are_means_over_samples() {
    use burn::train::metric::{Metric, Numeric};
    use burn_center_loss::AngleMetric;
    use burn_center_loss::margin::{AngleStatistics, ClosestClasses};

    let summary = |mean| {
        Some(AngleSummary {
            mean,
            quantiles: [mean; 3],
        })
    };
    let batch = |own, other, violating, samples| AngleStatistics {
        own: summary(own),
        nearest_other: summary(other),
        violating_share: Some(violating),
        wrong_share: Some(0.5 * violating),
        samples,
        closest_classes: Some(ClosestClasses {
            classes: (0, 1),
            angle: 0.5,
        }),
        margin: None,
        largest_margin: None,
    };
    let metrics = [
        (AngleMetric::own_angle(), 0.75),
        (AngleMetric::nearest_other_angle(), 1.25),
        (AngleMetric::violating_share(), 0.25),
        (AngleMetric::wrong_share(), 0.125),
    ];
    for (mut metric, expected) in metrics {
        for statistics in [batch(0.5, 1.5, 0.0, 30), batch(1.5, 0.5, 1.0, 10)] {
            metric
                .update(&statistics, &crate::center_metric::metadata())
                .unwrap();
        }
        assert_close(
            &metric.name(),
            &[metric.final_value().current()],
            &[expected],
            1e-12,
        );
    }
}
