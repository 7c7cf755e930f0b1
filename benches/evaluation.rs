//! Time of the evaluation at the sizes that it is made for, and what it takes beyond the features:
//! `cargo bench --bench evaluation`.
//!
//! Counts every allocation on the host.

#[path = "../tests/allocations/mod.rs"]
mod allocations;
#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

use std::time::Instant;

use allocations::with_peak;
use cases::devices::devices;
use cases::evaluation::{RetrievalCase, RetrievalShape, RocCase, ScoreNormCase, ScoreNormShape};

const SCORES: usize = 10_000_000;
const SAMPLES: usize = 60_000;
const FEATURE_DIM: usize = 128;
const TRIALS: usize = 100_000;
const COHORT: usize = 20_000;

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

fn main() {
    let Some((_, device)) = devices().into_iter().next() else {
        panic!("this build has no backend");
    };
    println!("| what | seconds | MB beyond the input |\n|---|---|---|");

    let case = RocCase::new(SCORES, &device);
    observe("ROC curve and EER of 10 000 000 scores", || {
        let curve = case.curve();
        assert!((curve.equal_error_rate() - 0.5).abs() < 0.01);
        curve
    });
    drop(case);

    for (num_classes, average_precision) in [(10, true), (12_000, false)] {
        let shape = RetrievalShape::new(SAMPLES, num_classes, FEATURE_DIM);
        let case = RetrievalCase::new(shape, &device);
        let values = if average_precision {
            "all values"
        } else {
            "without average precision"
        };
        let what = format!("60 000 against itself, {num_classes} classes, {values}");
        observe(&what, || case.evaluate(average_precision));
    }

    for top_k in [300, COHORT] {
        let shape = ScoreNormShape {
            rows: 5_000,
            cohort: COHORT,
            feature_dim: 256,
            top_k,
        };
        let case = ScoreNormCase::new(shape, TRIALS, &device);
        let what = format!(
            "s-norm of 100 000 trials of 5 000 and 5 000 rows, {top_k} of 20 000 cohort scores, 256 columns"
        );
        observe(&what, || case.s_norm());
    }
}
