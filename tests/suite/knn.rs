//! [`KnnClassifier`](burn_center_loss::KnnClassifier) against golden numbers, plain loops and each of its errors.

use crate::devices::{devices, devices_with, values};
use crate::fixtures::cases;
use crate::integers::{INTEGER_TYPES, extreme_values, typed_labels, wide_values};
use crate::messages::{assert_message, assert_messages, extreme_rows};
use crate::plain::{answered, cosine, dot, squared_distance};
use crate::tensors::{ints, labels, matrix, tracked, typed_matrix};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_center_loss::KnnMetric::{self, Cosine, Euclidean, InnerProduct, SquaredEuclidean};
use burn_center_loss::KnnWeights::{self, InverseDistance, Uniform};
use burn_center_loss::{KnnClassifier, KnnClassifierConfig, KnnClassifierData, KnnError};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Deserialize;
use std::collections::BTreeSet;

const METRICS: [KnnMetric; 4] = [SquaredEuclidean, Euclidean, Cosine, InnerProduct];

/// Every metric with each way of voting that it has.
fn settings() -> Vec<(KnnMetric, KnnWeights)> {
    let votes = [Uniform, InverseDistance];
    let mut all = METRICS
        .map(|metric| votes.map(|votes| (metric, votes)))
        .concat();
    all.retain(|setting| *setting != (InnerProduct, InverseDistance));
    all
}

fn config(k: usize, metric: KnnMetric, votes: KnnWeights) -> KnnClassifierConfig {
    let config = KnnClassifierConfig::new(k).with_metric(metric);
    config.with_weights(votes)
}

/// What a classifier answers, one entry for each query.
#[derive(Debug)]
struct Given {
    indices: Vec<Vec<i64>>,
    distances: Vec<Vec<f64>>,
    predictions: Vec<i128>,
    shares: Vec<Vec<f64>>,
}

impl Given {
    /// All answers, of which none may carry a graph.
    fn new(classifier: &KnnClassifier, queries: &Tensor<2>) -> Self {
        let neighbors = classifier.kneighbors(queries.clone()).unwrap();
        let predictions = classifier.predict(queries.clone()).unwrap();
        assert!(!predictions.device().is_autodiff());
        let [_, k] = neighbors.indices.dims();
        let indices = ints(neighbors.indices);
        Self {
            indices: indices.chunks(k).map(<[i64]>::to_vec).collect(),
            distances: answered::<KnnError>(Ok(neighbors.distances)),
            predictions: wide_values(predictions),
            shares: answered(classifier.predict_proba(queries.clone())),
        }
    }
}

#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    classes: Vec<i128>,
    reference: Vec<Vec<f32>>,
    reference_labels: Vec<i64>,
    queries: Vec<Vec<f32>>,
    results: Vec<Answers>,
}

#[derive(Clone, Deserialize)]
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

#[derive(Clone, Deserialize)]
struct Votes {
    predictions: Vec<i128>,
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
    fn prediction(&self, query: usize, classes: &[i128]) -> i128 {
        let recorded = self.predictions[query];
        let shares = &self.predict_proba[query];
        let most = shares.iter().copied().fold(0.0, f64::max);
        let least = most - f64::from(f32::EPSILON) * most;
        let mut tied = classes.to_vec();
        let mut shares = shares.iter();
        tied.retain(|_| *shares.next().unwrap() >= least);
        assert!(tied.contains(&recorded));
        [recorded, tied[0]][usize::from(self.vote_tie[query])]
    }
}

#[test]
fn golden_neighbors_and_votes() {
    let cases = ["knn.json", "knn_d128.json"].map(cases::<Case>).concat();
    for case in &cases {
        for answers in &case.results {
            for device in devices() {
                check_golden(case, answers, &device);
            }
        }
    }
}

fn check_golden(case: &Case, answers: &Answers, device: &Device) {
    let metric = match answers.metric.as_str() {
        "euclidean" => Euclidean,
        "cosine" => Cosine,
        other => panic!("{}: metric {other} is unknown to this test", case.name),
    };
    let queries = matrix(&case.queries, device);
    for (votes, expected, tolerance) in [
        (Uniform, &answers.uniform, 1e-6),
        (InverseDistance, &answers.distance, 2e-3),
    ] {
        let config = config(answers.k, metric, votes);
        let references = matrix(&case.reference, device);
        let fitted = config.fit(references, labels(&case.reference_labels, device));
        let classifier = fitted.unwrap();
        let given = Given::new(&classifier, &queries);
        for query in 0..case.queries.len() {
            let name = format!("{} {config} on {device:?}, query {query}", case.name);
            assert_eq!(classifier.classes(), case.classes, "{name}");
            let distances = &given.distances[query];
            assert_near(&name, distances, &answers.neighbor_distances[query], 2e-6);
            if answers.tie_at_k_boundary[query] == 0 {
                let sets = [&given.indices, &answers.neighbor_indices];
                let [found, expected] = sets.map(|rows| BTreeSet::from_iter(&rows[query]));
                assert_eq!(found, expected, "{name}");
            }
            let rounding_decides = expected.rounding_decides_vote.get(query) == Some(&1);
            if answers.tie_at_k_boundary_changes_labels[query] == 0 && !rounding_decides {
                let prediction = expected.prediction(query, &case.classes);
                assert_eq!(given.predictions[query], prediction, "{name}");
                let shares = &given.shares[query];
                assert_near(&name, shares, &expected.predict_proba[query], tolerance);
            }
        }
    }
}

/// References, queries, `k` and `max_pairs`.
type Problem = (Vec<Vec<f64>>, Vec<Vec<f64>>, usize, usize);

/// Up to 12 columns, so that every way of searching answers some.
fn problems(value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Problem> {
    (1_usize..=12, 1_usize..200).prop_flat_map(move |(columns, count)| {
        let row = prop::collection::vec(value.clone().prop_map(f64::from), columns);
        (
            prop::collection::vec(row.clone(), count),
            prop::collection::vec(row, 1..8),
            prop_oneof![1..=count.min(8), 1..=count],
            prop_oneof![1_usize..2000, Just(1 << 22)],
        )
    })
}

fn distance(metric: KnnMetric, x: &[f64], y: &[f64]) -> f64 {
    match metric {
        SquaredEuclidean => squared_distance(x, y),
        Euclidean => squared_distance(x, y).sqrt(),
        InnerProduct => dot(x, y),
        Cosine => 1.0 - cosine(x, y),
    }
}

/// Asserts that the answers are those of a plain loop in f64: nearest first, equal distances by index.
///
/// Where two distances differ by no more than `near_tie`, f64 rounding in one of the two computations may have swapped
/// them: there any order of the references concerned passes. With `near_tie` 0 the order must be the same.
fn check_against_brute_force(problem: &Problem, metric: KnnMetric, near_tie: f64, device: &Device) {
    let (references, queries, k, max_pairs) = problem;
    // Labels that are not in the order of the references: neighbors must not depend on them.
    let mixed = (0..references.len() as i64).map(|i| (i * 7) % 5 - 2);
    let mixed: Vec<i64> = mixed.collect();
    let config = config(*k, metric, Uniform).with_max_pairs(*max_pairs);
    let [rows, asked] = [references, queries].map(|rows| typed_matrix(rows, DType::F32, device));
    let classifier = config.fit(rows, labels(&mixed, device)).unwrap();
    let neighbors = classifier.kneighbors(asked).unwrap();
    let (distances, indices) = (values(neighbors.distances), ints(neighbors.indices));
    for (query, row) in queries.iter().enumerate() {
        let name = format!("{metric:?} query {query} on {device:?}");
        let (distances, indices) = (&distances[query * k..], &indices[query * k..][..*k]);
        let all = references.iter().map(|other| distance(metric, row, other));
        let all: Vec<f64> = all.collect();
        let sign = if metric == InnerProduct { -1.0 } else { 1.0 };
        let key = |index: i64| sign * all[index as usize];
        let mut nearest: Vec<i64> = (0..references.len() as i64).collect();
        nearest.sort_by(|a, b| key(*a).partial_cmp(&key(*b)).unwrap());
        let unique: BTreeSet<_> = indices.iter().collect();
        assert_eq!(unique.len(), *k, "{name}: {indices:?}");
        if near_tie == 0.0 {
            assert_eq!(indices, &nearest[..*k], "{name}");
        }
        for place in 0..*k {
            let name = format!("{name}, place {place}, reference {}", indices[place]);
            let [found, expected] = [indices, &nearest].map(|order| all[order[place] as usize]);
            assert_near(&name, &[found], &[expected], near_tie);
            let tolerance = 1e-6 * expected.abs() + near_tie;
            assert_near(&name, &distances[place..=place], &[expected], tolerance);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sums of `exact` are exact, so that equal distances are equal and go by index: small integers, a cell far from the origin that
    /// the expanded square cannot tell apart, and tight clusters whose distances are small against the rounding of keys.
    #[test]
    fn answers_equal_brute_force(
        exact in prop_oneof![
            problems((-2_i8..=2).prop_map(f32::from)).boxed(),
            problems((0_i16..64).prop_map(|step| 10_000.0 + f32::from(step) / 1024.0)).boxed(),
            problems((0_i16..4, -3_i16..=3).prop_map(|(cluster, step)| {
                f32::from(cluster) * 1000.0 + f32::from(step) / 1024.0
            }))
            .boxed(),
        ],
        floats in prop_oneof![
            problems(-10.0_f32..10.0).boxed(),
            problems((-2_i8..=2).prop_map(f32::from)).boxed(),
        ],
    ) {
        for device in devices() {
            check_against_brute_force(&exact, SquaredEuclidean, 0.0, &device);
            for metric in METRICS {
                check_against_brute_force(&floats, metric, 1e-12, &device);
            }
        }
    }
}

/// Asserts the answers to the rows of queries: indices and distances of the neighbors, and shares, each query's after the
/// other's, within tolerances of distances and of shares; and that predicted is the lowest label with the greatest share. With
/// autodiff and without.
fn check_worked(
    (dtype, answer_dtype, metric, votes): (DType, DType, KnnMetric, KnnWeights),
    (references, classes): (&[Vec<f64>], &[i64]),
    queries: &[Vec<f64>],
    (indices, distances, shares): (&[i64], &[f64], &[f64]),
    tolerances: (f64, f64),
) {
    let config = config(indices.len() / queries.len(), metric, votes);
    let plain = devices_with(dtype).into_iter();
    for device in plain.flat_map(|device| [device.clone(), device.autodiff()]) {
        let name = format!("{config} {references:?} on {device:?}");
        let [rows, asked] = [references, queries].map(|rows| typed_matrix(rows, dtype, &device));
        let fitted = config.fit(tracked(rows), labels(classes, &device));
        let classifier = fitted.unwrap();
        let given = Given::new(&classifier, &asked);
        assert_eq!(given.indices.concat(), indices, "{name}");
        assert_near(&name, &given.distances.concat(), distances, tolerances.0);
        assert_near(&name, &given.shares.concat(), shares, tolerances.1);
        let columns = classifier.classes().len();
        for (shares, prediction) in shares.chunks(columns).zip(given.predictions) {
            let most = shares.iter().copied().fold(0.0, f64::max);
            let first = shares.iter().position(|share| *share == most).unwrap();
            assert_eq!(prediction, classifier.classes()[first], "{name}");
        }
        let predictions = classifier.predict(asked.clone()).unwrap();
        assert_eq!(classifier.score(asked.clone(), predictions).unwrap(), 1.0);
        let neighbors = classifier.kneighbors(asked).unwrap();
        assert_eq!(neighbors.distances.dtype(), answer_dtype, "{name}");
    }
}

macro_rules! check_worked {
    ($($dtype:ident to $answer:ident $metric:ident $votes:ident: [$($reference:expr),*] labelled $labels:expr,
        queries [$($query:expr),*] => $indices:expr, at $distances:expr, shares $shares:expr, within $tolerances:expr;)*) => {
        $(check_worked(
            (DType::$dtype, DType::$answer, $metric, $votes), (&[$($reference.to_vec()),*], &$labels),
            &[$($query.to_vec()),*], (&$indices, &$distances, &$shares), $tolerances,
        );)*
    };
}

#[test]
fn a_tied_vote_goes_to_the_lowest_label() {
    check_worked! {
        F32 to F32 Euclidean Uniform: [[1.0], [-1.0], [2.0], [-2.0]] labelled [9, -4, -4, 9], queries [[0.0]]
            => [0, 1, 2, 3], at [1.0, 1.0, 2.0, 2.0], shares [0.5, 0.5], within (0.0, 0.0);
        F32 to F32 Euclidean InverseDistance: [[1.0], [-1.0], [2.0], [-2.0]] labelled [9, -4, -4, 9], queries [[0.0]]
            => [0, 1, 2, 3], at [1.0, 1.0, 2.0, 2.0], shares [0.5, 0.5], within (0.0, 0.0);
    }
}

#[test]
fn inverse_distance_gives_the_near_more_weight() {
    check_worked! {
        F32 to F32 Euclidean InverseDistance: [[1.0], [-4.0], [4.0]] labelled [5, 2, 2], queries [[0.0]]
            => [0, 1, 2], at [1.0, 4.0, 4.0], shares [1.0 / 3.0, 2.0 / 3.0], within (0.0, 1e-6);
        F32 to F32 SquaredEuclidean InverseDistance: [[1.0], [-4.0], [4.0]] labelled [5, 2, 2], queries [[0.0]]
            => [0, 1, 2], at [1.0, 16.0, 16.0], shares [1.0 / 9.0, 8.0 / 9.0], within (0.0, 1e-6);
        // At distance zero only equal references vote.
        F32 to F32 Euclidean InverseDistance:
            [[100.0], [100.000_01], [100.000_01]] labelled [1, 0, 0], queries [[100.0], [100.000_01]]
            => [0, 1, 2, 1, 2, 0], at [0.0, 0.5_f64.powi(17), 0.5_f64.powi(17), 0.0, 0.0, 0.5_f64.powi(17)],
            shares [0.0, 1.0, 1.0, 0.0], within (0.0, 0.0);
    }
}

#[test]
fn small_and_large_distances_keep_their_precision() {
    let (ties, infinity) = ([1.0 / 4.0; 4], f64::INFINITY);
    check_worked! {
        // Rows of equal direction are at cosine distance zero, whatever their lengths; small angles are kept.
        F32 to F32 Cosine Uniform: [[0.0, 0.0], [1.0, 1e-5], [3e30, 0.0], [-1e-30, 0.0]] labelled [0, 1, 2, 3],
            queries [[2.0, 0.0]] => [2, 1, 0, 3], at [0.0, 5e-11, 1.0, 2.0], shares ties, within (5e-16, 1e-6);
        F64 to F64 Euclidean Uniform: [[1e8 + 3e-7], [1e8], [1e8 + 1e-7], [-1e8]] labelled [0, 1, 2, 2], queries [[1e8]]
            => [1, 2, 0], at [0.0, (1e8 + 1e-7) - 1e8, (1e8 + 3e-7) - 1e8], shares [1.0 / 3.0; 3], within (0.0, 1e-6);
        // Half precision is taken as f32: 300 is a bf16 and an f16, its square is neither.
        F16 to F32 SquaredEuclidean Uniform: [[0.0], [300.0]] labelled [0, 1], queries [[0.0], [300.0]]
            => [0, 1, 1, 0], at [0.0, 90_000.0, 0.0, 90_000.0], shares [0.5; 4], within (0.0, 0.0);
        BF16 to F32 SquaredEuclidean Uniform: [[0.0], [300.0]] labelled [0, 1], queries [[0.0], [300.0]]
            => [0, 1, 1, 0], at [0.0, 90_000.0, 0.0, 90_000.0], shares [0.5; 4], within (0.0, 0.0);
        // Inner products that overflow are sums or infinities of their sign.
        F64 to F64 InnerProduct Uniform: [[1e200, -1e200], [1e200, 1e200], [-1e200, 0.0], [1e108, 0.0], [1.0, -2.0]]
            labelled [0; 5], queries [[1e200, 1e200]]
            => [1, 3, 0, 4, 2], at [infinity, 1e108 * 1e200, 0.0, -1e200, -infinity], shares [1.0], within (0.0, 0.0);
        // Euclidean distances that overflow are infinite and tie by index.
        F64 to F64 Euclidean InverseDistance: [[-1e200], [1e200], [0.0], [-2e200]] labelled [0, 1, 2, 3], queries [[1e200]]
            => [1, 0, 2, 3], at [0.0, infinity, infinity, infinity], shares [0.0, 1.0, 0.0, 0.0], within (0.0, 0.0);
        F64 to F64 Euclidean InverseDistance: [[-1e200], [1e200], [0.0], [-2e200]] labelled [0, 1, 2, 3], queries [[-1.5e200]]
            => [0, 1, 2, 3], at [infinity; 4], shares ties, within (0.0, 1e-6);
    }
}

/// Asserts that all answers are numbers, in order, and shares of one.
fn check_numbers(name: &str, metric: KnnMetric, given: &Given) {
    let sign = if metric == InnerProduct { -1.0 } else { 1.0 };
    for (distances, shares) in given.distances.iter().zip(&given.shares) {
        let name = format!("{name}: {distances:?} {shares:?}");
        let in_order = |pair: &[f64]| sign * pair[0] <= sign * pair[1];
        // A NaN is in no order.
        let are_in_order = distances.windows(2).all(in_order);
        assert!(are_in_order && !distances[0].is_nan(), "{name}");
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The least, the greatest and neighbouring values of every integer type.
    #[test]
    fn extreme_labels_of_every_integer_type_come_back_as_they_were(
        chosen in prop::collection::vec(any::<Index>(), 1..30),
    ) {
        for dtype in INTEGER_TYPES {
            let values: Vec<i128> = chosen.iter().map(|index| *index.get(&extreme_values(dtype))).collect();
            let classes: Vec<i128> = BTreeSet::from_iter(values.clone()).into_iter().collect();
            for device in devices_with(dtype) {
                let references: Vec<Vec<f32>> = (0..values.len()).map(|i| vec![i as f32]).collect();
                let references = matrix(&references, &device);
                let labels = typed_labels(&values, dtype, &device);
                let classifier = KnnClassifierConfig::new(1).fit(references.clone(), labels.clone()).unwrap();
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

    #[test]
    fn answers_to_values_of_any_size_are_numbers_and_the_same_from_a_stored_classifier_on_every_device(
        rows in extreme_rows(DType::F32, 1_usize..40),
        wide_rows in extreme_rows(DType::F64, 1_usize..40),
        share: Index,
        chosen in prop::collection::vec(any::<Index>(), 40),
        max_pairs in prop_oneof![Just(1000_usize), Just(1 << 22)],
    ) {
        for ((references, queries), dtype, label_dtype) in
            [(rows, DType::F32, DType::I8), (wide_rows, DType::F64, DType::U64)]
        {
            let values = chosen[..references.len()].iter().map(|index| *index.get(&extreme_values(label_dtype)));
            let values: Vec<i128> = values.collect();
            let devices = devices_with(dtype);
            let settings_of = |device| settings().into_iter().map(move |setting| (device, setting));
            for (device, (metric, votes)) in devices.iter().flat_map(settings_of) {
                let config = config(1 + share.index(references.len()), metric, votes).with_max_pairs(max_pairs);
                let labels = typed_labels(&values, label_dtype, device);
                let classifier = config.fit(typed_matrix(&references, dtype, device), labels).unwrap();
                let given = Given::new(&classifier, &typed_matrix(&queries, dtype, device));
                check_numbers(&format!("{config} {dtype:?} on {device:?}"), metric, &given);
                let stored = stored(&classifier);
                for other in devices.iter().filter(|other| other.supports_dtype(label_dtype)) {
                    let loaded = loaded(&stored, &other.clone().autodiff()).unwrap();
                    prop_assert_eq!(loaded.classes(), classifier.classes());
                    // As text, which tells every number from every other, and zeros by their signs.
                    let again = Given::new(&loaded, &typed_matrix(&queries, dtype, other));
                    prop_assert_eq!(format!("{again:?}"), format!("{given:?}"));
                    prop_assert_eq!(&self::stored(&loaded), &stored);
                }
            }
        }
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

#[test]
fn inconsistent_stored_classifiers_are_refused() {
    for device in devices() {
        let references = matrix(&[vec![0.0, 4.0], vec![3.0, 0.0], vec![0.0, 0.0]], &device);
        let stored_of = |metric| {
            let fitted =
                config(2, metric, Uniform).fit(references.clone(), labels(&[1, 2, 3], &device));
            stored(&fitted.unwrap())
        };
        let right = stored_of(Euclidean);
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

        let mut wrong = stored_of(Cosine);
        assert!(loaded(&wrong, &device).is_ok());
        wrong["references"] = tensor(TensorData::from([[1.0_f64, 0.0], [0.0, 2.0], [0.0, 0.0]]));
        let message = "references is stored with a row of length 2 at index 1; directions must have length 1, or 0 for none";
        assert_message(loaded(&wrong, &device), message);
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
fn errors_name_value_and_rule() {
    for device in devices() {
        let references = matrix(&[vec![0.0, 0.0], vec![1.0, 1.0]], &device);
        let nan = matrix(&[vec![0.0, 0.0], vec![f32::NAN, 1.0]], &device);
        let no_rows = Tensor::<2>::zeros([0, 2], &device);
        let no_columns = Tensor::<2>::zeros([2, 0], &device);
        let two = labels(&[0, 1], &device);
        let config = KnnClassifierConfig::new(1);
        let fit = |config: KnnClassifierConfig| config.fit(references.clone(), two.clone());
        let inverse_products = self::config(1, InnerProduct, InverseDistance);
        assert_messages! {
            fit(KnnClassifierConfig::new(0)) => "k is 0; it must be at least 1 and at most 2, the number of references";
            fit(KnnClassifierConfig::new(3)) => "k is 3; it must be at least 1 and at most 2, the number of references";
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
        let rule = "the devices must be equal";
        let message =
            |name: &str| format!("{name} is on {second:?} and references is on {first:?}; {rule}");
        let classifier = config.fit(references(), labels(&[0], first)).unwrap();
        assert_messages! {
            config.fit(references(), labels(&[0], second)) => message("labels");
            config.fit_weighted(references(), labels(&[0], first), Tensor::ones([1], second)) =>
                message("sample_weights");
            classifier.predict(matrix(&[vec![0.0]], second)) => message("queries");
            classifier.score(references(), labels(&[0], second)) => message("labels");
        }
    }
}

fn assert_near(name: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{name}: length");
    let near = |(a, e): (&f64, &f64)| a == e || (a - e).abs() <= tolerance;
    let are_near = actual.iter().zip(expected).all(near);
    assert!(
        are_near,
        "{name}: {actual:?} is not {expected:?} within {tolerance}"
    );
}

/// Shares of the votes of the k nearest references with a weight above 0, by a plain loop in f64.
fn weighted_shares(
    (references, labels, weights): (&[Vec<f64>], &[i64], &[f64]),
    classes: &[i128],
    query: &[f64],
    k: usize,
    votes: KnnWeights,
) -> Vec<f64> {
    let mut nearest: Vec<(f64, usize)> = vec![];
    for (index, reference) in references.iter().enumerate() {
        if weights[index] > 0.0 {
            nearest.push((squared_distance(query, reference), index));
        }
    }
    nearest.sort_by(|a, b| a.partial_cmp(b).unwrap());
    nearest.truncate(k);
    let any_at_zero = nearest[0].0 == 0.0;
    let mut sums = vec![0.0; classes.len()];
    for (distance, index) in nearest {
        let vote = match votes {
            Uniform => 1.0,
            InverseDistance if any_at_zero => f64::from(u8::from(distance == 0.0)),
            InverseDistance => 1.0 / distance,
        };
        let label = i128::from(labels[index]);
        sums[classes.binary_search(&label).unwrap()] += vote * weights[index];
    }
    let total: f64 = sums.iter().sum();
    sums.iter().map(|sum| sum / total).collect()
}

/// Rows of small integers, so that distances are exact and often equal, with a label and a weight each.
fn weighted_references() -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<i64>, Vec<f64>)> {
    let weight = prop_oneof![
        2 => Just(0.0),
        2 => Just(1.0),
        1 => prop_oneof![Just(1e-15), Just(1e15)],
        3 => 0.001_f64..10.0,
    ];
    (1_usize..=12, 1_usize..40).prop_flat_map(move |(columns, count)| {
        let row = prop::collection::vec((-2_i8..=2).prop_map(f64::from), columns);
        let weights = prop::collection::vec(weight.clone(), count)
            .prop_filter("a weight above 0", |weights| {
                weights.iter().any(|w| *w > 0.0)
            });
        (
            prop::collection::vec(row, count),
            prop::collection::vec(-2_i64..3, count),
            weights,
        )
    })
}

fn weight_tensor(weights: &[f64], dtype: DType, device: &Device) -> Tensor<1> {
    let data = TensorData::new(weights.to_vec(), [weights.len()]);
    Tensor::from_data(data, (device, dtype))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weighted_votes_equal_brute_force_and_those_of_a_stored_classifier(
        (references, classes, weights) in weighted_references(),
        query: Index,
        k: Index,
    ) {
        let mut queries = references.clone();
        queries.push(references[query.index(references.len())].iter().map(|value| value + 0.5).collect());
        let voters: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0.0).collect();
        let k = 1 + k.index(voters.len());
        for device in devices_with(DType::F64) {
            for votes in [Uniform, InverseDistance] {
                let config = config(k, SquaredEuclidean, votes);
                let name = format!("{config} {references:?} {classes:?} {weights:?} on {device:?}");
                let rows = typed_matrix(&references, DType::F64, &device);
                let all = (rows, labels(&classes, &device), weight_tensor(&weights, DType::F64, &device));
                let classifier = config.fit_weighted(all.0, all.1, all.2.clone()).unwrap();
                let asked = typed_matrix(&queries, DType::F64, &device);
                let given = Given::new(&classifier, &asked);
                for (query, row) in queries.iter().enumerate() {
                    let data = (&references[..], &classes[..], &weights[..]);
                    let expected = weighted_shares(data, classifier.classes(), row, k, votes);
                    assert_near(&name, &given.shares[query], &expected, 1e-12);
                    let most = given.shares[query].iter().copied().fold(0.0, f64::max);
                    let first = given.shares[query].iter().position(|share| *share == most).unwrap();
                    prop_assert_eq!(given.predictions[query], classifier.classes()[first]);
                }
                let stored = stored(&classifier);
                let loaded = loaded(&stored, &device).unwrap();
                prop_assert_eq!(format!("{:?}", Given::new(&loaded, &asked)), format!("{given:?}"));
                prop_assert_eq!(self::stored(&loaded), stored);

                // References of weight 0 count as not given.
                let kept = |values: &[f64]| voters.iter().map(|i| values[*i]).collect::<Vec<_>>();
                let rows: Vec<_> = voters.iter().map(|i| references[*i].clone()).collect();
                let rows = typed_matrix(&rows, DType::F64, &device);
                let kept_labels: Vec<i64> = voters.iter().map(|i| classes[*i]).collect();
                let kept_labels = labels(&kept_labels, &device);
                let kept_weights = weight_tensor(&kept(&weights), DType::F64, &device);
                let alone = config.fit_weighted(rows.clone(), kept_labels.clone(), kept_weights);
                let alone = Given::new(&alone.unwrap(), &asked);
                prop_assert_eq!(&alone.shares, &given.shares);
                let numbers = alone.indices.concat().into_iter().map(|i| voters[i as usize] as i64);
                prop_assert_eq!(numbers.collect::<Vec<_>>(), given.indices.concat());

                // Weights that are all 1 change nothing.
                let ones = Tensor::ones([voters.len()], &device);
                let ones = config.fit_weighted(rows.clone(), kept_labels.clone(), ones).unwrap();
                let unweighted = config.fit(rows, kept_labels).unwrap();
                let [ones, unweighted] = [ones, unweighted].map(|fitted| Given::new(&fitted, &asked));
                prop_assert_eq!(format!("{ones:?}"), format!("{unweighted:?}"));
            }
        }
    }
}

#[test]
fn weights_decide_votes_ties_and_distance_zero() {
    for device in devices() {
        let predictions = |votes, k, weights: [f64; 4]| {
            let references = matrix(&[vec![0.0], vec![0.0], vec![1.0], vec![2.0]], &device);
            let weights = weight_tensor(&weights, DType::F32, &device);
            let config = config(k, Euclidean, votes);
            let fitted = config.fit_weighted(references, labels(&[9, 4, 4, 9], &device), weights);
            let query = matrix(&[vec![0.0]], &device);
            ints(fitted.unwrap().predict(query).unwrap())[0]
        };
        // 9 by the weight of the last reference; a tie, of which the lowest label wins; 9 by the first alone.
        assert_eq!(predictions(Uniform, 4, [1.0, 1.0, 1.0, 2.0]), 9);
        assert_eq!(predictions(Uniform, 4, [1.0, 1.5, 0.5, 1.0]), 4);
        assert_eq!(predictions(Uniform, 1, [1e-15, 0.0, 1e15, 1e15]), 9);
        // At distance zero no other neighbor counts, however heavy, unless all there have weight 0.
        assert_eq!(predictions(InverseDistance, 4, [2.0, 1.0, 9.0, 9.0]), 9);
        assert_eq!(predictions(InverseDistance, 4, [1.0, 1.0, 9.0, 9.0]), 4);
        assert_eq!(predictions(InverseDistance, 2, [0.0, 0.0, 1.0, 1.0]), 4);
        assert_eq!(predictions(InverseDistance, 2, [0.0, 0.0, 1.0, 3.0]), 9);
    }
}

#[test]
fn errors_of_weights_name_value_and_rule() {
    for device in devices() {
        let fit = |k, weights: &[f64]| {
            let references = matrix(&[vec![0.0], vec![1.0], vec![2.0]], &device);
            let weights = weight_tensor(weights, DType::F32, &device);
            KnnClassifierConfig::new(k).fit_weighted(
                references,
                labels(&[0, 1, 1], &device),
                weights,
            )
        };
        let rule = "it must be 0 or in 1e-15..=1e15";
        let most = |k, voters| {
            format!(
                "k is {k}; it must be at least 1 and at most {voters}, the number of references with a weight above 0"
            )
        };
        assert_messages! {
            fit(1, &[1.0, 2.0]) =>
                "sample_weights has 2 entries and references has 3 rows; the numbers must be equal";
            fit(1, &[1.0, -0.5, 2.0]) => format!("sample_weights holds -0.5 at index 1; {rule}");
            fit(1, &[1.0, 1.0, f64::NAN]) => format!("sample_weights holds NaN at index 2; {rule}");
            fit(1, &[f64::INFINITY, 1.0, 1.0]) => format!("sample_weights holds inf at index 0; {rule}");
            fit(1, &[2.0_f64.powi(60), 1.0, 1.0]) =>
                format!("sample_weights holds 1152921504606847000 at index 0; {rule}");
            fit(1, &[0.0, 0.0, 0.0]) => most(1, 0);
            fit(3, &[1.0, 0.0, 1.0]) => most(3, 2);
            fit(0, &[1.0, 0.0, 1.0]) => most(0, 2);
        }
        // The least and the greatest weight are within, in every float type.
        assert!(fit(3, &[1e-15, 1e15, 1.0]).is_ok());

        let right = stored(&fit(2, &[1.0, 0.0, 4.0]).unwrap());
        let with = |weights: TensorData| {
            let mut wrong = right.clone();
            wrong["sample_weights"] = serde_json::to_value(weights).unwrap();
            loaded(&wrong, &device)
        };
        assert!(with(TensorData::from([2.0_f64, 0.0, 0.0, 4.0])).is_ok());
        assert_messages! {
            with(TensorData::from([1.0_f64, 1.0, 1.0])) =>
                "sample_weights is stored with 3 values above 0 for 2 references; the numbers must be equal";
            with(TensorData::from([[1.0_f64, 1.0]])) => "sample_weights is stored with 2 dimensions; it must have 1";
            with(TensorData::from([1.0_f64, f64::NAN])) => format!("sample_weights holds NaN at index 1; {rule}");
        }
        // Data without weights, as before there were any.
        let mut without = stored(&fit(2, &[1.0, 1.0, 1.0]).unwrap());
        without.as_object_mut().unwrap().remove("sample_weights");
        assert!(loaded(&without, &device).is_ok());
    }
}
