//! A retrieval holds the distances of a few queries at a time, however many there are, and a score normalisation the cohort
//! scores of a few rows.
//!
//! The only test of its file, since it counts every allocation of the process.
#![cfg(feature = "flex")]

mod allocations;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, ScoreNormConfig};

use allocations::with_peak;

const COLUMNS: usize = 8;

fn features(samples: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..samples * COLUMNS)
        .map(|at| ((at * 7919) % 10_007) as f32 / 100.0)
        .collect();
    Tensor::from_data(TensorData::new(values, [samples, COLUMNS]), device)
}

/// The most that a score normalisation allocates at one time beyond its rows and its cohort, which are equally many.
fn peak_of_score_norm(rows: usize, top_k: Option<usize>) -> usize {
    let device = Device::flex();
    let config = ScoreNormConfig::new().with_top_k(top_k);
    let norm = config.init(features(rows, &device)).unwrap();
    let [enroll, test] = [0, 1].map(|_| features(rows, &device));
    let trials: Vec<(usize, usize)> = (0..rows).map(|row| (row, rows - 1 - row)).collect();
    let (scores, peak) = with_peak(|| norm.s_norm(enroll, test, &trials).unwrap());
    assert_eq!(scores.len(), rows);
    peak
}

/// The most that a retrieval allocates at one time beyond the set itself.
fn peak(samples: usize, class_size: usize, average_precision: bool) -> usize {
    let device = Device::flex();
    let features = features(samples, &device);
    let labels = Tensor::<1, Int>::arange(0..samples as i64, &device) / class_size as i64;
    let set = RetrievalSet::new(features, labels);
    let config = RetrievalConfig::new().with_average_precision(average_precision);
    let (report, peak) = with_peak(|| config.evaluate(&set).unwrap());
    assert_eq!(report.queries_with_match(), samples);
    peak
}

#[test]
fn memory_does_not_grow_with_the_number_of_pairs() {
    const SAMPLES: usize = 3000;
    // The distances of all pairs would be 72 000 000 bytes.
    let widened = SAMPLES * COLUMNS * size_of::<f64>();
    let ranks = 32 << 20;
    let per_query = SAMPLES * 300;
    for class_size in [3, 600] {
        let peak = peak(SAMPLES, class_size, true);
        assert!(
            peak < 2 * widened + ranks + per_query,
            "{peak} bytes with classes of {class_size}"
        );
    }
    // The search holds 16 bytes for each of a million neighbors, and its own keys and candidates.
    let peak = peak(SAMPLES, 3, false);
    assert!(peak < 3 * widened + (64 << 20) + per_query, "{peak} bytes");
    // By a comparison with the whole cohort and by a search.
    for top_k in [None, Some(SAMPLES / 100)] {
        let peak = peak_of_score_norm(SAMPLES, top_k);
        let most = 4 * widened + (64 << 20) + per_query;
        assert!(peak < most, "{peak} bytes with {top_k:?}");
    }
}
