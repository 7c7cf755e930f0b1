//! [`KnnClassifier`](burn_center_loss::KnnClassifier) against golden numbers, plain loops and each of its errors.

use crate::devices::{devices, devices_with, values};
use crate::fixtures::cases;
use crate::integers::{INTEGER_TYPES, extreme_values, typed_labels, wide_values};
use crate::messages::{assert_message, assert_messages, extreme_rows};
use crate::tensors::{ints, labels, matrix, typed_matrix};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_center_loss::{
    KnnClassifier, KnnClassifierConfig, KnnClassifierData, KnnError, KnnMetric, KnnWeights,
    Neighbors,
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    classes: Vec<i64>,
    reference: Vec<Vec<f32>>,
    reference_labels: Vec<i64>,
    queries: Vec<Vec<f32>>,
    results: Vec<Answers>,
}

#[derive(Deserialize)]
struct Answers {
    metric: String,
    k: usize,
    neighbor_indices: Vec<Vec<i64>>,
    neighbor_distances: Vec<Vec<f64>>,
    tie_at_k_boundary: Vec<u8>,
    tie_at_k_boundary_changes_labels: Vec<u8>,
    uniform: Votes,
    distance: Votes,
}

#[derive(Deserialize)]
struct Votes {
    predictions: Vec<i64>,
    predict_proba: Vec<Vec<f64>>,
    vote_tie: Vec<u8>,
    #[serde(default)]
    rounding_decides_vote: Vec<u8>,
}

impl Votes {
    /// The label that must be predicted.
    ///
    /// Where votes are tied that is the lowest of the tied labels. The recorded prediction need not be it: scikit-learn
    /// expands the square for wide rows, so that rows equal to the query come out at about 1e-7 instead of 0, and the remaining
    /// neighbors then tip, below the rounding of the recorded shares, a vote that is exactly tied.
    fn prediction(&self, query: usize, classes: &[i64]) -> i64 {
        let recorded = self.predictions[query];
        if self.vote_tie[query] == 0 {
            return recorded;
        }
        let shares = &self.predict_proba[query];
        let most = shares.iter().copied().fold(0.0, f64::max);
        let mut tied = classes
            .iter()
            .zip(shares)
            .filter(|(_, share)| most - **share <= f64::from(f32::EPSILON) * most)
            .map(|(class, _)| *class);
        let lowest = tied.next().unwrap();
        assert!(recorded == lowest || tied.any(|class| class == recorded));
        lowest
    }

    fn rounding_decides(&self, query: usize) -> bool {
        self.rounding_decides_vote
            .get(query)
            .is_some_and(|flag| *flag == 1)
    }
}

#[test]
fn golden_neighbors_and_votes() {
    for file in ["knn.json", "knn_d128.json"] {
        for case in cases::<Case>(file) {
            for answers in &case.results {
                for device in devices() {
                    check_golden(&case, answers, &device);
                }
            }
        }
    }
}

fn check_golden(case: &Case, answers: &Answers, device: &Device) {
    let metric = match answers.metric.as_str() {
        "euclidean" => KnnMetric::Euclidean,
        "cosine" => KnnMetric::Cosine,
        other => panic!("{}: metric {other} is unknown to this test", case.name),
    };
    let k = answers.k;
    let name = format!("{} {metric:?} k = {k} on {device:?}", case.name);
    let fit = |votes| {
        KnnClassifierConfig::new(k)
            .with_metric(metric)
            .with_weights(votes)
            .fit(
                matrix(&case.reference, device),
                labels(&case.reference_labels, device),
            )
            .unwrap()
    };
    let queries = matrix(&case.queries, device);

    let classifier = fit(KnnWeights::Uniform);
    let classes: Vec<i128> = case.classes.iter().copied().map(i128::from).collect();
    assert_eq!(classifier.classes(), classes, "{name}");
    let neighbors = classifier.kneighbors(queries.clone()).unwrap();
    let distances = values(neighbors.distances);
    let indices = ints(neighbors.indices);
    for query in 0..case.queries.len() {
        let name = format!("{name}, query {query}");
        let distances = &distances[query * k..][..k];
        assert_near(&name, distances, &answers.neighbor_distances[query], 2e-6);
        if answers.tie_at_k_boundary[query] == 0 {
            let sorted = |indices: &[i64]| {
                let mut indices = indices.to_vec();
                indices.sort_unstable();
                indices
            };
            assert_eq!(
                sorted(&indices[query * k..][..k]),
                sorted(&answers.neighbor_indices[query]),
                "{name}"
            );
        }
    }

    for (votes, expected, tolerance) in [
        (KnnWeights::Uniform, &answers.uniform, 1e-6),
        (KnnWeights::InverseDistance, &answers.distance, 2e-3),
    ] {
        let classifier = fit(votes);
        let predictions = ints(classifier.predict(queries.clone()).unwrap());
        let shares = values(classifier.predict_proba(queries.clone()).unwrap());
        let columns = case.classes.len();
        for query in 0..case.queries.len() {
            if answers.tie_at_k_boundary_changes_labels[query] == 1
                || expected.rounding_decides(query)
            {
                continue;
            }
            let name = format!("{name} {votes:?}, query {query}");
            let prediction = expected.prediction(query, &case.classes);
            assert_eq!(predictions[query], prediction, "{name}");
            let shares = &shares[query * columns..][..columns];
            assert_near(&name, shares, &expected.predict_proba[query], tolerance);
        }
    }
}

/// Neighbors by a plain loop in f64: `(distance, index)`, nearest first, equal distances by index.
fn brute_force(metric: KnnMetric, references: &[Vec<f32>], query: &[f32]) -> Vec<(f64, usize)> {
    let mut all: Vec<(f64, usize)> = references
        .iter()
        .enumerate()
        .map(|(index, reference)| {
            let (mut squared, mut product, mut xx, mut yy) = (0.0, 0.0, 0.0, 0.0);
            for d in 0..query.len() {
                let (x, y) = (f64::from(query[d]), f64::from(reference[d]));
                squared += (x - y) * (x - y);
                product += x * y;
                xx += x * x;
                yy += y * y;
            }
            let distance = match metric {
                KnnMetric::SquaredEuclidean => squared,
                KnnMetric::Euclidean => squared.sqrt(),
                KnnMetric::InnerProduct => product,
                KnnMetric::Cosine if xx == 0.0 || yy == 0.0 => 1.0,
                KnnMetric::Cosine => 1.0 - product / (xx * yy).sqrt(),
            };
            (distance, index)
        })
        .collect();
    all.sort_by(|a, b| match metric {
        KnnMetric::InnerProduct => b.0.partial_cmp(&a.0).unwrap(),
        _ => a.0.partial_cmp(&b.0).unwrap(),
    });
    all
}

#[derive(Clone, Debug)]
struct Problem {
    references: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
    k: usize,
    max_pairs: usize,
}

/// Up to 12 columns, so that every way of searching answers some.
fn problems(value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Problem> {
    (1_usize..=12, 1_usize..200)
        .prop_flat_map(move |(columns, count)| {
            let row = prop::collection::vec(value.clone(), columns);
            (
                prop::collection::vec(row.clone(), count),
                prop::collection::vec(row, 1..8),
                prop_oneof![1..=count.min(8), 1..=count],
                prop_oneof![1_usize..2000, Just(1 << 22)],
            )
        })
        .prop_map(|(references, queries, k, max_pairs)| Problem {
            references,
            queries,
            k,
            max_pairs,
        })
}

const METRICS: [KnnMetric; 4] = [
    KnnMetric::SquaredEuclidean,
    KnnMetric::Euclidean,
    KnnMetric::Cosine,
    KnnMetric::InnerProduct,
];

/// Asserts that the answers are those of [`brute_force`].
///
/// Where two distances differ by no more than `near_tie`, f64 rounding in one of the two computations may have swapped
/// them: there any order of the references concerned passes. With `near_tie` 0 the order must be the same.
fn check_against_brute_force(problem: &Problem, metric: KnnMetric, near_tie: f64, device: &Device) {
    let k = problem.k;
    // Labels that are not in the order of the references: neighbors must not depend on them.
    let mixed: Vec<i64> = (0..problem.references.len() as i64)
        .map(|i| (i * 7) % 5 - 2)
        .collect();
    let neighbors = KnnClassifierConfig::new(k)
        .with_metric(metric)
        .with_max_pairs(problem.max_pairs)
        .fit(matrix(&problem.references, device), labels(&mixed, device))
        .unwrap()
        .kneighbors(matrix(&problem.queries, device))
        .unwrap();
    let distances = values(neighbors.distances);
    let indices = ints(neighbors.indices);
    for (query, row) in problem.queries.iter().enumerate() {
        let name = format!("{metric:?} query {query} on {device:?}");
        let expected = brute_force(metric, &problem.references, row);
        let mut by_index: Vec<(f64, usize)> = expected.clone();
        by_index.sort_by_key(|(_, index)| *index);
        let range = query * k..(query + 1) * k;
        let mut seen = vec![false; problem.references.len()];
        for (place, at) in range.enumerate() {
            let index = indices[at] as usize;
            assert!(!seen[index], "{name}: reference {index} twice");
            seen[index] = true;
            let (distance, nth) = expected[place];
            if near_tie == 0.0 {
                assert_eq!(index, nth, "{name}: place {place}");
            } else {
                assert!(
                    (by_index[index].0 - distance).abs() <= near_tie,
                    "{name}: place {place} has reference {index} at {}, expected {nth} at {distance}",
                    by_index[index].0
                );
            }
            assert!(
                (distances[at] - distance).abs() <= 1e-6 * distance.abs() + near_tie,
                "{name}: place {place}: {} is not {distance}",
                distances[at]
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sums are exact, so that equal distances are equal and go by index: small integers, a cell far from the origin that
    /// the expanded square cannot tell apart, and tight clusters whose distances are small against the rounding of keys.
    #[test]
    fn exact_sums_equal_brute_force(
        problem in prop_oneof![
            problems((-2_i8..=2).prop_map(f32::from)).boxed(),
            problems((0_i16..64).prop_map(|step| 10_000.0 + f32::from(step) / 1024.0)).boxed(),
            problems((0_i16..4, -3_i16..=3).prop_map(|(cluster, step)| {
                f32::from(cluster) * 1000.0 + f32::from(step) / 1024.0
            }))
            .boxed(),
        ],
    ) {
        for device in devices() {
            check_against_brute_force(&problem, KnnMetric::SquaredEuclidean, 0.0, &device);
        }
    }

    #[test]
    fn random_floats_equal_brute_force(
        problem in prop_oneof![
            problems(-10.0_f32..10.0).boxed(),
            problems((-2_i8..=2).prop_map(f32::from)).boxed(),
        ],
    ) {
        for device in devices() {
            for metric in METRICS {
                check_against_brute_force(&problem, metric, 1e-12, &device);
            }
        }
    }
}

#[test]
fn a_tied_vote_goes_to_the_lowest_label() {
    for device in devices() {
        let references = matrix(&[vec![1.0], vec![-1.0], vec![2.0], vec![-2.0]], &device);
        let queries = matrix(&[vec![0.0]], &device);
        for votes in [KnnWeights::Uniform, KnnWeights::InverseDistance] {
            let classifier = KnnClassifierConfig::new(4)
                .with_weights(votes)
                .fit(references.clone(), labels(&[9, -4, -4, 9], &device))
                .unwrap();
            assert_eq!(ints(classifier.predict(queries.clone()).unwrap()), [-4]);
            let shares = values(classifier.predict_proba(queries.clone()).unwrap());
            assert_eq!(shares, [0.5, 0.5]);
        }
    }
}

#[test]
fn inverse_distance_gives_the_near_more_weight() {
    for device in devices() {
        let references = matrix(&[vec![1.0], vec![-4.0], vec![4.0]], &device);
        let queries = matrix(&[vec![0.0]], &device);
        let fit = |metric| {
            KnnClassifierConfig::new(3)
                .with_metric(metric)
                .with_weights(KnnWeights::InverseDistance)
                .fit(references.clone(), labels(&[5, 2, 2], &device))
                .unwrap()
        };
        let classifier = fit(KnnMetric::Euclidean);
        assert_eq!(ints(classifier.predict(queries.clone()).unwrap()), [5]);
        let shares = values(classifier.predict_proba(queries.clone()).unwrap());
        assert_near("1/d", &shares, &[1.0 / 3.0, 2.0 / 3.0], 1e-6);
        let shares = values(
            fit(KnnMetric::SquaredEuclidean)
                .predict_proba(queries)
                .unwrap(),
        );
        assert_near("1/d^2", &shares, &[1.0 / 9.0, 8.0 / 9.0], 1e-6);
    }
}

#[test]
fn at_distance_zero_only_equal_references_vote() {
    for device in devices() {
        let references = matrix(&[vec![100.0], vec![100.000_01], vec![100.000_01]], &device);
        let classifier = KnnClassifierConfig::new(3)
            .with_weights(KnnWeights::InverseDistance)
            .fit(references.clone(), labels(&[1, 0, 0], &device))
            .unwrap();
        let queries = references.narrow(0, 0, 2);
        assert_eq!(ints(classifier.predict(queries.clone()).unwrap()), [1, 0]);
        let shares = values(classifier.predict_proba(queries).unwrap());
        assert_eq!(shares, [0.0, 1.0, 1.0, 0.0]);
    }
}

/// Rows of equal direction are at cosine distance zero, whatever their lengths.
#[test]
fn cosine_ignores_length_and_keeps_small_angles() {
    for device in devices() {
        let references = matrix(
            &[
                vec![0.0, 0.0],
                vec![1.0, 1e-5],
                vec![3e30, 0.0],
                vec![-1e-30, 0.0],
            ],
            &device,
        );
        let classifier = KnnClassifierConfig::new(4)
            .with_metric(KnnMetric::Cosine)
            .fit(references, labels(&[0, 1, 2, 3], &device))
            .unwrap();
        let neighbors = classifier
            .kneighbors(matrix(&[vec![2.0, 0.0]], &device))
            .unwrap();
        assert_eq!(ints(neighbors.indices), [2, 1, 0, 3]);
        let distances = values(neighbors.distances);
        assert_eq!([distances[0], distances[2], distances[3]], [0.0, 1.0, 2.0]);
        assert!((distances[1] / 5e-11 - 1.0).abs() < 1e-5, "{distances:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The least, the greatest and neighbouring values of every integer type.
    #[test]
    fn extreme_labels_of_every_integer_type_come_back_as_they_were(
        chosen in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
    ) {
        for dtype in INTEGER_TYPES {
            let values: Vec<i128> = chosen.iter().map(|index| *index.get(&extreme_values(dtype))).collect();
            let mut classes = values.clone();
            classes.sort_unstable();
            classes.dedup();
            for device in devices_with(dtype) {
                let references: Vec<Vec<f32>> = (0..values.len()).map(|i| vec![i as f32]).collect();
                let references = matrix(&references, &device);
                let labels = typed_labels(&values, dtype, &device);
                let classifier = KnnClassifierConfig::new(1)
                    .fit(references.clone(), labels.clone())
                    .unwrap();
                prop_assert_eq!(classifier.classes(), &classes);
                let predictions = classifier.predict(references.clone()).unwrap();
                prop_assert_eq!(predictions.dtype(), dtype);
                prop_assert_eq!(&wide_values(predictions), &values);
                prop_assert_eq!(classifier.score(references.clone(), labels).unwrap(), 1.0);
                // One label that is another value of the type.
                let mut wrong = values.clone();
                wrong[0] = *extreme_values(dtype).iter().find(|value| **value != values[0]).unwrap();
                let wrong = typed_labels(&wrong, dtype, &device);
                let share = (values.len() - 1) as f64 / values.len() as f64;
                prop_assert_eq!(classifier.score(references, wrong).unwrap(), share);
            }
        }
    }
}

/// The share as a number of neighbors.
fn part_of(references: &[Vec<f64>], share: prop::sample::Index) -> usize {
    1 + share.index(references.len())
}

/// Asserts that all answers are numbers, in order, and shares of one.
fn check_numbers(references: &[Vec<f64>], queries: &[Vec<f64>], k: usize, dtype: DType) {
    let mixed: Vec<i64> = (0..references.len() as i64).map(|i| (i * 7) % 3).collect();
    for device in devices_with(dtype) {
        for metric in METRICS {
            for votes in [KnnWeights::Uniform, KnnWeights::InverseDistance] {
                if metric == KnnMetric::InnerProduct && votes == KnnWeights::InverseDistance {
                    continue;
                }
                let name = format!("{metric:?} {votes:?} {dtype:?} on {device:?}");
                let classifier = KnnClassifierConfig::new(k)
                    .with_metric(metric)
                    .with_weights(votes)
                    .fit(
                        typed_matrix(references, dtype, &device),
                        labels(&mixed, &device),
                    )
                    .unwrap();
                let queries = typed_matrix(queries, dtype, &device);
                let neighbors = classifier.kneighbors(queries.clone()).unwrap();
                for distances in values(neighbors.distances).chunks(k) {
                    let in_order = |pair: &[f64]| match metric {
                        KnnMetric::InnerProduct => pair[0] >= pair[1],
                        _ => pair[0] <= pair[1],
                    };
                    // A NaN is in no order.
                    assert!(distances.windows(2).all(in_order), "{name}: {distances:?}");
                    assert!(!distances[0].is_nan(), "{name}: {distances:?}");
                }
                let shares = values(classifier.predict_proba(queries).unwrap());
                for shares in shares.chunks(classifier.classes().len()) {
                    let sum: f64 = shares.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{name}: {shares:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_answer_to_values_of_any_size_is_nan(
        rows in extreme_rows(DType::F32, 1_usize..40),
        wide_rows in extreme_rows(DType::F64, 1_usize..40),
        share: prop::sample::Index,
    ) {
        for ((references, queries), dtype) in [(rows, DType::F32), (wide_rows, DType::F64)] {
            check_numbers(&references, &queries, part_of(&references, share), dtype);
        }
    }
}

#[test]
fn inner_products_that_overflow_are_sums_or_infinities_of_their_sign() {
    for device in devices_with(DType::F64) {
        let rows = [
            vec![1e200, -1e200],
            vec![1e200, 1e200],
            vec![-1e200, 0.0],
            vec![1e108, 0.0],
            vec![1.0, -2.0],
        ];
        let references = typed_matrix(&rows, DType::F64, &device);
        let queries = typed_matrix(&rows[1..2], DType::F64, &device);
        let classifier = KnnClassifierConfig::new(5)
            .with_metric(KnnMetric::InnerProduct)
            .fit(references, labels(&[0; 5], &device))
            .unwrap();
        let neighbors = classifier.kneighbors(queries).unwrap();
        assert_eq!(ints(neighbors.indices), [1, 3, 0, 4, 2]);
        let infinity = f64::INFINITY;
        let expected = [infinity, 1e108 * 1e200, 0.0, -1e200, -infinity];
        assert_eq!(values(neighbors.distances), expected);
    }
}

#[test]
fn euclidean_distances_that_overflow_are_infinite_and_tie_by_index() {
    for device in devices_with(DType::F64) {
        let rows = [vec![-1e200], vec![1e200], vec![0.0], vec![-2e200]];
        let references = typed_matrix(&rows, DType::F64, &device);
        let queries = typed_matrix(&rows[1..2], DType::F64, &device);
        let classifier = KnnClassifierConfig::new(4)
            .with_weights(KnnWeights::InverseDistance)
            .fit(references, labels(&[0, 1, 2, 3], &device))
            .unwrap();
        let neighbors = classifier.kneighbors(queries.clone()).unwrap();
        assert_eq!(ints(neighbors.indices), [1, 0, 2, 3]);
        let infinity = f64::INFINITY;
        assert_eq!(
            values(neighbors.distances),
            [0.0, infinity, infinity, infinity]
        );
        let shares = values(classifier.predict_proba(queries.clone()).unwrap());
        assert_eq!(shares, [0.0, 1.0, 0.0, 0.0]);
        let far = classifier.kneighbors(queries * -1.5).unwrap();
        assert_eq!(ints(far.indices), [0, 1, 2, 3]);
    }
}

fn stored(classifier: &KnnClassifier) -> serde_json::Value {
    serde_json::to_value(classifier.to_data()).unwrap()
}

fn loaded(stored: &serde_json::Value, device: &Device) -> Result<KnnClassifier, KnnError> {
    let text = stored.to_string();
    let data: KnnClassifierData = serde_json::from_str(&text).unwrap();
    KnnClassifier::from_data(data, device)
}

/// Distances and shares, as bits; indices and predictions.
fn answers(
    classifier: &KnnClassifier,
    queries: &[Vec<f64>],
    dtype: DType,
    device: &Device,
) -> (Vec<u64>, Vec<i64>, Vec<i128>) {
    let queries = typed_matrix(queries, dtype, device);
    let Neighbors { distances, indices } = classifier.kneighbors(queries.clone()).unwrap();
    let predictions = classifier.predict(queries.clone()).unwrap();
    let shares = classifier.predict_proba(queries).unwrap();
    let bits = [distances, shares].map(|tensor| values(tensor).into_iter().map(f64::to_bits));
    (
        bits.into_iter().flatten().collect(),
        ints(indices),
        wide_values(predictions),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_stored_classifier_answers_the_same_on_every_device(
        (references, queries) in prop_oneof![
            extreme_rows(DType::F32, 1_usize..40).boxed(),
            extreme_rows(DType::F64, 1_usize..40).boxed(),
        ],
        share: prop::sample::Index,
        chosen in prop::collection::vec(any::<prop::sample::Index>(), 40),
    ) {
        let k = part_of(&references, share);
        for (dtype, label_dtype) in [(DType::F32, DType::I8), (DType::F64, DType::U64)] {
            let values: Vec<i128> = chosen[..references.len()]
                .iter()
                .map(|index| *index.get(&extreme_values(label_dtype)))
                .collect();
            let finite = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
                let limit = if dtype == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
                rows.iter().map(|row| row.iter().map(|v| v.clamp(-limit, limit)).collect()).collect()
            };
            let (references, queries) = (finite(&references), finite(&queries));
            for device in devices_with(dtype) {
                for metric in METRICS {
                    let classifier = KnnClassifierConfig::new(k)
                        .with_metric(metric)
                        .with_max_pairs(1000)
                        .fit(
                            typed_matrix(&references, dtype, &device),
                            typed_labels(&values, label_dtype, &device),
                        )
                        .unwrap();
                    let expected = answers(&classifier, &queries, dtype, &device);
                    let stored = stored(&classifier);
                    for other in devices_with(dtype) {
                        if !other.supports_dtype(label_dtype) {
                            continue;
                        }
                        let loaded = loaded(&stored, &other.clone().autodiff()).unwrap();
                        prop_assert_eq!(loaded.classes(), classifier.classes());
                        prop_assert_eq!(&answers(&loaded, &queries, dtype, &other), &expected);
                        prop_assert_eq!(&self::stored(&loaded), &stored);
                    }
                }
            }
        }
    }
}

#[test]
fn inconsistent_stored_classifiers_are_refused() {
    for device in devices() {
        let references = matrix(&[vec![0.0, 4.0], vec![3.0, 0.0], vec![0.0, 0.0]], &device);
        let stored_of = |metric| {
            let classifier = KnnClassifierConfig::new(2)
                .with_metric(metric)
                .fit(references.clone(), labels(&[1, 2, 3], &device))
                .unwrap();
            stored(&classifier)
        };
        let right = stored_of(KnnMetric::Euclidean);
        let tensor = |data: TensorData| serde_json::to_value(data).unwrap();
        let with = |path: &str, value: serde_json::Value| {
            let mut wrong = right.clone();
            *wrong.pointer_mut(path).unwrap() = value;
            loaded(&wrong, &device)
        };
        let references = |data: TensorData| with("/references", tensor(data));
        let labels = |data: TensorData| with("/labels", tensor(data));
        let empty = |shape: [usize; 2]| references(TensorData::new(Vec::<f32>::new(), shape));
        assert_messages! {
            with("/config/k", 4.into()) => "k is 4; it must be at least 1 and at most 3, the number of references";
            with("/config/k", 0.into()) => "k is 0; it must be at least 1 and at most 3, the number of references";
            with("/config/max_pairs", 0.into()) => "max_pairs is 0; it must be at least 1";
            references(TensorData::from([1.0_f32, 2.0])) => "references is stored with 1 dimensions; it must have 2";
            references(TensorData::from([[1_i32, 2], [3, 4], [5, 6]])) =>
                "references is stored as I32; it must be F32 or F64";
            references(TensorData::from([[1.0_f64], [f64::NAN], [2.0]])) =>
                "references holds NaN in row 1, column 0; every value must be finite";
            empty([0, 2]) => "references has 0 rows; it must have at least 1";
            empty([3, 0]) => "references has 0 columns; it must have at least 1";
            labels(TensorData::from([1_i64, 2])) =>
                "labels has 2 entries and references has 3 rows; the numbers must be equal";
            labels(TensorData::from([[1_i64, 2, 3]])) => "labels is stored with 2 dimensions; it must have 1";
            labels(TensorData::from([1.0_f32, 2.0, 3.0])) => "labels is stored as F32; it must be an integer type";
        }

        let mut wrong = stored_of(KnnMetric::Cosine);
        assert!(loaded(&wrong, &device).is_ok());
        wrong["references"] = tensor(TensorData::from([[1.0_f64, 0.0], [0.0, 2.0], [0.0, 0.0]]));
        assert_message(
            loaded(&wrong, &device),
            "references is stored with a row of length 2 at index 1; directions must have length 1, or 0 for none",
        );
        let text = right.to_string();
        for end in 0..text.len() {
            assert!(serde_json::from_str::<KnnClassifierData>(&text[..end]).is_err());
        }
        // Bytes that are missing are noticed as the data is read.
        let mut wrong = right.clone();
        wrong["labels"]["bytes"].as_array_mut().unwrap().pop();
        assert!(serde_json::from_value::<KnnClassifierData>(wrong).is_err());
    }
}

#[test]
fn score_is_the_share_of_right_predictions() {
    for device in devices() {
        let references = matrix(&[vec![0.0], vec![10.0]], &device);
        let classifier = KnnClassifierConfig::new(1)
            .fit(references, labels(&[-3, 8], &device))
            .unwrap();
        let queries = matrix(&[vec![1.0], vec![2.0], vec![9.0], vec![8.0]], &device);
        let score = classifier.score(queries, labels(&[-3, -3, -3, 8], &device));
        assert_eq!(score.unwrap(), 0.75);
    }
}

#[test]
fn f64_distances_keep_their_precision() {
    for device in devices_with(DType::F64) {
        let references = TensorData::from([[1e8 + 3e-7], [1e8], [1e8 + 1e-7], [-1e8]]);
        let references = Tensor::<2>::from_data(references, (&device, DType::F64));
        let classifier = KnnClassifierConfig::new(3)
            .fit(references.clone(), labels(&[0, 1, 2, 3], &device))
            .unwrap();
        let neighbors = classifier.kneighbors(references.narrow(0, 1, 1)).unwrap();
        assert_eq!(neighbors.distances.dtype(), DType::F64);
        assert_eq!(ints(neighbors.indices), [1, 2, 0]);
        let expected = [0.0, (1e8 + 1e-7) - 1e8, (1e8 + 3e-7) - 1e8];
        assert_eq!(values(neighbors.distances), expected);
    }
}

#[test]
fn half_precision_is_taken_as_f32() {
    for dtype in [DType::F16, DType::BF16] {
        for device in devices_with(dtype) {
            let references = Tensor::<2>::from_data([[0.0], [300.0]], (&device, dtype));
            let classifier = KnnClassifierConfig::new(2)
                .with_metric(KnnMetric::SquaredEuclidean)
                .fit(references.clone(), labels(&[0, 1], &device))
                .unwrap();
            let distances = classifier.kneighbors(references).unwrap().distances;
            assert_eq!(distances.dtype(), DType::F32);
            // 300 is a bf16 and an f16, its square is neither.
            assert_eq!(values(distances), [0.0, 90_000.0, 0.0, 90_000.0]);
        }
    }
}

#[test]
fn autodiff_tensors_are_accepted_and_answers_carry_no_graph() {
    for device in devices() {
        let device = device.autodiff();
        let references = matrix(&[vec![0.0], vec![10.0]], &device).require_grad();
        let classifier = KnnClassifierConfig::new(1)
            .fit(references.clone(), labels(&[0, 1], &device))
            .unwrap();
        let predictions = classifier.predict(references.clone()).unwrap();
        assert!(!predictions.device().is_autodiff());
        assert_eq!(ints(predictions), [0, 1]);
        let score = classifier.score(references, labels(&[0, 1], &device));
        assert_eq!(score.unwrap(), 1.0);
    }
}

#[test]
fn config_keeps_its_settings_as_json() {
    let config = KnnClassifierConfig::new(3)
        .with_metric(KnnMetric::Cosine)
        .with_weights(KnnWeights::InverseDistance)
        .with_max_pairs(1000);
    let text = serde_json::to_string(&config).unwrap();
    let read: KnnClassifierConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert_eq!((read.k, read.metric), (3, KnnMetric::Cosine));
}

#[test]
fn errors_name_value_and_rule() {
    for device in devices() {
        let references = matrix(&[vec![0.0, 0.0], vec![1.0, 1.0]], &device);
        let nan = matrix(&[vec![0.0, 0.0], vec![f32::NAN, 1.0]], &device);
        let no_rows = Tensor::<2>::zeros([0, 2], &device);
        let no_columns = Tensor::<2>::zeros([2, 0], &device);
        let two = labels(&[0, 1], &device);
        let config = KnnClassifierConfig::new(1);
        let fit = |config: KnnClassifierConfig| config.fit(references.clone(), two.clone());
        let inverse_products = config
            .clone()
            .with_metric(KnnMetric::InnerProduct)
            .with_weights(KnnWeights::InverseDistance);
        assert_messages! {
            fit(KnnClassifierConfig::new(0)) =>
                "k is 0; it must be at least 1 and at most 2, the number of references";
            fit(KnnClassifierConfig::new(3)) =>
                "k is 3; it must be at least 1 and at most 2, the number of references";
            fit(config.clone().with_max_pairs(0)) => "max_pairs is 0; it must be at least 1";
            fit(inverse_products) => "weights is InverseDistance and metric is InnerProduct; \
                an inner product is not a distance, so weights must be Uniform";
            config.fit(references.clone(), labels(&[0, 1, 2], &device)) =>
                "labels has 3 entries and references has 2 rows; the numbers must be equal";
            config.fit(no_rows.clone(), labels(&[], &device)) => "references has 0 rows; it must have at least 1";
            config.fit(no_columns, two.clone()) => "references has 0 columns; it must have at least 1";
            config.fit(nan.clone(), two.clone()) =>
                "references holds NaN in row 1, column 0; every value must be finite";
        }
        let classifier = fit(config).unwrap();
        let wide = Tensor::<2>::zeros([5, 3], &device);
        let wrong_shape = "queries has shape [5, 3] and references has shape [2, 2]; the second numbers must be equal";
        let wrong_value = "queries holds NaN in row 1, column 0; every value must be finite";
        assert_messages! {
            classifier.kneighbors(wide.clone()) => wrong_shape;
            classifier.predict(wide.clone()) => wrong_shape;
            classifier.predict_proba(wide) => wrong_shape;
            classifier.kneighbors(no_rows) => "queries has 0 rows; it must have at least 1";
            classifier.predict(nan) => wrong_value;
            classifier.score(references, labels(&[1], &device)) =>
                "labels has 1 entries and queries has 2 rows; the numbers must be equal";
        }
    }
}

#[test]
fn tensors_on_different_devices_are_an_error() {
    let devices = devices();
    for (first, second) in devices.iter().zip(devices.iter().skip(1)) {
        let config = KnnClassifierConfig::new(1);
        let references = || matrix(&[vec![0.0]], first);
        let message = |name: &str| {
            format!(
                "{name} is on {second:?} and references is on {first:?}; the devices must be equal"
            )
        };
        let fitted = config.fit(references(), labels(&[0], second));
        assert_message(fitted, message("labels"));
        let classifier = config.fit(references(), labels(&[0], first)).unwrap();
        let predicted = classifier.predict(matrix(&[vec![0.0]], second));
        assert_message(predicted, message("queries"));
        let score = classifier.score(references(), labels(&[0], second));
        assert_message(score, message("labels"));
    }
}

fn assert_near(name: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{name}: length");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() <= tolerance,
            "{name}[{i}]: {a} is not {e} within {tolerance}"
        );
    }
}
