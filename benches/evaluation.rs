//! Time of the evaluation at the sizes that it is made for, and what it takes beyond the features:
//! `cargo bench --bench evaluation`.
//!
//! Counts every allocation on the host.

#[path = "../tests/allocations/mod.rs"]
mod allocations;

use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, RocCurve};

use allocations::with_peak;

const SCORES: usize = 10_000_000;
const SAMPLES: usize = 60_000;
const FEATURE_DIM: usize = 128;

/// Numbers in 0..1 that are the same in every run.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }
}

/// Prints a row with the seconds that `work` takes and the most that it allocates at one time.
fn observe<T>(what: &str, work: impl FnOnce() -> T) {
    let start = Instant::now();
    let (seconds, peak) = with_peak(|| {
        drop(work());
        start.elapsed().as_secs_f64()
    });
    let megabytes = peak as f64 / 1e6;
    println!("| {what} | {seconds:.2} | {megabytes:.0} |");
}

/// Samples around one center per class, half as far apart as the centers are.
fn samples(num_classes: usize, uniform: &mut Uniform) -> RetrievalSet {
    let centers: Vec<f32> = (0..num_classes * FEATURE_DIM)
        .map(|_| uniform.next())
        .collect();
    let features: Vec<f32> = (0..SAMPLES * FEATURE_DIM)
        .map(|at| {
            let (sample, column) = (at / FEATURE_DIM, at % FEATURE_DIM);
            centers[sample % num_classes * FEATURE_DIM + column] + uniform.next() / 2.0
        })
        .collect();
    let device = Device::flex();
    RetrievalSet::new(
        Tensor::from_data(TensorData::new(features, [SAMPLES, FEATURE_DIM]), &device),
        Tensor::<1, Int>::arange(0..SAMPLES as i64, &device) % num_classes as i64,
    )
}

fn main() {
    let mut uniform = Uniform(88_172_645_463_325_252);
    println!("| what | seconds | MB beyond the input |\n|---|---|---|");

    let scores: Vec<f32> = (0..SCORES).map(|_| uniform.next()).collect();
    let same: Vec<bool> = (0..SCORES).map(|_| uniform.next() < 0.5).collect();
    observe("ROC curve and EER of 10 000 000 scores", || {
        let curve = RocCurve::new(&scores, &same).unwrap();
        assert!((curve.equal_error_rate() - 0.5).abs() < 0.01);
        curve
    });
    drop((scores, same));

    for (num_classes, average_precision) in [(10, true), (12_000, false)] {
        let set = samples(num_classes, &mut uniform);
        let config = RetrievalConfig::new().with_average_precision(average_precision);
        let values = if average_precision {
            "all values"
        } else {
            "without average precision"
        };
        let what = format!("60 000 against itself, {num_classes} classes, {values}");
        observe(&what, || config.evaluate(&set).unwrap());
    }
}
