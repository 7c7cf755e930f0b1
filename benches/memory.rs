//! What a training step takes beyond the centers, with a hundred thousand and with a million classes:
//! `cargo bench --bench memory`.
//!
//! The step is one of a model that an optimizer steps. Counts every allocation on the host, and so runs on the backends that compute there.

#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use burn::tensor::Device;

use cases::center_loss::{CenterLossCase, PlainCenterLoss, Shape};
use cases::devices::devices;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SHAPES: [Shape; 2] = [
    Shape::new(512, 100_000, 128),
    Shape::new(512, 1_000_000, 128),
];
const STEPS: usize = 31;

/// The most that one step allocates at one time beyond what lived before it, and the median time of a step.
fn observe<T>(mut step: impl FnMut() -> T) -> (usize, Duration) {
    // The first step starts the threads.
    drop(step());
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    drop(step());
    let peak = PEAK.load(Relaxed) - before;
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
