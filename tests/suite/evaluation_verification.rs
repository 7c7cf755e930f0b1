//! Verification against golden numbers, plain loops, its properties and each of its errors.

use crate::devices::devices;
use crate::fixtures::{Named, assert_close, assert_named, cases};
use crate::messages::assert_messages;
use crate::tensors::{labels, matrix};
use burn::tensor::Device;
use burn_center_loss::KnnMetric;
use burn_center_loss::evaluation::{
    DetectionCost, RocCurve, all_pair_scores, lfw_accuracy, pair_distances, pair_scores,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::HashMap;

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Case {
    name: String,
    scores: Vec<f32>,
    same: Vec<u8>,
    tar_at_far: Vec<HashMap<String, Option<f64>>>,
    #[serde(flatten)]
    values: Named,
}

pub fn flags(numbers: &[u8]) -> Vec<bool> {
    numbers.iter().map(|number| *number == 1).collect()
}

#[test]
fn golden_verification() {
    for case in cases::<Case>("verification.json") {
        let name = &case.name;
        let curve = RocCurve::new(&case.scores, &flags(&case.same)).unwrap();
        let found = [
            ("roc_auc", curve.auc()),
            ("average_precision", curve.average_precision()),
            ("eer", curve.equal_error_rate()),
            ("eer_argmin", curve.equal_error_rate_argmin()),
            ("best_accuracy", curve.best_accuracy().accuracy),
        ];
        assert_named(name, &found, &case.values, TOLERANCE);
        for expected in &case.tar_at_far {
            let [far, tar, achieved] =
                ["far", "tar", "achieved_far"].map(|name| expected[name].unwrap());
            let found = curve.tar_at_far(far).unwrap();
            assert_eq!(found.far, far);
            let rates = [found.tar, found.achieved_far];
            assert_close(name, &rates, &[tar, achieved], TOLERANCE);
            let [found, expected] =
                [found.threshold, expected["threshold"]].map(|t| t.map(|t| t as f32));
            assert_eq!(found, expected, "{name} at {far}");
        }
    }
}

#[derive(Deserialize)]
struct FoldCase {
    name: String,
    folds: usize,
    left: Vec<Vec<f32>>,
    right: Vec<Vec<f32>>,
    same: Vec<u8>,
    fold_accuracies: Vec<f64>,
    #[serde(flatten)]
    values: Named,
}

#[test]
fn golden_folds() {
    for case in cases::<FoldCase>("verification_folds.json") {
        for device in devices() {
            let [left, right] = [&case.left, &case.right].map(|rows| matrix(rows, &device));
            let distances = pair_distances(left, right, KnnMetric::SquaredEuclidean).unwrap();
            let result = lfw_accuracy(&distances, &flags(&case.same), case.folds).unwrap();
            let accuracies: Vec<f64> = result.folds.iter().map(|fold| fold.accuracy).collect();
            assert_close(&case.name, &accuracies, &case.fold_accuracies, TOLERANCE);
            let found = [("accuracy_mean", result.mean), ("accuracy_std", result.std)];
            assert_named(&case.name, &found, &case.values, TOLERANCE);
        }
    }
}

/// Rates by counting all pairs at each distinct score, from the strictest threshold on, after none.
fn naive_points(scores: &[f64], same: &[bool]) -> Vec<(f64, f64)> {
    let count = |kind: bool, threshold: f64| {
        let of_kind = scores.iter().zip(same).filter(|(_, same)| **same == kind);
        let accepted = of_kind.clone().filter(|(score, _)| **score >= threshold);
        accepted.count() as f64 / of_kind.count() as f64
    };
    let mut thresholds = scores.to_vec();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup_by(|a, b| a == b);
    let rates = |threshold| (count(false, threshold), count(true, threshold));
    let points = thresholds.into_iter().map(rates);
    [(0.0, 0.0)].into_iter().chain(points).collect()
}

/// 1 if the score is above the other, a half if they are equal.
pub fn won(score: f64, other: f64) -> f64 {
    f64::from(u8::from(score > other) + u8::from(score >= other)) / 2.0
}

fn naive_auc(scores: &[f64], same: &[bool]) -> f64 {
    let of_kind = |kind: bool| (0..same.len()).filter(move |pair| same[*pair] == kind);
    let against_all =
        |genuine: usize| of_kind(false).map(move |at| won(scores[genuine], scores[at]));
    let won: Vec<f64> = of_kind(true).flat_map(against_all).collect();
    won.iter().sum::<f64>() / won.len() as f64
}

fn naive_eer(points: &[(f64, f64)]) -> f64 {
    for pair in points.windows(2) {
        let [(far_before, frr_before), (far, frr)] = [pair[0], pair[1]].map(|(f, t)| (f, 1.0 - t));
        if frr <= far {
            let before = frr_before - far_before;
            return far_before + before / (before + far - frr) * (far - far_before);
        }
    }
    unreachable!("the last point accepts everything")
}

/// Scores with many ties, and which pairs are genuine; both kinds occur.
pub fn scored_pairs() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
    let score = prop_oneof![
        3 => (-3_i8..=3).prop_map(f64::from),
        1 => -3.0..3.0,
        1 => Just(-0.0),
    ];
    let pairs = prop::collection::vec((score, any::<bool>()), 2..60);
    let both = |(_, same): &(Vec<f64>, Vec<bool>)| same.contains(&true) && same.contains(&false);
    let unzipped = pairs.prop_map(|pairs| pairs.into_iter().unzip());
    unzipped.prop_filter("both kinds", both)
}

proptest! {
    #[test]
    fn against_plain_loops((scores, same) in scored_pairs(), far in 0.0..=1.0) {
        let curve = RocCurve::new(&scores, &same).unwrap();
        let points = naive_points(&scores, &same);
        let found = curve.points().map(|point| (point.false_accept_rate, point.true_accept_rate));
        prop_assert_eq!(&found.collect::<Vec<_>>(), &points);
        prop_assert!((curve.auc() - naive_auc(&scores, &same)).abs() < TOLERANCE);
        prop_assert!((curve.equal_error_rate() - naive_eer(&points)).abs() < TOLERANCE);

        let difference = |(far, tar): &(f64, f64)| (far - (1.0 - tar)).abs();
        let least = points.iter().map(difference).fold(f64::INFINITY, f64::min);
        let (f, t) = points.iter().find(|point| difference(point) <= least + 1e-12).unwrap();
        prop_assert!((curve.equal_error_rate_argmin() - (f + 1.0 - t) / 2.0).abs() < TOLERANCE);

        let best = curve.tar_at_far(far).unwrap();
        let within = points.iter().filter(|(f, _)| *f <= far).map(|(_, t)| *t);
        prop_assert_eq!(best.tar, within.fold(0.0, f64::max));
        let strictest = points.iter().find(|(_, t)| *t == best.tar).unwrap();
        prop_assert_eq!(best.achieved_far, strictest.0);
        prop_assert_eq!(best.threshold.is_some(), strictest.0 + strictest.1 > 0.0);
        if let Some(threshold) = best.threshold {
            prop_assert!(scores.iter().any(|score| *score >= threshold));
        }

        let cost = DetectionCost::new().with_target_prior(0.2).with_miss_cost(3.0);
        let found = curve.min_detection_cost(&cost).unwrap();
        let costs = points.iter().map(|(far, tar)| 3.0 * (1.0 - tar) * 0.2 + far * (1.0 - 0.2));
        let expected = costs.fold(f64::INFINITY, f64::min);
        prop_assert!((found.raw - expected).abs() < TOLERANCE);
        prop_assert!((found.normalized - expected / 0.6).abs() < TOLERANCE);

        let genuine = same.iter().filter(|same| **same).count() as f64;
        let impostors = same.len() as f64 - genuine;
        let right = |(f, t): &(f64, f64)| (t * genuine + (1.0 - f) * impostors) / same.len() as f64;
        let most = points.iter().map(right).fold(0.0, f64::max);
        prop_assert!((curve.best_accuracy().accuracy - most).abs() < TOLERANCE);
    }

    /// The order of the pairs changes nothing, and a strictly monotone change of the scores only the thresholds.
    #[test]
    fn order_and_scale_change_nothing((scores, same) in scored_pairs(), shift in 0_usize..60) {
        let values = |curve: &RocCurve| {
            let tar = [0.0, 0.01, 0.1, 1.0].map(|far| curve.tar_at_far(far).unwrap());
            let cost = curve.min_detection_cost(&DetectionCost::new()).unwrap();
            let errors = [curve.equal_error_rate(), curve.equal_error_rate_argmin(), cost.raw, cost.normalized];
            let right = [curve.auc(), curve.average_precision(), curve.best_accuracy().accuracy];
            [&errors[..], &right, &tar.map(|at| at.tar), &tar.map(|at| at.achieved_far)].concat()
        };
        let curve = RocCurve::new(&scores, &same).unwrap();

        let (mut turned, mut turned_same) = (scores.clone(), same.clone());
        turned.rotate_left(shift % scores.len());
        turned_same.rotate_left(shift % scores.len());
        prop_assert_eq!(&RocCurve::new(&turned, &turned_same).unwrap(), &curve);

        let changed: Vec<f64> = scores.iter().map(|score| (score + 0.0).exp() * 1e3 - 7.0).collect();
        let changed = RocCurve::new(&changed, &same).unwrap();
        prop_assert_eq!(values(&changed), values(&curve));
    }

    #[test]
    fn folds_against_plain_loops(
        pairs in prop::collection::vec(((0_u16..=400).prop_map(|n| f64::from(n) * 0.01), any::<bool>()), 2..50),
        folds in 2_usize..12,
    ) {
        let (distances, same): (Vec<f64>, Vec<bool>) = pairs.into_iter().unzip();
        prop_assume!(folds <= same.len());
        let result = lfw_accuracy(&distances, &same, folds).unwrap();
        let right = |pair: usize, threshold: f64| (distances[pair] < threshold) == same[pair];
        let mut start = 0;
        for (fold, found) in result.folds.iter().enumerate() {
            let size = same.len() / folds + usize::from(fold < same.len() % folds);
            let inside = start..start + size;
            let thresholds = (0..400).map(|number| f64::from(number) * 0.01);
            let of_others = thresholds.map(|threshold| {
                let outside = (0..same.len()).filter(|pair| !inside.contains(pair));
                (outside.filter(|pair| right(*pair, threshold)).count(), threshold)
            });
            let best = of_others.reduce(|best, next| if next.0 > best.0 { next } else { best }).unwrap();
            let hits = inside.clone().filter(|pair| right(*pair, best.1)).count();
            prop_assert_eq!(found.threshold, best.1);
            prop_assert_eq!(found.accuracy, hits as f64 / size as f64);
            start += size;
        }
        prop_assert_eq!(start, same.len());
    }
}

#[test]
fn infinite_scores_are_ordinary_scores_and_nothing_accepted_has_no_threshold() {
    let scores = [f64::INFINITY, 1.0, f64::NEG_INFINITY];
    let curve = RocCurve::new(&scores, &[true, false, false]).unwrap();
    assert_eq!(curve.auc(), 1.0);
    let strictest = curve.tar_at_far(0.0).unwrap();
    assert_eq!(strictest.threshold, Some(f64::INFINITY));

    let curve = RocCurve::from_groups(&[0.1], &[0.9]).unwrap();
    let found = curve.tar_at_far(0.5).unwrap();
    assert_eq!((found.tar, found.threshold), (0.0, None));
    assert_eq!(found.smallest_measurable_far, 1.0);
    let far = [0.0, 1.0].map(|tar| curve.far_at_tar(tar).unwrap());
    assert_eq!(far, [0.0, 1.0]);
    assert_eq!((curve.genuine(), curve.impostors()), (1, 1));
}

#[test]
fn scores_of_pairs_by_every_metric_and_of_all_pairs_in_order() {
    for device in devices() {
        let left = || matrix(&[vec![3.0, 4.0], vec![0.0, 0.0]], &device);
        let right = || matrix(&[vec![6.0, 8.0], vec![1.0, 0.0]], &device);
        for (metric, distances, scores) in [
            (KnnMetric::SquaredEuclidean, [25.0, 1.0], [-25.0, -1.0]),
            (KnnMetric::Euclidean, [5.0, 1.0], [-5.0, -1.0]),
            (KnnMetric::Cosine, [0.0, 1.0], [1.0, 0.0]),
            (KnnMetric::InnerProduct, [50.0, 0.0], [50.0, 0.0]),
        ] {
            assert_eq!(pair_distances(left(), right(), metric).unwrap(), distances);
            assert_eq!(pair_scores(left(), right(), metric).unwrap(), scores);
        }
        let features = matrix(&[vec![0.0], vec![1.0], vec![3.0]], &device);
        let names = labels(&[1, 2, 1], &device);
        let pairs = all_pair_scores(features, names, KnnMetric::Euclidean).unwrap();
        assert_eq!(pairs.scores, [-1.0, -3.0, -2.0]);
        assert_eq!(pairs.same, [false, true, false]);
    }
}

#[test]
fn bad_scores_settings_and_folds_are_named() {
    let curve = RocCurve::from_groups(&[1.0], &[0.0]).unwrap();
    let cost = DetectionCost::new();
    let at_prior = |prior| curve.min_detection_cost(&cost.with_target_prior(prior));
    let folds = |folds| lfw_accuracy(&[0.1, 0.2, 0.3], &[true, false, true], folds);
    assert_messages! {
        RocCurve::new::<f64>(&[], &[]) => "scores is empty; it must hold at least 1 value";
        RocCurve::new(&[1.0, 2.0], &[true]) => "scores has 2 entries and same has 1; the numbers must be equal";
        RocCurve::new(&[1.0, f64::NAN], &[true, false]) =>
            "scores holds NaN at index 1; every value must be a number";
        RocCurve::new(&[1.0, 2.0], &[true, true]) => "same holds 2 times true and 0 times false; each must occur";
        RocCurve::from_groups(&[1.0], &[]) => "impostors is empty; it must hold at least 1 value";
        RocCurve::from_groups(&[f32::NAN], &[1.0]) => "genuine holds NaN at index 0; every value must be a number";
        curve.tar_at_far(1.5) => "far is 1.5; it must be in 0..=1";
        curve.tar_at_far(f64::NAN) => "far is NaN; it must be in 0..=1";
        curve.far_at_tar(-0.5) => "tar is -0.5; it must be in 0..=1";
        at_prior(0.0) => "target_prior is 0; it must be above 0 and below 1";
        at_prior(1.0) => "target_prior is 1; it must be above 0 and below 1";
        at_prior(f64::NAN) => "target_prior is NaN; it must be above 0 and below 1";
        curve.min_detection_cost(&cost.with_miss_cost(0.0)) => "miss_cost is 0; it must be finite and above 0";
        curve.min_detection_cost(&cost.with_false_accept_cost(f64::INFINITY)) =>
            "false_accept_cost is inf; it must be finite and above 0";
        folds(1) => "folds is 1; it must be at least 2 and at most 3, the number of pairs";
        folds(4) => "folds is 4; it must be at least 2 and at most 3, the number of pairs";
        lfw_accuracy(&[0.1, 0.2], &[true], 2) =>
            "squared_distances has 2 entries and same has 1; the numbers must be equal";
    }
}

/// No two rows of unit length are farther than 4 from each other, up to the rounding of their lengths.
#[test]
fn squared_distances_that_unit_rows_cannot_have_are_refused() {
    let with = |value: f64| lfw_accuracy(&[0.1, 0.2, value], &[true, false, true], 2);
    let rule = "squared distances of rows of unit length are in 0..=4";
    for value in [-0.2, 4.02, 25.0, 1e300, f64::INFINITY] {
        let message = format!("squared_distances holds {value} at index 2; {rule}");
        assert_messages! { with(value) => message; }
    }
    for value in [0.0, -0.0, 4.0, 4.000_001] {
        assert!(with(value).is_ok(), "{value}");
    }
    // Opposite rows, by the metric that the protocol takes.
    let device = Device::flex();
    let row = |sign: f32| matrix(&vec![vec![0.3 * sign, 0.7 * sign]; 2], &device);
    let distances = pair_distances(row(1.0), row(-1.0), KnnMetric::Cosine).unwrap();
    let squared: Vec<f64> = distances.iter().map(|distance| 2.0 * distance).collect();
    let result = lfw_accuracy(&squared, &[false, false], 2).unwrap();
    assert_eq!(result.to_string(), "1.00000 +- 0.00000 in 2 folds");
}

#[test]
fn bad_pairs_are_named() {
    for device in devices() {
        let rows = |count: usize| matrix(&vec![vec![1.0, 2.0]; count], &device);
        let nan = matrix(&[vec![1.0, f32::NAN]], &device);
        let scores = |right| pair_scores(rows(1), right, KnnMetric::Cosine);
        let all = |features| all_pair_scores(features, labels(&[1], &device), KnnMetric::Cosine);
        assert_messages! {
            scores(rows(2)) => "left has shape [1, 2] and right has shape [2, 2]; the shapes must be equal";
            scores(nan) => "right holds NaN in row 0, column 1; every value must be finite";
            all(rows(2)) => "labels has 1 entries and features has 2; the numbers must be equal";
            all(rows(1)) => "pairs is empty; it must hold at least 1 value";
        }
    }
}
