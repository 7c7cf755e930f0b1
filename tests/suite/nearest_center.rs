//! [`NearestCenter`] against golden numbers, plain loops and each of its errors.

use crate::devices::{devices, devices_with, values};
use crate::fixtures::{assert_close, cases};
use crate::integers::{INTEGER_TYPES, extreme_values, typed_labels};
use crate::messages::{assert_message, assert_messages, extreme_rows};
use crate::tensors::{ints, matrix, typed_matrix};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
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

#[test]
fn golden_predictions_and_distances() {
    for case in cases::<Case>("nearest_center.json") {
        for device in devices() {
            let classifier = NearestCenter::from_centers(matrix(&case.centers, &device)).unwrap();
            let queries = matrix(&case.queries, &device);

            let predictions = ints(classifier.predict(queries.clone()).unwrap());
            assert_eq!(predictions, case.predictions, "{} {device:?}", case.name);

            let squared = values(classifier.squared_distances(queries).unwrap());
            let classes = case.centers.len();
            for (query, row) in squared.chunks(classes).enumerate() {
                let mut sorted = row.to_vec();
                sorted.sort_by(f64::total_cmp);
                let name = format!("{} query {query} on {device:?}", case.name);
                assert_close(
                    &name,
                    &sorted[..1],
                    &[case.min_squared_distance[query]],
                    1e-5,
                );
                if classes > 1 {
                    let scale = sorted[1].max(1.0);
                    let margin = sorted[1] - sorted[0];
                    assert!(
                        (margin - case.margin_to_second_squared_distance[query]).abs()
                            <= 1e-5 * scale,
                        "{name}: margin {margin}"
                    );
                }
                if case.exact_tie_count[query] > 1 {
                    let ties = row.iter().filter(|d| **d == sorted[0]).count();
                    assert_eq!(ties, case.exact_tie_count[query], "{name}: ties");
                }
            }
        }
    }
}

#[test]
fn fit_takes_class_means_whatever_the_label_type() {
    for dtype in [DType::I64, DType::I32, DType::U8] {
        for device in devices_with(dtype) {
            let features = Tensor::<2>::from_floats(
                [[1.0, 0.0], [10.0, 10.0], [3.0, 4.0], [20.0, 20.0]],
                &device,
            );
            let labels = Tensor::<1, Int>::from_data([1, 0, 1, 0], (&device, dtype));
            let classifier = NearestCenter::fit(features.clone(), labels.clone(), 2).unwrap();
            assert_eq!(values(classifier.centers()), [15.0, 15.0, 2.0, 2.0]);
            assert_eq!(
                ints(classifier.predict(features.clone()).unwrap()),
                [1, 0, 1, 0]
            );
            assert_eq!(classifier.score(features, labels).unwrap(), 1.0);
        }
    }
}

#[test]
fn exact_ties_go_to_the_lowest_class() {
    for device in devices() {
        let centers =
            Tensor::<2>::from_floats([[9.0, 9.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], &device);
        let classifier = NearestCenter::from_centers(centers).unwrap();
        let queries =
            Tensor::<2>::from_floats([[0.0, 0.0], [-1.0, 1.0], [0.0, 5.0], [5.0, 5.0]], &device);
        assert_eq!(ints(classifier.predict(queries).unwrap()), [1, 2, 3, 0]);
    }
}

#[test]
fn f64_centers_keep_their_precision() {
    for device in devices_with(DType::F64) {
        let rows = TensorData::from([[1e6], [1e6 + 1e-7]]);
        let centers = Tensor::<2>::from_data(rows.clone(), (&device, DType::F64));
        let classifier = NearestCenter::from_centers(centers.clone()).unwrap();
        assert_eq!(ints(classifier.predict(centers.clone()).unwrap()), [0, 1]);
        let squared = classifier.squared_distances(centers).unwrap();
        assert_eq!(squared.dtype(), DType::F64);
        assert!((values(squared)[1] - 1e-14).abs() < 1e-16);
    }
}

#[test]
fn half_precision_queries_are_taken_as_f32() {
    for device in devices_with(DType::F16) {
        let centers = Tensor::<2>::from_data([[0.0, 300.0], [0.0, 0.0]], (&device, DType::F16));
        let classifier = NearestCenter::from_centers(centers.clone()).unwrap();
        let squared = classifier.squared_distances(centers).unwrap();
        assert_eq!(squared.dtype(), DType::F32);
        // 90 000 is beyond f16.
        assert_eq!(values(squared), [0.0, 90_000.0, 90_000.0, 0.0]);
    }
}

#[test]
fn probabilities_are_a_softmin_of_squared_distances() {
    for device in devices() {
        let centers = [[0.0_f64, 0.5], [1.0, -1.0], [2.0, 0.25]];
        let queries = [[0.5_f64, 0.5], [3.0, -2.0]];
        let classifier =
            NearestCenter::from_centers(Tensor::from_data(centers, (&device, DType::F32))).unwrap();
        let actual = classifier
            .predict_proba(Tensor::from_data(queries, (&device, DType::F32)))
            .unwrap();
        let mut expected = Vec::new();
        for query in queries {
            let weights = centers.map(|center| {
                let squared: f64 = (0..2).map(|d| (query[d] - center[d]).powi(2)).sum();
                (-squared).exp()
            });
            expected.extend(weights.map(|w| w / weights.iter().sum::<f64>()));
        }
        assert_close("probabilities", &values(actual), &expected, 1e-5);
    }
}

/// More pairs and differences than are held at one time.
#[test]
fn many_queries_are_answered_in_parts() {
    let (num_queries, num_classes, feature_dim) = (4000, 300, 4);
    let value = |row: usize, column: usize| ((row * 7919 + column * 104_729) % 1009) as f32;
    let rows = |count: usize, shift: usize| -> Vec<Vec<f32>> {
        (0..count)
            .map(|row| (0..feature_dim).map(|d| value(row + shift, d)).collect())
            .collect()
    };
    let (centers, queries) = (rows(num_classes, 500_000), rows(num_queries, 0));
    let expected: Vec<f64> = queries
        .iter()
        .flat_map(|q| centers.iter().map(|c| squared_distance(q, c)))
        .collect();
    let nearest: Vec<i64> = expected
        .chunks(num_classes)
        .map(|row| {
            let smallest = row.iter().copied().fold(f64::INFINITY, f64::min);
            row.iter().position(|d| *d == smallest).unwrap() as i64
        })
        .collect();
    for device in devices() {
        let classifier = NearestCenter::from_centers(matrix(&centers, &device)).unwrap();
        let queries = matrix(&queries, &device);
        assert_eq!(ints(classifier.predict(queries.clone()).unwrap()), nearest);
        let squared = values(classifier.squared_distances(queries).unwrap());
        // Integers below 2^24, exact in f32.
        assert_eq!(squared, expected);
    }
}

#[test]
fn autodiff_tensors_are_accepted_and_answers_carry_no_graph() {
    for device in devices() {
        let device = device.autodiff();
        let centers = Tensor::<2>::from_floats([[0.0], [10.0]], &device).require_grad();
        let queries = Tensor::<2>::from_floats([[1.0], [9.0]], &device).require_grad();
        let labels = Tensor::<1, Int>::from_ints([0, 1], &device);
        let classifier = NearestCenter::from_centers(centers.clone()).unwrap();
        let predictions = classifier.predict(queries.clone()).unwrap();
        assert!(!predictions.device().is_autodiff());
        assert_eq!(ints(predictions), [0, 1]);
        assert!(!classifier.distances(queries.clone()).unwrap().is_autodiff());
        let fitted = NearestCenter::fit(centers, labels.clone(), 2).unwrap();
        assert_eq!(fitted.score(queries, labels).unwrap(), 1.0);
    }
}

#[test]
fn errors_name_value_and_rule() {
    for device in devices() {
        let features = Tensor::<2>::from_floats([[0.0, 0.0], [1.0, 1.0]], &device);
        let labels = |labels: &[i32]| Tensor::<1, Int>::from_ints(labels, &device);
        let fit = |indices: &[i32], num_classes| {
            NearestCenter::fit(features.clone(), labels(indices), num_classes)
        };
        let infinite = Tensor::<2>::from_floats([[0.0, 0.0], [1.0, f32::INFINITY]], &device);
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
            classifier.predict_proba(infinite) =>
                "queries holds inf in row 1, column 1; every value must be finite";
            classifier.score(features.clone(), labels(&[1])) =>
                "labels has 1 entries and queries has 2 rows; the numbers must be equal";
        }
    }
}

#[test]
fn tensors_on_different_devices_are_an_error() {
    let devices = devices();
    for (first, second) in devices.iter().zip(devices.iter().skip(1)) {
        let centers = Tensor::<2>::zeros([1, 1], first);
        let labels = Tensor::<1, Int>::zeros([1], second);
        let message = |name: &str, expected: &str| {
            format!(
                "{name} is on {second:?} and {expected} is on {first:?}; the devices must be equal"
            )
        };
        let classifier = NearestCenter::from_centers(centers.clone()).unwrap();
        let predicted = classifier.predict(Tensor::zeros([1, 1], second));
        assert_message(predicted, message("queries", "centers"));
        let fitted = NearestCenter::fit(centers.clone(), labels.clone(), 1);
        assert_message(fitted, message("labels", "features"));
        let score = classifier.score(centers, labels);
        assert_message(score, message("labels", "centers"));
    }
}

fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
    x.iter()
        .zip(y)
        .map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2))
        .sum()
}

#[test]
fn a_center_loss_is_classified_by_what_it_measures() {
    for device in devices() {
        let centers = || matrix(&[vec![1.0, 0.0], vec![0.0, 100.0]], &device);
        let query = || matrix(&[vec![1.0, 2.0]], &device);
        for (distance, class) in [(CenterDistance::Euclidean, 0), (CenterDistance::Cosine, 1)] {
            let loss = CenterLossConfig::new(2, 2)
                .with_distance(distance)
                .init_with_centers(centers())
                .unwrap();
            let classifier = loss.nearest_center().unwrap();
            assert_eq!(ints(classifier.predict(query()).unwrap()), [class]);
            let shares = values(classifier.predict_proba(query()).unwrap());
            assert!(shares[class as usize] > 0.5, "{shares:?}");
        }
        let directions = NearestCenter::from_directions(centers()).unwrap();
        let cosines = [1.0, 2.0].map(|x| x / f64::sqrt(5.0));
        let expected = cosines.map(|cosine| 2.0 * (1.0 - cosine));
        let squared = values(directions.squared_distances(query()).unwrap());
        assert_close("squared distances", &squared, &expected, 1e-6);
    }
}

#[test]
fn labels_of_every_value_of_every_integer_type_are_compared_or_refused() {
    for dtype in INTEGER_TYPES {
        for device in devices_with(dtype) {
            let features = Tensor::<2>::from_floats([[0.0], [10.0], [20.0]], &device);
            let classifier = NearestCenter::from_centers(features.clone()).unwrap();
            for value in extreme_values(dtype) {
                let labels = typed_labels(&[0, 1, value], dtype, &device);
                let fitted = NearestCenter::fit(features.clone(), labels.clone(), 3);
                let score = classifier.score(features.clone(), labels).unwrap();
                let right = if value == 2 { 3.0 } else { 2.0 };
                assert_eq!(score, right / 3.0, "{value} {dtype:?}");
                match value {
                    0 | 1 => assert_message(
                        fitted,
                        "labels holds no sample of class 2; each of the 3 classes needs one",
                    ),
                    2 => assert_eq!(values(fitted.unwrap().centers()), [0.0, 10.0, 20.0]),
                    _ => assert_message(
                        fitted,
                        format!("labels holds {value} at index 2; it must be in 0..3"),
                    ),
                }
            }
        }
    }
}

/// Few centers, and more than are compared directly.
fn centers_and_queries(dtype: DType) -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<Vec<f64>>)> {
    extreme_rows(dtype, prop_oneof![1_usize..5, 30_usize..40].boxed())
}

/// Asserts that all answers are numbers and agree with each other.
fn check_numbers(centers: &[Vec<f64>], queries: &[Vec<f64>], dtype: DType) {
    let classes = centers.len();
    for device in devices_with(dtype) {
        let centers = typed_matrix(centers, dtype, &device);
        let queries = typed_matrix(queries, dtype, &device);
        for (name, classifier) in [
            ("positions", NearestCenter::from_centers(centers.clone())),
            (
                "directions",
                NearestCenter::from_directions(centers.clone()),
            ),
        ] {
            let name = format!("{name} {dtype:?} on {device:?}");
            let classifier = classifier.unwrap();
            let predictions = ints(classifier.predict(queries.clone()).unwrap());
            let squared = values(classifier.squared_distances(queries.clone()).unwrap());
            let distances = values(classifier.distances(queries.clone()).unwrap());
            let shares = values(classifier.predict_proba(queries.clone()).unwrap());
            assert!(
                values(classifier.centers())
                    .iter()
                    .all(|value| value.is_finite())
            );
            for (query, class) in predictions.into_iter().enumerate() {
                let row = query * classes..(query + 1) * classes;
                let (squared, distances) = (&squared[row.clone()], &distances[row.clone()]);
                let least = squared.iter().copied().fold(f64::INFINITY, f64::min);
                assert_eq!(squared[class as usize], least, "{name}: {squared:?}");
                let numbers = squared.iter().chain(distances);
                assert!(
                    numbers.clone().all(|value| *value >= 0.0),
                    "{name}: {squared:?}"
                );
                let shares = &shares[row];
                let most = shares.iter().copied().fold(0.0, f64::max);
                assert_eq!(shares[class as usize], most, "{name}: {shares:?}");
                let sum: f64 = shares.iter().sum();
                assert!((sum - 1.0).abs() < 1e-5, "{name}: {shares:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_answer_to_values_of_any_size_is_nan(
        rows in centers_and_queries(DType::F32),
        wide_rows in centers_and_queries(DType::F64),
    ) {
        for ((centers, queries), dtype) in [(rows, DType::F32), (wide_rows, DType::F64)] {
            check_numbers(&centers, &queries, dtype);
        }
    }

    #[test]
    fn means_of_features_of_any_size_are_finite((features, _) in centers_and_queries(DType::F64)) {
        for device in devices_with(DType::F64) {
            let labels: Vec<i128> = (0..features.len() as i128).map(|i| i % 2).collect();
            let classes = features.len().min(2);
            let fitted = NearestCenter::fit(
                typed_matrix(&features, DType::F64, &device),
                typed_labels(&labels, DType::I64, &device),
                classes,
            );
            let centers = values(fitted.unwrap().centers());
            prop_assert!(centers.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_stored_classifier_answers_the_same_on_every_device(
        (centers, queries) in centers_and_queries(DType::F32),
    ) {
        for dtype in [DType::F32, DType::F64] {
            for device in devices_with(dtype) {
                let centers = typed_matrix(&centers, dtype, &device);
                for classifier in [
                    NearestCenter::from_centers(centers.clone()).unwrap(),
                    NearestCenter::from_directions(centers.clone()).unwrap(),
                ] {
                    let expected = answers(&classifier, &queries, &device);
                    let stored = serde_json::to_string(&classifier.to_data()).unwrap();
                    for other in devices_with(dtype) {
                        let data: NearestCenterData = serde_json::from_str(&stored).unwrap();
                        let loaded = NearestCenter::from_data(data, &other.clone().autodiff()).unwrap();
                        prop_assert_eq!(&answers(&loaded, &queries, &other), &expected);
                        prop_assert_eq!(loaded.to_data(), classifier.to_data());
                    }
                }
            }
        }
    }
}

/// Classes; distances, shares and centers, as bits.
fn answers(
    classifier: &NearestCenter,
    queries: &[Vec<f64>],
    device: &Device,
) -> (Vec<i64>, Vec<u64>) {
    let queries = typed_matrix(queries, DType::F32, device);
    let bits = [
        classifier.squared_distances(queries.clone()).unwrap(),
        classifier.distances(queries.clone()).unwrap(),
        classifier.predict_proba(queries.clone()).unwrap(),
        classifier.centers(),
    ]
    .map(|tensor| values(tensor).into_iter().map(f64::to_bits));
    (
        ints(classifier.predict(queries).unwrap()),
        bits.into_iter().flatten().collect(),
    )
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
        let queries = [
            vec![0.0, 0.0],
            vec![0.5, 0.0],
            vec![-0.1, -9.0],
            vec![0.0, 2.0],
        ];
        let queries = matrix(&queries, &device);
        let predictions = ints(classifier.predict(queries.clone()).unwrap());
        assert_eq!(predictions, [0, 2, 0, 2]);
        let squared = values(classifier.squared_distances(queries).unwrap());
        assert_close("zero query", &squared[..3], &[2.0; 3], 0.0);
        assert_close("other", &squared[3..6], &[4.0, 2.0, 0.8], 1e-6);
    }
}
