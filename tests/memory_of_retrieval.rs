//! A retrieval holds the distances of a few queries at a time, however many there are.
//!
//! The only test of its file, since it counts every allocation of the process.
#![cfg(feature = "flex")]

mod allocations;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet};

use allocations::with_peak;

const COLUMNS: usize = 8;

/// The most that a retrieval allocates at one time beyond the set itself.
fn peak(samples: usize, class_size: usize, average_precision: bool) -> usize {
    let device = Device::flex();
    let values: Vec<f32> = (0..samples * COLUMNS)
        .map(|at| ((at * 7919) % 10_007) as f32 / 100.0)
        .collect();
    let features = Tensor::from_data(TensorData::new(values, [samples, COLUMNS]), &device);
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
}
