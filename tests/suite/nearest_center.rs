//! [`NearestCenter`] against golden numbers, plain loops and each of its errors.

use crate::devices::{devices, devices_with, values};
use crate::fixtures::{assert_close, cases};
use crate::integers::{INTEGER_TYPES, extreme_values, typed_labels};
use crate::messages::{assert_message, assert_messages, extreme_rows};
use crate::plain::{answered, squared_distance};
use crate::tensors::{ints, labels, matrix, tracked, typed_matrix};
use burn::tensor::{DType, Tensor, TensorData};
use burn_center_loss::{CenterDistance, CenterLossConfig, NearestCenter, NearestCenterData};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    centers: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
    predictions: Vec<i64>,
    min_squared_distance: Vec<f64>,
    exact_tie_count: Vec<usize>,
    margin_to_second_squared_distance: Vec<f64>,
}

/// What a classifier answers: the nearest class of each query; squared distances, distances and shares of all classes.
#[derive(Debug, PartialEq)]
struct Given {
    classes: Vec<i64>,
    squared: Vec<Vec<f64>>,
    distances: Vec<Vec<f64>>,
    shares: Vec<Vec<f64>>,
}

impl Given {
    /// All answers, of which none may carry a graph.
    fn new(classifier: &NearestCenter, queries: &Tensor<2>) -> Self {
        let classes = classifier.predict(queries.clone()).unwrap();
        assert!(!classes.device().is_autodiff());
        Self {
            classes: ints(classes),
            squared: answered(classifier.squared_distances(queries.clone())),
            distances: answered(classifier.distances(queries.clone())),
            shares: answered(classifier.predict_proba(queries.clone())),
        }
    }
}

#[test]
fn golden_predictions_and_distances() {
    for case in cases::<Case>("nearest_center.json") {
        for device in devices() {
            let classifier = NearestCenter::from_centers(matrix(&case.centers, &device)).unwrap();
            let given = Given::new(&classifier, &matrix(&case.queries, &device));
            assert_eq!(given.classes, case.predictions, "{} {device:?}", case.name);
            for (query, row) in given.squared.iter().enumerate() {
                let name = format!("{} query {query} on {device:?}", case.name);
                let mut sorted = row.clone();
                sorted.sort_by(f64::total_cmp);
                let least = case.min_squared_distance[query];
                assert_close(&name, &sorted[..1], &[least], 1e-5);
                if let [first, second, ..] = sorted[..] {
                    let expected = case.margin_to_second_squared_distance[query];
                    let error = (second - first - expected).abs();
                    assert!(error <= 1e-5 * second.max(1.0), "{name}: {sorted:?}");
                }
                // Shares are a softmin of squared distances.
                let weights: Vec<f64> = row.iter().map(|d| (sorted[0] - d).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let expected: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
                assert_close(&name, &given.shares[query], &expected, 1e-5);
                if case.exact_tie_count[query] > 1 {
                    let ties = row.iter().filter(|d| **d == sorted[0]).count();
                    assert_eq!(ties, case.exact_tie_count[query], "{name}: ties");
                }
            }
        }
    }
}

#[test]
fn f64_keeps_its_precision_and_half_precision_is_taken_as_f32() {
    for (dtype, answer_dtype, centers, expected, tolerance) in [
        (DType::F64, DType::F64, [1e6, 1e6 + 1e-7], 1e-14, 1e-16),
        // 90 000 is beyond f16.
        (DType::F16, DType::F32, [0.0, 300.0], 90_000.0, 0.0),
    ] {
        for device in devices_with(dtype) {
            let centers = typed_matrix(&centers.map(|value| vec![value]), dtype, &device);
            let classifier = NearestCenter::from_centers(centers.clone()).unwrap();
            assert_eq!(ints(classifier.predict(centers.clone()).unwrap()), [0, 1]);
            let squared = classifier.squared_distances(centers).unwrap();
            assert_eq!(squared.dtype(), answer_dtype);
            let squared = values(squared);
            assert_eq!([squared[0], squared[3]], [0.0; 2]);
            for found in &squared[1..3] {
                assert!((found - expected).abs() <= tolerance, "{squared:?}");
            }
        }
    }
}

/// More pairs and differences than are held at one time.
#[test]
fn many_queries_are_answered_in_parts() {
    let value = |row: usize, column: usize| ((row * 7919 + column * 104_729) % 1009) as f64;
    let row = |row: usize| -> Vec<f64> { (0..4).map(|column| value(row, column)).collect() };
    let queries: Vec<Vec<f64>> = (0..4000).map(row).collect();
    let centers: Vec<Vec<f64>> = (500_000..500_300).map(row).collect();
    for device in devices() {
        let [centers_on, queries_on] =
            [&centers, &queries].map(|rows| typed_matrix(rows, DType::F32, &device));
        let classifier = NearestCenter::from_centers(centers_on).unwrap();
        let given = Given::new(&classifier, &queries_on);
        for (query, row) in queries.iter().enumerate() {
            let squared = centers.iter().map(|center| squared_distance(row, center));
            let expected: Vec<f64> = squared.collect();
            // Integers below 2^24, exact in f32.
            assert_eq!(given.squared[query], expected);
            let nearest = given.classes[query] as usize;
            assert!(expected[..nearest].iter().all(|d| *d > expected[nearest]));
            assert!(expected.iter().all(|d| *d >= expected[nearest]));
        }
    }
}

#[test]
fn errors_name_value_and_rule() {
    for device in devices() {
        let features = matrix(&[vec![0.0, 0.0], vec![1.0, 1.0]], &device);
        let labels = |values: &[i64]| labels(values, &device);
        let fit =
            |values: &[i64], classes| NearestCenter::fit(features.clone(), labels(values), classes);
        let infinite = matrix(&[vec![0.0, 0.0], vec![1.0, f32::INFINITY]], &device);
        let no_rows = Tensor::<2>::zeros([0, 2], &device);
        let no_columns = Tensor::<2>::zeros([2, 0], &device);

        let classifier = NearestCenter::from_centers(features.clone()).unwrap();
        let wide = Tensor::<2>::zeros([5, 3], &device);
        let wrong_shape = "queries has shape [5, 3] and centers has shape [2, 2]; the second numbers must be equal";
        assert_messages! {
            fit(&[0, 1], 0) => "num_classes is 0; it must be at least 1";
            fit(&[0, 1, 1], 2) => "labels has 3 entries and features has 2 rows; the numbers must be equal";
            fit(&[0, 2], 2) => "labels holds 2 at index 1; it must be in 0..2";
            fit(&[-1, 0], 2) => "labels holds -1 at index 0; it must be in 0..2";
            fit(&[0, 2], 4) => "labels holds no sample of class 1; each of the 4 classes needs one";
            NearestCenter::fit(infinite.clone(), labels(&[0, 1]), 2) =>
                "features holds inf in row 1, column 1; every value must be finite";
            NearestCenter::fit(no_rows.clone(), labels(&[]), 1) => "features has 0 rows; it must have at least 1";
            NearestCenter::from_centers(no_rows.clone()) => "centers has 0 rows; it must have at least 1";
            NearestCenter::from_centers(no_columns) => "centers has 0 columns; it must have at least 1";
            NearestCenter::from_centers(infinite.clone()) =>
                "centers holds inf in row 1, column 1; every value must be finite";
            classifier.predict(wide.clone()) => wrong_shape;
            classifier.squared_distances(wide.clone()) => wrong_shape;
            classifier.distances(wide.clone()) => wrong_shape;
            classifier.predict_proba(wide) => wrong_shape;
            classifier.predict(no_rows) => "queries has 0 rows; it must have at least 1";
            classifier.predict_proba(infinite) => "queries holds inf in row 1, column 1; every value must be finite";
            classifier.score(features.clone(), labels(&[1])) =>
                "labels has 1 entries and queries has 2 rows; the numbers must be equal";
        }
    }
}

#[test]
fn tensors_on_different_devices_are_an_error() {
    let devices = devices();
    for (first, second) in devices.iter().zip(devices.iter().skip(1)) {
        let centers = || matrix(&[vec![0.0]], first);
        let labels = || labels(&[0], second);
        let rule = "the devices must be equal";
        let message = |name: &str, other: &str| {
            format!("{name} is on {second:?} and {other} is on {first:?}; {rule}")
        };
        let classifier = NearestCenter::from_centers(centers()).unwrap();
        assert_messages! {
            classifier.predict(matrix(&[vec![0.0]], second)) => message("queries", "centers");
            NearestCenter::fit(centers(), labels(), 1) => message("labels", "features");
            classifier.score(centers(), labels()) => message("labels", "centers");
        }
    }
}

#[test]
fn a_center_loss_is_classified_by_what_it_measures() {
    for device in devices() {
        let centers = || matrix(&[vec![1.0, 0.0], vec![0.0, 100.0]], &device);
        let query = matrix(&[vec![1.0, 2.0]], &device);
        for (distance, class) in [(CenterDistance::Euclidean, 0), (CenterDistance::Cosine, 1)] {
            let config = CenterLossConfig::new(2, 2).with_distance(distance);
            let loss = config.init_with_centers(centers()).unwrap();
            let classifier = loss.nearest_center().unwrap();
            let given = Given::new(&classifier, &query);
            assert_eq!(given.classes, [class]);
            assert!(given.shares[0][class as usize] > 0.5, "{given:?}");
        }
    }
}

/// With autodiff and without.
#[test]
fn labels_of_every_value_of_every_integer_type_are_compared_or_refused() {
    let means = [15.0, 2.0, 90.0].map(|mean| vec![mean, -mean]);
    let rows = [1.0, 10.0, 3.0, 20.0, 90.0].map(|value| vec![value, -value]);
    for dtype in INTEGER_TYPES {
        let plain = devices_with(dtype).into_iter();
        for device in plain.flat_map(|device| [device.clone(), device.autodiff()]) {
            let [features, centers] = [&rows[..], &means].map(|rows| matrix(rows, &device));
            let features = tracked(features);
            let classifier = NearestCenter::from_centers(centers).unwrap();
            let given = Given::new(&classifier, &features);
            assert_eq!(given.classes, [1, 0, 1, 0, 2]);
            for value in extreme_values(dtype) {
                let labels = typed_labels(&[1, 0, 1, 0, value], dtype, &device);
                let fitted = NearestCenter::fit(features.clone(), labels.clone(), 3);
                let score = classifier.score(features.clone(), labels).unwrap();
                let right = if value == 2 { 5.0 } else { 4.0 };
                assert_eq!(score, right / 5.0, "{value} {dtype:?}");
                let message = match value {
                    2 => {
                        let fitted = fitted.unwrap();
                        assert_eq!(
                            values(fitted.centers()),
                            [15.0, -15.0, 2.0, -2.0, 90.0, -90.0]
                        );
                        assert_eq!(Given::new(&fitted, &features), given);
                        continue;
                    }
                    0 | 1 => {
                        "labels holds no sample of class 2; each of the 3 classes needs one".into()
                    }
                    _ => format!("labels holds {value} at index 4; it must be in 0..3"),
                };
                assert_message(fitted, message);
            }
        }
    }
}

/// Few centers, and more than are compared directly.
fn centers_and_queries(dtype: DType) -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<Vec<f64>>)> {
    extreme_rows(dtype, prop_oneof![1_usize..5, 30_usize..40].boxed())
}

/// Classifiers of the rows as centers, as directions and as features of up to two classes.
fn classifiers(rows: &Tensor<2>) -> [NearestCenter; 3] {
    let samples = rows.dims()[0];
    let alternating: Vec<i64> = (0..samples as i64).map(|i| i % 2).collect();
    let labels = labels(&alternating, &rows.device());
    [
        NearestCenter::from_centers(rows.clone()),
        NearestCenter::from_directions(rows.clone()),
        NearestCenter::fit(rows.clone(), labels, samples.min(2)),
    ]
    .map(Result::unwrap)
}

/// Asserts that all answers are numbers and agree with each other.
fn check_numbers(name: &str, given: &Given) {
    for (query, class) in given.classes.iter().enumerate() {
        let (squared, shares) = (&given.squared[query], &given.shares[query]);
        let name = format!("{name}: {squared:?} {shares:?}");
        let least = squared.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(squared[*class as usize], least, "{name}");
        let mut numbers = squared.iter().chain(&given.distances[query]);
        assert!(numbers.all(|value| *value >= 0.0), "{name}");
        let most = shares.iter().copied().fold(0.0, f64::max);
        assert_eq!(shares[*class as usize], most, "{name}");
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn answers_to_values_of_any_size_are_numbers_and_the_same_from_a_stored_classifier_on_every_device(
        rows in centers_and_queries(DType::F32),
        wide_rows in centers_and_queries(DType::F64),
    ) {
        for ((centers, queries), dtype, query_dtype) in [
            (&rows, DType::F32, DType::F32),
            (&rows, DType::F64, DType::F32),
            (&wide_rows, DType::F64, DType::F64),
        ] {
            for device in devices_with(dtype) {
                for classifier in classifiers(&typed_matrix(centers, dtype, &device)) {
                    let centers = values(classifier.centers());
                    prop_assert!(centers.iter().all(|value| value.is_finite()), "{:?}", centers);
                    let given = Given::new(&classifier, &typed_matrix(queries, query_dtype, &device));
                    check_numbers(&format!("{classifier:?} {dtype:?} on {device:?}"), &given);
                    let stored = serde_json::to_string(&classifier.to_data()).unwrap();
                    for other in devices_with(dtype) {
                        let data: NearestCenterData = serde_json::from_str(&stored).unwrap();
                        let loaded = NearestCenter::from_data(data, &other.clone().autodiff()).unwrap();
                        let again = Given::new(&loaded, &typed_matrix(queries, query_dtype, &other));
                        let again = format!("{again:?} {:?}", values(loaded.centers()));
                        // As text, which tells every number from every other, and zeros by their signs.
                        prop_assert_eq!(again, format!("{given:?} {centers:?}"));
                        prop_assert_eq!(loaded.to_data(), classifier.to_data());
                    }
                }
            }
        }
    }
}

#[test]
fn inconsistent_stored_classifiers_are_refused() {
    for device in devices() {
        let centers = matrix(&[vec![0.0, 4.0], vec![0.0, 0.0]], &device);
        let classifier = NearestCenter::from_directions(centers).unwrap();
        let right = serde_json::to_value(classifier.to_data()).unwrap();
        let tensor = |data: TensorData| serde_json::to_value(data).unwrap();
        let with = |key: &str, value: serde_json::Value| {
            let mut wrong = right.clone();
            wrong[key] = value;
            NearestCenter::from_data(serde_json::from_value(wrong).unwrap(), &device)
        };
        let centers = |data: TensorData| with("centers", tensor(data));
        assert_messages! {
            centers(TensorData::from([1.0_f32])) => "centers is stored with 1 dimensions; it must have 2";
            centers(TensorData::from([[1_i64]])) => "centers is stored as I64; it must be F32 or F64";
            centers(TensorData::from([[f32::INFINITY]])) =>
                "centers holds inf in row 0, column 0; every value must be finite";
            centers(TensorData::from([[0.25_f32]])) => "centers is stored with a row of length 0.25 at index 0; \
                directions must have length 1, or 0 for none";
            with("dtype", "F16".into()) => "centers is stored as F16; it must be F32 or F64";
        }
    }
}

/// A center or a query without a direction is at a cosine of 0 to all others.
#[test]
fn zero_rows_have_no_direction() {
    for device in devices() {
        let centers = [vec![-1.0, 0.0], vec![0.0, 0.0], vec![3.0, 4.0]];
        let classifier = NearestCenter::from_directions(matrix(&centers, &device)).unwrap();
        let queries = [[0.0, 0.0], [0.5, 0.0], [-0.1, -9.0], [0.0, 2.0]].map(Vec::from);
        let given = Given::new(&classifier, &matrix(&queries, &device));
        assert_eq!(given.classes, [0, 2, 0, 2]);
        assert_close("zero query", &given.squared[0], &[2.0; 3], 0.0);
        assert_close("other", &given.squared[1], &[4.0, 2.0, 0.8], 1e-6);
    }
}
