//! The memory of a training step beyond the centers, with a hundred thousand and with a million classes:
//! `cargo bench --bench memory`.
//!
//! The step is one of a model that an optimizer steps. Counts every allocation on the host, and so runs on the backends
//! that compute there.

#[path = "../tests/allocations/mod.rs"]
mod allocations;

#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

use std::time::{Duration, Instant};

use burn::tensor::Device;

use allocations::with_peak;
use cases::center_loss::{CenterLossCase, PlainCenterLoss, Shape};
use cases::devices::devices;

const SHAPES: [Shape; 2] = [
    Shape::new(512, 100_000, 128),
    Shape::new(512, 1_000_000, 128),
];
const STEPS: usize = 31;

/// The most that one step allocates at one time beyond what lived before it, and the median time of a step.
fn observe<T>(mut step: impl FnMut() -> T) -> (usize, Duration) {
    // The first step starts the threads.
    drop(step());
    let ((), peak) = with_peak(|| drop(step()));
    let mut times: Vec<Duration> = (0..STEPS)
        .map(|_| {
            let start = Instant::now();
            drop(step());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (peak, times[STEPS / 2])
}

fn print_row(backend: &str, what: &str, shape: Shape, (peak, time): (usize, Duration)) {
    let microseconds = time.as_secs_f64() * 1e6;
    println!(
        "| {backend} | {what} | {} | {peak} | {microseconds:.0} |",
        shape.num_classes
    );
}

fn rows_of(backend: &str, device: &Device) {
    for shape in SHAPES {
        let mut case = CenterLossCase::strict(shape, device);
        print_row(backend, "step", shape, observe(|| case.step()));
    }
    for shape in SHAPES {
        let mut case = CenterLossCase::deferred(shape, device);
        let observed = observe(|| case.step());
        print_row(backend, "step, deferred checking", shape, observed);
    }
    for shape in SHAPES {
        let mut case = PlainCenterLoss::new(shape, device);
        let observed = observe(|| case.step());
        print_row(backend, "plain tensor operations", shape, observed);
    }
    let shape = SHAPES[0];
    let mut case = CenterLossCase::gradient_rule(shape, device);
    print_row(
        backend,
        "gradient rule and SGD",
        shape,
        observe(|| case.step()),
    );
}

fn main() {
    println!("| backend | what | classes | peak bytes beyond the centers | microseconds |");
    println!("|---|---|---|---|---|");
    for (backend, device) in devices() {
        if backend != "wgpu" {
            rows_of(backend, &device);
        }
    }
}
