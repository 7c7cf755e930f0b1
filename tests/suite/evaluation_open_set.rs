//! Open-set metrics and identification against golden numbers, plain loops, their properties and each of their errors.

use crate::devices::devices;
use crate::evaluation_verification::won;
use crate::fixtures::{Named, assert_named, cases};
use crate::messages::assert_messages;
use crate::tensors::{labels, matrix};
use burn_center_loss::evaluation::{
    Identification, MatedProbe, OpenSet, known_scores_by_center, known_scores_by_kth_neighbor,
    threshold_for_known_share,
};
use burn_center_loss::{KnnClassifierConfig, KnnMetric, NearestCenter};
use proptest::prelude::*;
use serde::Deserialize;

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Case {
    name: String,
    known_scores: Vec<f32>,
    known_correct: Vec<u8>,
    unknown_scores: Vec<f32>,
    #[serde(flatten)]
    values: Named,
}

/// The area under the OSCR curve by trapezoids, from its points.
fn area(open_set: &OpenSet) -> f64 {
    let points: Vec<_> = open_set.oscr_curve().collect();
    let trapezoids = points.windows(2).map(|pair| {
        let width = pair[1].false_positive_rate - pair[0].false_positive_rate;
        let [a, b] = [pair[0], pair[1]].map(|point| point.correct_classification_rate);
        width * (a + b) / 2.0
    });
    trapezoids.sum()
}

#[test]
fn golden_open_set() {
    for case in cases::<Case>("open_set.json") {
        let correct: Vec<bool> = case.known_correct.iter().map(|c| *c == 1).collect();
        let found = OpenSet::new(&case.known_scores, &correct, &case.unknown_scores).unwrap();
        let of_unknown = found.average_precision_unknown();
        let found = [
            ("auroc", found.auroc()),
            ("average_precision_known", found.average_precision_known()),
            ("average_precision_unknown", of_unknown),
            ("fpr_at_tpr_95", found.fpr_at_tpr(0.95).unwrap()),
            ("open_auc", found.open_auc()),
            ("oscr_area", area(&found)),
        ];
        assert_named(&case.name, &found, &case.values, TOLERANCE);
    }
}

/// The share of the scores that a threshold accepts.
fn share(scores: &[f64], threshold: f64) -> f64 {
    scores.iter().filter(|score| **score >= threshold).count() as f64 / scores.len() as f64
}

fn grid_scores(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-4_i8..=4).prop_map(f64::from), count)
}

proptest! {
    #[test]
    fn open_set_against_plain_loops(
        known in prop::collection::vec(((-4_i8..=4).prop_map(f64::from), any::<bool>()), 1..40),
        unknown in grid_scores(1..40),
        tpr in 0.0..=1.0,
    ) {
        let (scores, correct): (Vec<f64>, Vec<bool>) = known.into_iter().unzip();
        let open_set = OpenSet::new(&scores, &correct, &unknown).unwrap();
        // Pairs in which a known sample has the larger score; for the open curve its class must be right too.
        let of_samples = |counts: fn(bool) -> bool| -> f64 {
            let samples = scores.iter().zip(&correct).filter(|(_, correct)| counts(**correct));
            let won = samples.flat_map(|(score, _)| unknown.iter().map(|other| won(*score, *other)));
            won.sum::<f64>() / (scores.len() * unknown.len()) as f64
        };
        let (order, open) = (of_samples(|_| true), of_samples(|correct| correct));
        prop_assert!((open_set.auroc() - order).abs() < TOLERANCE);
        prop_assert!((open_set.open_auc() - open).abs() < TOLERANCE);
        prop_assert!((area(&open_set) - open).abs() < TOLERANCE);

        for point in open_set.oscr_curve() {
            let threshold = point.threshold.unwrap_or(f64::INFINITY);
            let accepted = scores.iter().zip(&correct).filter(|(s, c)| **c && **s >= threshold);
            let ccr = accepted.count() as f64 / scores.len() as f64;
            prop_assert_eq!(point.correct_classification_rate, ccr);
            prop_assert_eq!(point.false_positive_rate, share(&unknown, threshold));
        }

        let thresholds = scores.iter().chain(&unknown).chain([&f64::INFINITY]);
        let allowed = thresholds.filter(|threshold| share(&scores, **threshold) >= tpr);
        let expected = allowed.map(|threshold| share(&unknown, *threshold)).fold(1.0, f64::min);
        prop_assert_eq!(open_set.fpr_at_tpr(tpr).unwrap(), expected);

        // A strictly monotone change of the scores changes nothing but thresholds.
        let change = |of: &[f64]| -> Vec<f64> { of.iter().map(|s| (s / 3.0).exp()).collect() };
        let changed = OpenSet::new(&change(&scores), &correct, &change(&unknown)).unwrap();
        let values = |of: &OpenSet| {
            [of.open_auc(), of.auroc(), of.average_precision_known(), of.average_precision_unknown()]
        };
        prop_assert_eq!(values(&changed), values(&open_set));
    }

    #[test]
    fn threshold_accepts_the_share_and_no_larger_known_score_does(
        scores in grid_scores(1..40),
        least in 0.0..=1.0,
    ) {
        let threshold = threshold_for_known_share(&scores, least).unwrap();
        prop_assert!(share(&scores, threshold) >= least);
        for larger in scores.iter().filter(|score| **score > threshold) {
            prop_assert!(share(&scores, *larger) < least);
        }
    }

    #[test]
    fn identification_against_plain_loops(
        mated in prop::collection::vec(((-4_i8..=4).prop_map(f64::from), 1_usize..5), 1..30),
        non_mated in grid_scores(1..30),
        fpir in 0.0..=1.0,
    ) {
        let mated: Vec<MatedProbe> =
            mated.into_iter().map(|(score, rank)| probe(score, rank)).collect();
        let result = Identification::new(&mated, &non_mated).unwrap();
        let rates = |threshold: f64| {
            // False positives are a share of the non-mated probes, not of all probes as in an earlier tool.
            let found = mated.iter().filter(|p| p.rank == 1 && p.score >= threshold).count();
            (found as f64 / mated.len() as f64, share(&non_mated, threshold))
        };
        let thresholds = mated.iter().map(|probe| probe.score).chain([f64::INFINITY]);
        let allowed = thresholds.map(rates).filter(|(_, false_rate)| *false_rate <= fpir);
        let expected = allowed.map(|(true_rate, _)| true_rate).fold(0.0, f64::max);
        let best = result.tpir_at_fpir(fpir).unwrap();
        prop_assert_eq!(best.tpir, expected);
        prop_assert!(best.achieved_fpir <= fpir);
        let at = rates(best.threshold.unwrap_or(f64::INFINITY));
        prop_assert_eq!(at, (best.tpir, best.achieved_fpir));
        prop_assert_eq!(best.smallest_measurable_fpir, 1.0 / non_mated.len() as f64);
        for k in 1..6 {
            let within = mated.iter().filter(|probe| probe.rank <= k).count();
            prop_assert_eq!(result.rank_k(k).unwrap(), within as f64 / mated.len() as f64);
        }
    }
}

fn probe(score: f64, rank: usize) -> MatedProbe {
    MatedProbe { score, rank }
}

#[test]
fn classifiers_give_scores() {
    for device in devices() {
        let references = || matrix(&[vec![0.0, 1.0], vec![0.0, 3.0], vec![4.0, 0.0]], &device);
        let queries = || matrix(&[vec![0.0, 0.0], vec![0.0, 5.0]], &device);
        for (centers, expected) in [
            (NearestCenter::from_centers(references()), [-1.0, -4.0]),
            (NearestCenter::from_directions(references()), [0.0, 1.0]),
        ] {
            let scores = known_scores_by_center(&centers.unwrap(), queries()).unwrap();
            assert_eq!(scores, expected);
        }
        for (metric, expected) in [
            (KnnMetric::SquaredEuclidean, [-9.0, -16.0]),
            (KnnMetric::Euclidean, [-3.0, -4.0]),
            (KnnMetric::Cosine, [0.0, 1.0]),
            (KnnMetric::InnerProduct, [0.0, 5.0]),
        ] {
            let config = KnnClassifierConfig::new(2).with_metric(metric);
            let classifier = config.fit(references(), labels(&[0, 1, 2], &device));
            let scores = known_scores_by_kth_neighbor(&classifier.unwrap(), queries()).unwrap();
            assert_eq!(scores, expected, "{metric:?}");
        }
    }
}

#[test]
fn bad_open_sets_and_identifications_are_named() {
    let open_set = OpenSet::new(&[1.0], &[true], &[0.0]).unwrap();
    let no_unknown = Identification::new::<f64>(&[probe(1.0, 1)], &[]).unwrap();
    let no_known = Identification::new(&[], &[0.5]).unwrap();
    assert_messages! {
        OpenSet::new::<f64>(&[], &[], &[1.0]) => "known_scores is empty; it must hold at least 1 value";
        OpenSet::new(&[1.0], &[true], &[]) => "unknown_scores is empty; it must hold at least 1 value";
        OpenSet::new(&[1.0], &[true, false], &[1.0]) =>
            "known_scores has 1 entries and known_correct has 2; the numbers must be equal";
        OpenSet::new(&[1.0], &[true], &[1.0, f64::NAN]) =>
            "unknown_scores holds NaN at index 1; every value must be a number";
        open_set.fpr_at_tpr(2.0) => "tpr is 2; it must be in 0..=1";
        threshold_for_known_share(&[1.0], -0.1) => "share is -0.1; it must be in 0..=1";
        Identification::new(&[probe(1.0, 0)], &[0.5]) => "mated holds rank 0 at index 0; ranks start at 1";
        Identification::new(&[probe(1.0, 1), probe(f64::NAN, 1)], &[0.5]) =>
            "mated holds NaN at index 1; every value must be a number";
        Identification::new(&[probe(1.0, 1)], &[f32::NAN]) =>
            "non_mated holds NaN at index 0; every value must be a number";
        no_unknown.tpir_at_fpir(0.1) => "non_mated is empty; it must hold at least 1 value";
        no_unknown.rank_k(0) => "k is 0; it must be at least 1";
        no_known.rank_k(1) => "mated is empty; it must hold at least 1 value";
        no_known.tpir_at_fpir(0.1) => "mated is empty; it must hold at least 1 value";
        no_known.tpir_at_fpir(1.1) => "fpir is 1.1; it must be in 0..=1";
    }
}
