//! Score normalisation against golden numbers, plain loops and each of its errors.

use crate::devices::devices;
use crate::fixtures::{assert_close, cases};
use crate::messages::assert_messages;
use crate::tensors::{labels, matrix};
use burn::tensor::{Device, Tensor};
use burn_center_loss::evaluation::{Deviation, EvaluationError, ScoreNorm, ScoreNormConfig};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::HashMap;

/// Means, deviations and scores of the fixture; a number or an array that does not exist is null.
type Expected = HashMap<String, Option<HashMap<String, Vec<Option<f64>>>>>;

#[derive(Deserialize)]
struct Case {
    name: String,
    top_k: usize,
    enroll: Vec<Vec<f32>>,
    test: Vec<Vec<f32>>,
    cohort: Vec<Vec<f32>>,
    cohort_labels: Option<Vec<i64>>,
    mean: Option<Vec<f32>>,
    trials: Vec<(usize, usize)>,
    scores: Vec<f64>,
    population: Expected,
    sample: Expected,
}

/// The three norms of a normalisation, in the order z, t, s.
fn norms(
    norm: &ScoreNorm,
    enroll: &Tensor<2>,
    test: &Tensor<2>,
    trials: &[(usize, usize)],
) -> [Result<Vec<f64>, EvaluationError>; 3] {
    [
        norm.z_norm(enroll.clone(), test.clone(), trials),
        norm.t_norm(enroll.clone(), test.clone(), trials),
        norm.s_norm(enroll.clone(), test.clone(), trials),
    ]
}

#[test]
fn golden_score_norm() {
    for case in cases::<Case>("score_norm.json") {
        for device in devices() {
            for (deviation, expected) in [
                (Deviation::Population, &case.population),
                (Deviation::Sample, &case.sample),
            ] {
                for (which, top_k) in [("all", None), ("top", Some(case.top_k))] {
                    let config = ScoreNormConfig::new()
                        .with_top_k(top_k)
                        .with_deviation(deviation)
                        .with_mean(wide(&case.mean));
                    check_golden(&case, &config, expected[which].as_ref(), &device);
                }
            }
        }
    }
}

fn wide(mean: &Option<Vec<f32>>) -> Option<Vec<f64>> {
    let mean = mean.as_ref()?;
    Some(mean.iter().map(|value| f64::from(*value)).collect())
}

fn check_golden(
    case: &Case,
    config: &ScoreNormConfig,
    expected: Option<&HashMap<String, Vec<Option<f64>>>>,
    device: &Device,
) {
    let name = format!("{} {config}", case.name);
    let [enroll, test, cohort] =
        [&case.enroll, &case.test, &case.cohort].map(|rows| matrix(rows, device));
    let norm = match &case.cohort_labels {
        Some(names) => config.init_from_classes(cohort, labels(names, device)),
        None => config.init(cohort),
    };
    // One cohort score has no deviation, and then no number exists.
    assert_eq!(norm.is_ok(), expected.is_some(), "{name}");
    let (Ok(norm), Some(expected)) = (norm, expected) else {
        return;
    };
    let scores = norm
        .scores(enroll.clone(), test.clone(), &case.trials)
        .unwrap();
    assert_close(&name, &scores, &case.scores, 1e-9);
    let tolerance = match case.name.as_str() {
        "narrow_deviation" => 1e-7,
        _ => 1e-9,
    };
    let found = norms(&norm, &enroll, &test, &case.trials);
    for (found, which) in found.into_iter().zip(["z_norm", "t_norm", "s_norm"]) {
        let expected: Option<Vec<f64>> = expected[which].iter().copied().collect();
        assert_eq!(found.is_ok(), expected.is_some(), "{name} {which}");
        if let (Ok(found), Some(expected)) = (found, expected) {
            assert_close(&format!("{name} {which}"), &found, &expected, tolerance);
        }
    }
}

/// Rows of any length; no two of them point the same way.
fn rows(count: usize, columns: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    let row = prop::collection::vec(-1.0_f32..1.0, columns);
    let scaled = (row, 0.01_f32..100.0)
        .prop_map(|(row, scale)| row.iter().map(|value| value * scale).collect::<Vec<f32>>())
        .prop_filter("a direction", |row| {
            row.iter().any(|value| value.abs() > 1e-4)
        });
    prop::collection::vec(scaled, count)
}

fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
}

/// Mean and deviation of the k largest cosines of a row with the cohort.
fn naive(row: &[f32], cohort: &[Vec<f32>], k: usize) -> (f64, f64) {
    let mut cosines: Vec<f64> = cohort.iter().map(|other| cosine(row, other)).collect();
    cosines.sort_by(|a, b| b.total_cmp(a));
    cosines.truncate(k);
    let count = cosines.len() as f64;
    let mean = cosines.iter().sum::<f64>() / count;
    let squares: f64 = cosines.iter().map(|cosine| (cosine - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Few and many columns and cohort scores, so that a search and a comparison with the whole cohort find them.
    #[test]
    fn against_plain_loops(
        (enroll, test, cohort) in prop_oneof![Just(3_usize), Just(24)]
            .prop_flat_map(|columns| (rows(5, columns), rows(4, columns), rows(300, columns))),
        k in prop_oneof![2_usize..=4, 5_usize..400],
    ) {
        let trials: Vec<(usize, usize)> = (0..20).map(|at| (at % 5, at * 3 % 4)).collect();
        for device in devices() {
            let norm = ScoreNormConfig::new()
                .with_top_k(Some(k))
                .with_deviation(Deviation::Sample)
                .init(matrix(&cohort, &device))
                .unwrap();
            let found = norms(&norm, &matrix(&enroll, &device), &matrix(&test, &device), &trials);
            for (at, (e, t)) in trials.iter().enumerate() {
                let score = cosine(&enroll[*e], &test[*t]);
                let [z, t] = [&enroll[*e], &test[*t]].map(|row| {
                    let (mean, deviation) = naive(row, &cohort, k);
                    (score - mean) / deviation
                });
                for (found, expected) in found.iter().zip([z, t, (z + t) / 2.0]) {
                    let found = found.as_ref().unwrap()[at];
                    prop_assert!((found - expected).abs() < 1e-7 * (1.0 + expected.abs()), "{found} {expected}");
                }
            }
        }
    }
}

/// Rows far longer and shorter than 1, and the settings that the presets stand for.
#[test]
fn presets_take_rows_of_any_length() {
    let device = Device::flex();
    let enroll = || matrix(&[vec![3e4, 4e4], vec![0.0, 1e-6]], &device);
    let test = || matrix(&[vec![1.0, 0.0]], &device);
    let cohort = || {
        matrix(
            &[
                vec![5.0, 0.0],
                vec![0.0, 0.1],
                vec![2.0, 4.0],
                vec![-2.0, -2.0],
            ],
            &device,
        )
    };
    let trials = [(0, 0), (1, 0)];
    let speechbrain = ScoreNormConfig::speechbrain();
    assert_eq!(
        (speechbrain.top_k, speechbrain.deviation),
        (Some(20_000), Deviation::Sample)
    );
    let norm = speechbrain.init(cohort()).unwrap();
    assert_close(
        "scores",
        &norm.scores(enroll(), test(), &trials).unwrap(),
        &[0.6, 0.0],
        1e-7,
    );
    let all = ScoreNormConfig::new()
        .with_deviation(Deviation::Sample)
        .init(cohort())
        .unwrap();
    assert_eq!(
        norm.s_norm(enroll(), test(), &trials),
        all.s_norm(enroll(), test(), &trials)
    );

    let wespeaker = ScoreNormConfig::wespeaker(vec![1.0, 1.0]);
    assert_eq!(
        (wespeaker.top_k, wespeaker.deviation),
        (Some(300), Deviation::Population)
    );
    // The means of the two classes are (3.5, 2) and (-1, -0.95); without the mean (2.5, 1) and (-2, -1.95).
    let norm = wespeaker
        .init_from_classes(cohort(), labels(&[9, 4, 9, 4], &device))
        .unwrap();
    let means = matrix(&[vec![3.5, 2.0], vec![-1.0, -0.95]], &device);
    let same = ScoreNormConfig::wespeaker(vec![1.0, 1.0])
        .init(means)
        .unwrap();
    let [found, expected] =
        [norm, same].map(|norm| norm.s_norm(enroll(), test(), &trials).unwrap());
    assert_close("class means", &found, &expected, 1e-6);
}

#[test]
fn bad_cohorts_and_trials_are_named() {
    for device in devices() {
        let rows = |rows: &[[f32; 2]]| {
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.to_vec()).collect();
            matrix(&rows, &device)
        };
        let cohort = || rows(&[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
        let config = ScoreNormConfig::new;
        let of_mean = |mean: &[f64]| config().with_mean(Some(mean.to_vec())).init(cohort());
        let at_k = |k| config().with_top_k(Some(k)).init(cohort());
        let norm = config().init(cohort()).unwrap();
        let one = || rows(&[[1.0, 2.0]]);
        let zero = || rows(&[[1.0, 2.0], [0.0, 0.0]]);
        let scores = |enroll, test, trials: &[(usize, usize)]| norm.scores(enroll, test, trials);
        // All rows of this cohort are as far from (1, 1).
        let even = config().init(rows(&[[1.0, 0.0], [0.0, 1.0]])).unwrap();
        let tied = || rows(&[[1.0, 2.0], [1.0, 1.0]]);
        let few = "there must be at least 2";
        let equal = "has equal cohort scores; their deviation must be above 0";
        assert_messages! {
            config().init(Tensor::zeros([0, 2], &device)) => "cohort has 0 rows; it must have at least 1";
            config().init(one()) => format!("each row is compared with 1 rows of the cohort; {few}");
            at_k(1) => format!("each row is compared with 1 rows of the cohort; {few}");
            at_k(0) => format!("each row is compared with 0 rows of the cohort; {few}");
            config().init(zero()) => "row 1 of cohort is zero; it must have a direction";
            of_mean(&[1.0, 1.0]) => "row 2 of cohort is zero; it must have a direction";
            of_mean(&[1.0]) => "mean has 1 entries and a row of cohort has 2; the numbers must be equal";
            of_mean(&[1.0, f64::NAN]) => "mean holds NaN at index 1; every value must be finite";
            config().init_from_classes(cohort(), labels(&[1, 2], &device)) =>
                "labels has 2 entries and features has 3; the numbers must be equal";
            config().init_from_classes(cohort(), labels(&[1, 1, 1], &device)) =>
                format!("each row is compared with 1 rows of the cohort; {few}");
            scores(zero(), one(), &[(0, 0)]) => "row 1 of enroll is zero; it must have a direction";
            scores(one(), zero(), &[(0, 0)]) => "row 1 of test is zero; it must have a direction";
            scores(one(), one(), &[]) => "trials is empty; it must hold at least 1 value";
            scores(one(), one(), &[(0, 0), (1, 0)]) =>
                "trials holds 1 at index 1; the first number of a trial must be a row of enroll";
            scores(one(), tied(), &[(0, 2)]) =>
                "trials holds 2 at index 0; the second number of a trial must be a row of test";
            scores(Tensor::ones([2, 3], &device), one(), &[(0, 0)]) =>
                "queries has shape [2, 3] and cohort has shape [3, 2]; the second numbers must be equal";
            even.z_norm(tied(), one(), &[(0, 0)]) => format!("row 1 of enroll {equal}");
            even.t_norm(one(), tied(), &[(0, 0)]) => format!("row 1 of test {equal}");
            even.s_norm(one(), tied(), &[(0, 0)]) => format!("row 1 of test {equal}");
        }
        assert!(even.z_norm(one(), tied(), &[(0, 0)]).is_ok());
    }
}
