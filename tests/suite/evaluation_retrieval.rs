//! Retrieval against golden numbers, plain loops, its properties and each of its errors.

use crate::devices::devices;
use crate::fixtures::{assert_close, cases};
use crate::messages::assert_messages;
use crate::tensors::{labels, matrix};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_center_loss::KnnMetric;
use burn_center_loss::evaluation::{
    Identification, QueryRetrieval, Ranking, RetrievalConfig, RetrievalReport, RetrievalSet,
    RetrievalValues,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::HashMap;

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
    per_query: Vec<HashMap<String, f64>>,
    queries_with_match: usize,
    means: HashMap<String, f64>,
    pml: Pml,
    pml_mean_of_class_means: Pml,
}

#[derive(Deserialize)]
struct Pml {
    precision_at_1: f64,
    r_precision: f64,
    mean_average_precision_at_r: f64,
}

const KS: [usize; 4] = [1, 2, 5, 10];

/// Found and expected values, by the names of the fixture.
fn compare(name: &str, found: &RetrievalValues, expected: &HashMap<String, f64>) {
    let mut pairs = vec![
        (found.r_precision, expected["r_precision"]),
        (found.map_at_r, expected["map_at_r"]),
    ];
    if let (Some(precision), Some(rank)) = (found.average_precision, found.reciprocal_rank) {
        pairs.push((precision, expected["average_precision"]));
        pairs.push((rank, expected["reciprocal_rank"]));
    }
    for (at, k) in KS.iter().enumerate() {
        pairs.push((
            found.precision_at[at],
            expected[&format!("precision_at_{k}")],
        ));
        pairs.push((found.recall_at[at], expected[&format!("recall_at_{k}")]));
    }
    for (found, expected) in pairs {
        assert!(
            (found - expected).abs() <= TOLERANCE,
            "{name}: {found} is not {expected}"
        );
    }
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
                let queries = RetrievalSet::new(
                    matrix(&case.queries, &device),
                    labels(&case.query_labels, &device),
                );
                let report = if case.same_set {
                    config.evaluate(&queries).unwrap()
                } else {
                    let references = RetrievalSet::new(
                        matrix(&case.references, &device),
                        labels(&case.reference_labels, &device),
                    );
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
    assert_eq!(
        report.queries_with_match(),
        case.queries_with_match,
        "{name}"
    );
    let without = case.per_query.len() - case.queries_with_match;
    assert_eq!(report.queries_without_match(), without, "{name}");
    assert!(!report.tie_at_cut(), "{name}");
    for (query, (found, expected)) in report.queries().iter().zip(&case.per_query).enumerate() {
        let name = format!("{name}, query {query}");
        match found {
            Some(found) => {
                assert_eq!(found.relevant as f64, expected["relevant"], "{name}");
                assert_eq!(
                    found.values.average_precision.is_some(),
                    average_precision,
                    "{name}"
                );
                compare(&name, &found.values, expected);
            }
            None => assert_eq!(expected["relevant"], 0.0, "{name}"),
        }
    }
    let means = report.means().unwrap();
    compare(name, &means, &case.means);
    let of_classes = report.means_of_classes().unwrap();
    for (means, pml) in [
        (means, &case.pml),
        (of_classes, &case.pml_mean_of_class_means),
    ] {
        assert_close(
            name,
            &[means.precision_at[0], means.r_precision, means.map_at_r],
            &[
                pml.precision_at_1,
                pml.r_precision,
                pml.mean_average_precision_at_r,
            ],
            TOLERANCE,
        );
    }
}

#[derive(Clone, Debug)]
struct Sample {
    features: Vec<f32>,
    label: i64,
    key: i64,
}

fn samples(
    count: std::ops::Range<usize>,
    values: i8,
    classes: i64,
) -> impl Strategy<Value = Vec<Sample>> {
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

fn set(samples: &[Sample], with_keys: bool, device: &Device) -> RetrievalSet {
    let features: Vec<Vec<f32>> = samples
        .iter()
        .map(|sample| sample.features.clone())
        .collect();
    let column =
        |of: fn(&Sample) -> i64| labels(&samples.iter().map(of).collect::<Vec<_>>(), device);
    let set = RetrievalSet::new(matrix(&features, device), column(|sample| sample.label));
    if with_keys {
        set.with_keys(column(|sample| sample.key))
    } else {
        set
    }
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(a - b) * f64::from(a - b))
        .sum()
}

/// Values by sorting all references and counting.
fn naive(
    query: usize,
    queries: &[Sample],
    references: &[Sample],
    same_set: bool,
    with_keys: bool,
    ks: &[usize],
) -> Option<(QueryRetrieval, bool)> {
    let sample = &queries[query];
    let mut order: Vec<(f64, usize)> = references
        .iter()
        .enumerate()
        .filter(|(index, reference)| {
            let is_itself = same_set && *index == query;
            let is_near_copy =
                with_keys && reference.label == sample.label && reference.key == sample.key;
            !is_itself && !is_near_copy
        })
        .map(|(index, reference)| {
            (
                squared_distance(&sample.features, &reference.features),
                index,
            )
        })
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let hit: Vec<bool> = order
        .iter()
        .map(|(_, index)| references[*index].label == sample.label)
        .collect();
    let relevant = hit.iter().filter(|hit| **hit).count();
    if relevant == 0 {
        return None;
    }
    let hits = |depth: usize| hit.iter().take(depth).filter(|hit| **hit).count() as f64;
    let sum_to = |depth: usize| -> f64 {
        (1..=depth.min(hit.len()))
            .filter(|rank| hit[rank - 1])
            .map(|rank| hits(rank) / rank as f64)
            .sum()
    };
    let first = hit.iter().position(|hit| *hit).unwrap() + 1;
    let tie_at = |cut: usize| {
        if cut >= order.len() || order[cut - 1].0 != order[cut].0 {
            return false;
        }
        let of_run = |at: &usize| order[*at].0 == order[cut].0;
        let run: Vec<bool> = (0..order.len()).filter(of_run).map(|at| hit[at]).collect();
        run.contains(&true) && run.contains(&false)
    };
    let values = RetrievalValues {
        precision_at: ks.iter().map(|k| hits(*k) / *k as f64).collect(),
        recall_at: ks
            .iter()
            .map(|k| f64::from(u8::from(hits(*k) > 0.0)))
            .collect(),
        r_precision: hits(relevant) / relevant as f64,
        map_at_r: sum_to(relevant) / relevant as f64,
        average_precision: Some(sum_to(hit.len()) / relevant as f64),
        reciprocal_rank: Some(1.0 / first as f64),
    };
    let tie = ks.iter().any(|k| tie_at(*k)) || tie_at(relevant);
    Some((QueryRetrieval { relevant, values }, tie))
}

fn check_queries(
    report: &RetrievalReport,
    average_precision: bool,
    expected: impl Fn(usize) -> Option<(QueryRetrieval, bool)>,
) {
    let mut tie = false;
    for (query, found) in report.queries().iter().enumerate() {
        let (Some(found), Some((mut expected, has_tie))) = (found, expected(query)) else {
            assert!(
                found.is_none() && expected(query).is_none(),
                "query {query}"
            );
            continue;
        };
        tie |= has_tie;
        if !average_precision {
            expected.values.average_precision = None;
            expected.values.reciprocal_rank = None;
        }
        assert_eq!(found.relevant, expected.relevant);
        let name = format!("query {query}");
        assert_close(
            &name,
            &numbers(&found.values),
            &numbers(&expected.values),
            1e-12,
        );
    }
    assert_eq!(report.tie_at_cut(), tie);
}

/// All values of a query that it has.
fn numbers(values: &RetrievalValues) -> Vec<f64> {
    let of_all_ranks = [values.average_precision, values.reciprocal_rank];
    [values.precision_at.clone(), values.recall_at.clone()]
        .concat()
        .into_iter()
        .chain([values.r_precision, values.map_at_r])
        .chain(of_all_ranks.into_iter().flatten())
        .collect()
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
        let ks = vec![1, 3];
        let config = RetrievalConfig::new()
            .with_ks(ks.clone())
            .with_average_precision(average_precision);
        for device in devices() {
            let report = config.evaluate(&set(&samples, with_keys, &device)).unwrap();
            check_queries(&report, average_precision, |query| {
                naive(query, &samples, &samples, true, with_keys, &ks)
            });
        }
    }

    #[test]
    fn queries_against_references(
        samples in prop_oneof![samples(10..60, 3, 5), samples(100..200, 3, 60)],
        with_keys: bool,
        average_precision: bool,
    ) {
        let ks = vec![2, 4];
        let (queries, references) = samples.split_at(samples.len() / 3);
        let config = RetrievalConfig::new()
            .with_ks(ks.clone())
            .with_average_precision(average_precision);
        for device in devices() {
            let report = config
                .evaluate_against(
                    &set(queries, with_keys, &device),
                    &set(references, with_keys, &device),
                )
                .unwrap();
            check_queries(&report, average_precision, |query| {
                naive(query, queries, references, false, with_keys, &ks)
            });
        }
    }

    #[test]
    fn identification_from_features(samples in samples(6..60, 3, 8)) {
        let (probes, gallery) = samples.split_at(samples.len() / 2);
        for device in devices() {
            let [of_probes, of_gallery] = [probes, gallery].map(|samples| {
                let features: Vec<Vec<f32>> = samples.iter().map(|s| s.features.clone()).collect();
                let names: Vec<i64> = samples.iter().map(|s| s.label).collect();
                (matrix(&features, &device), labels(&names, &device))
            });
            let result = Identification::of_gallery(
                of_gallery.0,
                of_gallery.1,
                of_probes.0,
                of_probes.1,
                KnnMetric::SquaredEuclidean,
            )
            .unwrap();
            let (mut mated, mut non_mated) = (Vec::new(), Vec::new());
            for probe in probes {
                let mut order: Vec<(f64, usize)> = gallery
                    .iter()
                    .map(|entry| squared_distance(&probe.features, &entry.features))
                    .zip(0..)
                    .collect();
                order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let mate = order.iter().position(|(_, index)| gallery[*index].label == probe.label);
                match mate {
                    Some(at) => mated.push((0.0 - order[at].0, at + 1)),
                    None => non_mated.push(0.0 - order[0].0),
                }
            }
            let found: Vec<(f64, usize)> =
                result.mated().iter().map(|probe| (probe.score, probe.rank)).collect();
            prop_assert_eq!(found, mated);
            prop_assert_eq!(result.non_mated(), non_mated);
        }
    }
}

#[test]
fn a_duplicate_of_the_query_stays() {
    let device = Device::flex();
    let features = matrix(&[vec![0.0], vec![0.0], vec![1.0]], &device);
    let set = RetrievalSet::new(features, labels(&[5, 5, 6], &device));
    let report = RetrievalConfig::new().evaluate(&set).unwrap();
    assert_eq!(report.means().unwrap().precision_at, [1.0]);
    assert_eq!(report.queries_without_match(), 1);
}

#[test]
fn only_singletons_have_no_means() {
    let device = Device::flex();
    let features = matrix(&[vec![0.0], vec![1.0]], &device);
    let set = RetrievalSet::new(features, labels(&[1, 2], &device));
    let report = RetrievalConfig::new().evaluate(&set).unwrap();
    assert_eq!(
        (report.queries_with_match(), report.queries_without_match()),
        (0, 2)
    );
    assert_eq!(report.means(), None);
    assert_eq!(report.means_of_classes(), None);
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
    for values in [
        vec![1 << 24, (1 << 24) + 1, 1 << 24],
        vec![u64::MAX, u64::MAX - 1, u64::MAX],
    ] {
        let report = config.evaluate(&set(values, DType::U64)).unwrap();
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
    let device = Device::flex();
    let features: Vec<Vec<f32>> = (0..300).map(|at| vec![at as f32, 1.0]).collect();
    let names: Vec<i64> = (0..300).map(|at| at / 3).collect();
    let set = RetrievalSet::new(matrix(&features, &device), labels(&names, &device));
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
    assert_eq!(ranking.recall_at(1).unwrap(), 0.0);
    assert_eq!(ranking.recall_at(2).unwrap(), 1.0);
    assert_eq!(ranking.precision_at(10).unwrap(), 0.3);
    assert_eq!(ranking.r_precision(), 2.0 / 3.0);
    assert_eq!(ranking.map_at_r(), (1.0 / 2.0 + 2.0 / 3.0) / 3.0);
    assert_eq!(
        ranking.average_precision(),
        (1.0 / 2.0 + 2.0 / 3.0 + 3.0 / 6.0) / 3.0
    );
    assert_eq!(ranking.reciprocal_rank(), 0.5);
}

#[test]
fn bad_rankings_are_named() {
    let ascend = "ranks must ascend from 1 to at most 5, the number of references";
    let k_rule = "it must be at least 1 and at most 2, the number of references of a query";
    let ranking = Ranking::from_hits(&[true, false]).unwrap();
    assert_messages! {
        Ranking::from_hits(&[false, false]) => "relevant_ranks is empty; it must hold at least 1 value";
        Ranking::new(vec![0], 5) => format!("relevant_ranks holds 0 at index 0; {ascend}");
        Ranking::new(vec![2, 2], 5) => format!("relevant_ranks holds 2 at index 1; {ascend}");
        Ranking::new(vec![1, 6], 5) => format!("relevant_ranks holds 6 at index 1; {ascend}");
        ranking.precision_at(0) => format!("k is 0; {k_rule}");
        ranking.recall_at(0) => format!("k is 0; {k_rule}");
        ranking.precision_at(3) => format!("k is 3; {k_rule}");
        ranking.recall_at(3) => format!("k is 3; {k_rule}");
    }
}

#[test]
fn bad_sets_are_named() {
    let device = Device::flex();
    let features = |rows: usize| matrix(&vec![vec![1.0, 2.0]; rows], &device);
    let names = |count: usize| labels(&vec![1; count], &device);
    let set = || RetrievalSet::new(features(3), names(3));
    let with_keys = |count: usize| set().with_keys(names(count));
    let evaluate =
        |features, names| RetrievalConfig::new().evaluate(&RetrievalSet::new(features, names));
    let against =
        |queries, references| RetrievalConfig::new().evaluate_against(&queries, &references);
    let at = |k: usize| RetrievalConfig::new().with_ks(vec![1, k]);
    let nan = matrix(&[vec![1.0], vec![f32::NAN]], &device);
    let narrow = RetrievalSet::new(matrix(&[vec![1.0]], &device), names(1));
    assert_messages! {
        evaluate(features(3), names(2)) => "labels has 2 entries and features has 3; the numbers must be equal";
        evaluate(nan, names(2)) => "features holds NaN in row 1, column 0; every value must be finite";
        evaluate(Tensor::zeros([0, 2], &device), names(0)) => "features has 0 rows; it must have at least 1";
        RetrievalConfig::new().evaluate(&with_keys(4)) =>
            "keys has 4 entries and features has 3; the numbers must be equal";
        against(with_keys(3), set()) =>
            "queries has keys and references has none; either both or neither must have them";
        against(set(), with_keys(3)) =>
            "references has keys and queries has none; either both or neither must have them";
        against(set(), narrow) =>
            "queries has shape [3, 2] and references has shape [1, 1]; the second numbers must be equal";
        at(0).evaluate(&set()) =>
            "k is 0; it must be at least 1 and at most 2, the number of references of a query";
        at(3).evaluate(&set()) =>
            "k is 3; it must be at least 1 and at most 2, the number of references of a query";
        at(4).evaluate_against(&set(), &set()) =>
            "k is 4; it must be at least 1 and at most 3, the number of references of a query";
    }
}

#[test]
fn a_report_shows_its_means() {
    let device = Device::flex();
    let features = matrix(
        &[vec![0.0], vec![1.0], vec![1.5], vec![5.0], vec![9.0]],
        &device,
    );
    let set = RetrievalSet::new(features, labels(&[0, 0, 1, 1, 7], &device));
    let config = RetrievalConfig::new().with_average_precision(false);
    assert_eq!(
        config.evaluate(&set).unwrap().to_string(),
        "4 queries with a match, 1 without, precision@1 0.5000, recall@1 0.5000, R-precision 0.5000, MAP@R 0.5000"
    );
}
