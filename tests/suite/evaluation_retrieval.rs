//! Retrieval against golden numbers, plain loops, its properties and each of its errors.

use crate::devices::devices;
use crate::fixtures::{Named, assert_close, assert_named, cases};
use crate::messages::assert_messages;
use crate::tensors::{labels, matrix};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_center_loss::KnnMetric;
use burn_center_loss::evaluation::{
    Identification, QueryRetrieval, Ranking, RetrievalConfig, RetrievalReport, RetrievalSet,
    RetrievalValues, ndcg_at,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::ops::Range;

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Case {
    name: String,
    metric: String,
    same_set: bool,
    queries: Vec<Vec<f32>>,
    query_labels: Vec<i64>,
    #[serde(default)]
    references: Vec<Vec<f32>>,
    #[serde(default)]
    reference_labels: Vec<i64>,
    per_query: Vec<Named>,
    queries_with_match: usize,
    means: Named,
    pml: Named,
    pml_mean_of_class_means: Named,
}

const KS: [usize; 4] = [1, 2, 5, 10];

/// All values that a query has; those that need all ranks last.
fn numbers(values: &RetrievalValues) -> Vec<f64> {
    let of_relevant = vec![values.r_precision, values.map_at_r];
    let of_all_ranks = [values.average_precision, values.reciprocal_rank];
    let mut numbers = [&values.precision_at[..], &values.recall_at, &of_relevant].concat();
    numbers.extend(of_all_ranks.into_iter().flatten());
    numbers
}

/// Compares the values that were asked for with those of the fixture.
fn compare(name: &str, found: &RetrievalValues, expected: &Named) {
    let found = numbers(found);
    let at_ks = |what: &str| KS.map(|k| expected[&format!("{what}_at_{k}")]);
    let of_relevant = ["r_precision", "map_at_r"].map(|name| expected[name]);
    let of_all_ranks = ["average_precision", "reciprocal_rank"].map(|name| expected[name]);
    let at_ks = [at_ks("precision"), at_ks("recall")].concat();
    let expected = [&at_ks[..], &of_relevant, &of_all_ranks].concat();
    assert_close(name, &found, &expected[..found.len()], TOLERANCE);
}

fn set(rows: &[Vec<f32>], names: &[i64], device: &Device) -> RetrievalSet {
    RetrievalSet::new(matrix(rows, device), labels(names, device))
}

#[test]
fn golden_retrieval() {
    for case in cases::<Case>("retrieval.json") {
        let metric = match case.metric.as_str() {
            "euclidean" => KnnMetric::Euclidean,
            "cosine" => KnnMetric::Cosine,
            other => panic!("{}: metric {other} is unknown to this test", case.name),
        };
        for device in devices() {
            for average_precision in [true, false] {
                let config = RetrievalConfig::new()
                    .with_metric(metric)
                    .with_ks(KS.to_vec())
                    .with_average_precision(average_precision);
                let queries = set(&case.queries, &case.query_labels, &device);
                let report = if case.same_set {
                    config.evaluate(&queries).unwrap()
                } else {
                    let references = set(&case.references, &case.reference_labels, &device);
                    config.evaluate_against(&queries, &references).unwrap()
                };
                check_golden(&case, &report, average_precision);
            }
        }
    }
}

fn check_golden(case: &Case, report: &RetrievalReport, average_precision: bool) {
    let name = &case.name;
    assert_eq!(report.ks(), KS);
    let counts = [report.queries_with_match(), report.queries_without_match()];
    let without = case.per_query.len() - case.queries_with_match;
    assert_eq!(counts, [case.queries_with_match, without], "{name}");
    assert!(!report.tie_at_cut(), "{name}");
    for (query, (found, expected)) in report.queries().iter().zip(&case.per_query).enumerate() {
        let name = format!("{name}, query {query}");
        let relevant = found.as_ref().map_or(0, |found| found.relevant);
        assert_eq!(relevant as f64, expected["relevant"], "{name}");
        if let Some(QueryRetrieval { values, .. }) = found {
            let has_average = values.average_precision.is_some();
            assert_eq!(has_average, average_precision, "{name}");
            compare(&name, values, expected);
        }
    }
    let (means, of_classes) = (report.means().unwrap(), report.means_of_classes().unwrap());
    compare(name, &means, &case.means);
    let pml = [&case.pml, &case.pml_mean_of_class_means];
    for (means, pml) in [means, of_classes].into_iter().zip(pml) {
        let found = [
            ("precision_at_1", means.precision_at[0]),
            ("r_precision", means.r_precision),
            ("mean_average_precision_at_r", means.map_at_r),
        ];
        assert_named(name, &found, pml, TOLERANCE);
    }
}

#[derive(Clone, Debug)]
struct Sample {
    features: Vec<f32>,
    label: i64,
    key: i64,
}

fn samples(count: Range<usize>, values: i8, classes: i64) -> impl Strategy<Value = Vec<Sample>> {
    (1_usize..12).prop_flat_map(move |columns| {
        let features = prop::collection::vec((0..values).prop_map(f32::from), columns);
        let sample = (features, 0..classes, 0_i64..3).prop_map(|(features, label, key)| Sample {
            features,
            label,
            key,
        });
        prop::collection::vec(sample, count.clone())
    })
}

/// Features, labels and keys on a device.
fn tensors(samples: &[Sample], device: &Device) -> (Tensor<2>, Tensor<1, Int>, Tensor<1, Int>) {
    let features = samples.iter().map(|sample| sample.features.clone());
    let features: Vec<_> = features.collect();
    let [names, keys] = [|sample: &Sample| sample.label, |sample: &Sample| sample.key]
        .map(|of| labels(&samples.iter().map(of).collect::<Vec<_>>(), device));
    (matrix(&features, device), names, keys)
}

/// Squared distances and samples, of equally far ones the first first.
fn nearest_first<'a>(
    query: &Sample,
    references: impl Iterator<Item = &'a Sample>,
) -> Vec<(f64, &'a Sample)> {
    let distance = |other: &Sample| -> f64 {
        let pairs = query.features.iter().zip(&other.features);
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    let mut order: Vec<_> = references.map(|other| (distance(other), other)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    order
}

/// The number of relevant references, all values and whether a tie is at a cut, by sorting all references and counting.
fn naive(
    query: usize,
    queries: &[Sample],
    references: Option<&[Sample]>,
    with_keys: bool,
    ks: [usize; 2],
) -> Option<(usize, Vec<f64>, bool)> {
    let sample = &queries[query];
    let others = references.unwrap_or(queries).iter().enumerate();
    let takes_part = |(index, other): &(usize, &Sample)| {
        // A duplicate of the query stays.
        let is_itself = references.is_none() && *index == query;
        let is_near_copy = with_keys && other.label == sample.label && other.key == sample.key;
        !is_itself && !is_near_copy
    };
    let order = nearest_first(sample, others.filter(takes_part).map(|(_, other)| other));
    let is_relevant = |(_, other): &(f64, &Sample)| other.label == sample.label;
    let hit: Vec<bool> = order.iter().map(is_relevant).collect();
    let first = hit.iter().position(|hit| *hit)? + 1;
    let hits = |depth: usize| hit.iter().take(depth).filter(|hit| **hit).count() as f64;
    let relevant = hits(hit.len());
    let sum_to = |depth: usize| -> f64 {
        let ranks = (1..=depth).filter(|rank| hit[rank - 1]);
        ranks.map(|rank| hits(rank) / rank as f64).sum()
    };
    let tie_at = |cut: usize| {
        let of_run = |at: &usize| order[*at].0 == order[cut].0;
        let run = || (0..order.len()).filter(of_run).map(|at| hit[at]);
        cut < order.len() && of_run(&(cut - 1)) && run().any(|hit| hit) && !run().all(|hit| hit)
    };
    let count = relevant as usize;
    let others = [hits(count), sum_to(count), sum_to(hit.len())].map(|sum| sum / relevant);
    let gain = |hit: bool, rank: usize| f64::from(u8::from(hit)) / ((rank + 1) as f64).log2();
    let ndcg_at = |k: usize| {
        let found: f64 = (1..=k.min(hit.len()))
            .map(|rank| gain(hit[rank - 1], rank))
            .sum();
        found / (1..=k.min(count)).map(|rank| gain(true, rank)).sum::<f64>()
    };
    let values = [
        &ks.map(|k| hits(k) / k as f64)[..],
        &ks.map(|k| hits(k).min(1.0)),
        &ks.map(ndcg_at),
        &others,
        &[1.0 / first as f64],
    ];
    let tie = ks.into_iter().chain([count]).any(tie_at);
    Some((count, values.concat(), tie))
}

/// Compares with plain loops; a set with itself where there are no references.
fn check(
    queries: &[Sample],
    references: Option<&[Sample]>,
    ks: [usize; 2],
    with_keys: bool,
    average_precision: bool,
) {
    let config = RetrievalConfig::new()
        .with_ks(ks.to_vec())
        .with_average_precision(average_precision);
    for device in devices() {
        let set = |samples: &[Sample]| {
            let (features, names, keys) = tensors(samples, &device);
            let set = RetrievalSet::new(features, names);
            if with_keys { set.with_keys(keys) } else { set }
        };
        let report = match references {
            Some(references) => config.evaluate_against(&set(queries), &set(references)),
            None => config.evaluate(&set(queries)),
        };
        let report = report.unwrap();
        let mut tie = false;
        for (query, found) in report.queries().iter().enumerate() {
            let name = format!("query {query}");
            let expected = naive(query, queries, references, with_keys, ks);
            assert_eq!(found.is_some(), expected.is_some(), "{name}");
            if let (Some(found), Some((relevant, values, has_tie))) = (found, expected) {
                tie |= has_tie;
                assert_eq!(found.relevant, relevant);
                let count = if average_precision { 10 } else { 8 };
                let found = &found.values;
                let found = [&numbers(found)[..4], &found.ndcg_at, &numbers(found)[4..]].concat();
                assert_close(&name, &found, &values[..count], 1e-12);
            }
        }
        assert_eq!(report.tie_at_cut(), tie);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Few values give many ties; many classes make the search for few neighbors suffice, which ties then exceed.
    #[test]
    fn a_set_against_itself(
        samples in prop_oneof![samples(5..40, 3, 4), samples(64..150, 3, 40), samples(64..150, 2, 40)],
        with_keys: bool,
        average_precision: bool,
    ) {
        check(&samples, None, [1, 3], with_keys, average_precision);
    }

    #[test]
    fn queries_against_references(
        samples in prop_oneof![samples(10..60, 3, 5), samples(100..200, 3, 60)],
        with_keys: bool,
        average_precision: bool,
    ) {
        let (queries, references) = samples.split_at(samples.len() / 3);
        check(queries, Some(references), [2, 4], with_keys, average_precision);
    }

    #[test]
    fn identification_from_features(samples in samples(6..60, 3, 8)) {
        let (probes, gallery) = samples.split_at(samples.len() / 2);
        let (mut mated, mut non_mated) = (Vec::new(), Vec::new());
        for probe in probes {
            let order = nearest_first(probe, gallery.iter());
            match order.iter().position(|(_, entry)| entry.label == probe.label) {
                Some(at) => mated.push((0.0 - order[at].0, at + 1)),
                None => non_mated.push(0.0 - order[0].0),
            }
        }
        for device in devices() {
            let [of_probes, of_gallery] = [probes, gallery].map(|samples| tensors(samples, &device));
            let metric = KnnMetric::SquaredEuclidean;
            let result =
                Identification::of_gallery(of_gallery.0, of_gallery.1, of_probes.0, of_probes.1, metric).unwrap();
            let found: Vec<(f64, usize)> =
                result.mated().iter().map(|probe| (probe.score, probe.rank)).collect();
            prop_assert_eq!(&found, &mated);
            prop_assert_eq!(result.non_mated(), &non_mated[..]);
        }
    }
}

/// Samples on a line.
fn line(positions: &[f32], names: &[i64]) -> RetrievalSet {
    let rows: Vec<Vec<f32>> = positions.iter().map(|position| vec![*position]).collect();
    set(&rows, names, &Device::flex())
}

/// 2^24 and 2^24 + 1 are equal as `f32`; the large ones do not fit into `i64`, where they would equal -1 and -2.
#[test]
fn labels_keep_their_value() {
    let device = Device::flex();
    let set = |values: Vec<u64>, dtype| {
        let rows: Vec<Vec<f32>> = (0..values.len()).map(|at| vec![at as f32]).collect();
        let data = TensorData::new(values.clone(), [values.len()]);
        let labels = Tensor::<1, Int>::from_data(data, (&device, dtype));
        RetrievalSet::new(matrix(&rows, &device), labels)
    };
    let config = RetrievalConfig::new();
    for (label, other) in [(1 << 24, (1 << 24) + 1), (u64::MAX, u64::MAX - 1)] {
        let set = set(vec![label, other, label], DType::U64);
        let report = config.evaluate(&set).unwrap();
        assert_eq!(report.queries_with_match(), 2);
        assert_eq!(report.means().unwrap().reciprocal_rank, Some(0.5));
    }
    // Labels of different integer types are compared by value.
    let (queries, references) = (set(vec![7], DType::I32), set(vec![7], DType::U8));
    let report = config.evaluate_against(&queries, &references).unwrap();
    assert_eq!(report.queries_with_match(), 1);
}

#[test]
fn progress_reaches_the_number_of_queries_with_a_match() {
    let positions: Vec<f32> = (0..300_u16).map(f32::from).collect();
    let set = line(&positions, &(0..300).map(|at| at / 3).collect::<Vec<_>>());
    for average_precision in [true, false] {
        let mut reported = Vec::new();
        RetrievalConfig::new()
            .with_average_precision(average_precision)
            .evaluate_with_progress(&set, |done, total| reported.push((done, total)))
            .unwrap();
        assert!(reported.is_sorted());
        assert_eq!(reported.last(), Some(&(300, 300)));
    }
}

#[test]
fn rankings_of_a_caller() {
    let ranking = Ranking::new(vec![2, 3, 6], 10).unwrap();
    assert_eq!(ranking.relevant_ranks(), [2, 3, 6]);
    assert_eq!(ranking.references(), 10);
    assert_eq!([1, 2].map(|k| ranking.recall_at(k).unwrap()), [0.0, 1.0]);
    assert_eq!(ranking.precision_at(10).unwrap(), 0.3);
    assert_eq!(ranking.r_precision(), 2.0 / 3.0);
    assert_eq!(ranking.map_at_r(), (1.0 / 2.0 + 2.0 / 3.0) / 3.0);
    let sum = 1.0 / 2.0 + 2.0 / 3.0 + 3.0 / 6.0;
    assert_eq!(ranking.average_precision(), sum / 3.0);
    assert_eq!(ranking.reciprocal_rank(), 0.5);
}

/// `sklearn.metrics.ndcg_score(gains, scores, k=k)` of scikit-learn 1.9.1 on numpy 2.4.
#[test]
fn ndcg_as_in_scikit_learn() {
    let gains = [3.0, 0.0, 1.0, 2.0, 0.0, 2.0, 1.0, 0.0];
    let ks = [1, 2, 3, 5, 8];
    let without_ties = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2];
    let with_ties = [0.9, 0.9, 0.5, 0.5, 0.5, 0.1, 0.1, 0.9];
    for (scores, expected) in [
        (
            without_ties,
            [
                1.0,
                0.7039180890341348,
                0.665164091752885,
                0.717399924178324,
                0.8894151924050783,
            ],
        ),
        (
            with_ties,
            [
                0.3333333333333333,
                0.3826803184943109,
                0.4049765583210164,
                0.48499268277450197,
                0.7036667189610831,
            ],
        ),
        (
            [1.0; 8],
            [
                0.375,
                0.4305153583060997,
                0.4555986281111435,
                0.5456167681213147,
                0.7315945194383918,
            ],
        ),
    ] {
        let found = ks.map(|k| ndcg_at(&scores, &gains, k).unwrap());
        assert_close("graded", &found, &expected, TOLERANCE);
        // Gains of any size, and references in any order.
        let turned = |values: [f64; 8]| [&values[3..], &values[..3]].concat();
        let gains: Vec<f64> = turned(gains).iter().map(|gain| gain * 1e307).collect();
        let found = ks.map(|k| ndcg_at(&turned(scores), &gains, k).unwrap());
        assert_close("turned", &found, &expected, TOLERANCE);
    }
    let hits = [
        false, true, false, true, true, false, false, false, true, false,
    ];
    let expected = [
        0.0,
        0.3868528072345415,
        0.2960819109658652,
        0.5654495432396527,
        0.6829656479960796,
    ];
    let ranking = Ranking::from_hits(&hits).unwrap();
    let scores: Vec<f64> = (0..10).map(|rank| -f64::from(rank)).collect();
    let gains = hits.map(|hit| f64::from(u8::from(hit)));
    for (k, expected) in [1, 2, 3, 5, 10].into_iter().zip(expected) {
        let found = [
            ranking.ndcg_at(k).unwrap(),
            ndcg_at(&scores, &gains, k).unwrap(),
        ];
        assert_close("hits", &found, &[expected; 2], TOLERANCE);
    }
    // Both zeros are one score.
    assert_eq!(ndcg_at(&[0.0, -0.0], &[0.0, 1.0], 1).unwrap(), 0.5);
}

#[test]
fn bad_gains_are_named() {
    let of = |gains: &[f64], k| ndcg_at(&[1.0, 2.0], gains, k);
    let rule = "every gain must be finite and at least 0";
    let k_rule = "it must be at least 1 and at most 2, the number of references of a query";
    assert_messages! {
        of(&[1.0], 1) => "scores has 2 entries and gains has 1; the numbers must be equal";
        of(&[1.0, -0.5], 1) => format!("gains holds -0.5 at index 1; {rule}");
        of(&[f64::INFINITY, 0.5], 1) => format!("gains holds inf at index 0; {rule}");
        of(&[0.0, 0.0], 1) => "gains holds 0 at index 0; a gain must be above 0";
        of(&[1.0, 0.0], 0) => format!("k is 0; {k_rule}");
        of(&[1.0, 0.0], 3) => format!("k is 3; {k_rule}");
        ndcg_at(&[f64::NAN], &[1.0], 1) => "scores holds NaN at index 0; every value must be a number";
        Ranking::from_hits(&[true, false]).unwrap().ndcg_at(3) => format!("k is 3; {k_rule}");
    }
}

#[test]
fn bad_rankings_and_sets_are_named() {
    let ascend = "ranks must ascend from 1 to at most 5, the number of references";
    let k_rule = "it must be at least 1 and at most 2, the number of references of a query";
    let ranking = Ranking::from_hits(&[true, false]).unwrap();
    let device = Device::flex();
    let features = |rows: usize| matrix(&vec![vec![1.0, 2.0]; rows], &device);
    let names = |count: usize| labels(&vec![1; count], &device);
    let set = || RetrievalSet::new(features(3), names(3));
    let with_keys = |count: usize| set().with_keys(names(count));
    let config = RetrievalConfig::new;
    let evaluate = |features, names| config().evaluate(&RetrievalSet::new(features, names));
    let against = |queries, references| config().evaluate_against(&queries, &references);
    let at = |k: usize| config().with_ks(vec![1, k]);
    let nan = matrix(&[vec![1.0], vec![f32::NAN]], &device);
    let narrow = line(&[1.0], &[1]);
    assert_messages! {
        Ranking::from_hits(&[false, false]) => "relevant_ranks is empty; it must hold at least 1 value";
        Ranking::new(vec![0], 5) => format!("relevant_ranks holds 0 at index 0; {ascend}");
        Ranking::new(vec![2, 2], 5) => format!("relevant_ranks holds 2 at index 1; {ascend}");
        Ranking::new(vec![1, 6], 5) => format!("relevant_ranks holds 6 at index 1; {ascend}");
        ranking.precision_at(0) => format!("k is 0; {k_rule}");
        ranking.recall_at(0) => format!("k is 0; {k_rule}");
        ranking.precision_at(3) => format!("k is 3; {k_rule}");
        ranking.recall_at(3) => format!("k is 3; {k_rule}");
        evaluate(features(3), names(2)) => "labels has 2 entries and features has 3; the numbers must be equal";
        evaluate(nan, names(2)) => "features holds NaN in row 1, column 0; every value must be finite";
        evaluate(Tensor::zeros([0, 2], &device), names(0)) => "features has 0 rows; it must have at least 1";
        config().evaluate(&with_keys(4)) => "keys has 4 entries and features has 3; the numbers must be equal";
        against(with_keys(3), set()) =>
            "queries has keys and references has none; either both or neither must have them";
        against(set(), with_keys(3)) =>
            "references has keys and queries has none; either both or neither must have them";
        against(set(), narrow) =>
            "queries has shape [3, 2] and references has shape [1, 1]; the second numbers must be equal";
        at(0).evaluate(&set()) => format!("k is 0; {k_rule}");
        at(3).evaluate(&set()) => format!("k is 3; {k_rule}");
        at(4).evaluate_against(&set(), &set()) => format!("k is 4; {}", k_rule.replace('2', "3"));
    }
}

#[test]
fn a_report_shows_its_means_if_there_are_any() {
    let config = RetrievalConfig::new().with_average_precision(false);
    let of_pairs = line(&[0.0, 1.0, 1.5, 5.0, 9.0], &[0, 0, 1, 1, 7]);
    assert_eq!(
        config.evaluate(&of_pairs).unwrap().to_string(),
        "4 queries with a match, 1 without, precision@1 0.5000, recall@1 0.5000, nDCG@1 0.5000, R-precision 0.5000, MAP@R 0.5000"
    );
    let report = config.evaluate(&line(&[0.0, 1.0], &[1, 2])).unwrap();
    let counts = [report.queries_with_match(), report.queries_without_match()];
    assert_eq!(counts, [0, 2]);
    assert_eq!((report.means(), report.means_of_classes()), (None, None));
}
