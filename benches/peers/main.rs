//! The library's side of `peers.py`: times one operation and prints one line of JSON.
//!
//! ```text
//! peers BACKEND OPERATION SECONDS B C D                       one of `time_loss`, `time_margin` and `time_distance`
//! peers BACKEND knn|plain_knn SECONDS REFERENCES QUERIES D K
//! peers BACKEND nearest_center|plain_nearest_center SECONDS CENTERS QUERIES D
//! peers BACKEND retrieval SECONDS SAMPLES CLASSES D
//! peers BACKEND roc_curve SECONDS SCORES
//! peers BACKEND score_norm SECONDS ROWS COHORT D K
//! ```

#[allow(dead_code, reason = "every bench runs a part of the cases")]
#[path = "../cases/mod.rs"]
mod cases;

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde_json::{Value, json};

use burn_center_loss::SoftmaxDistance;
use cases::center_loss::{CenterLossCase, ContrastiveCenterCase, PlainCenterLoss, Shape};
use cases::devices::devices;
use cases::distance::{DistanceCase, PlainDistanceSoftmax};
use cases::evaluation::{RetrievalCase, RetrievalShape, RocCase, ScoreNormCase, ScoreNormShape};
use cases::margin::{MarginCase, PlainArcFace, Products};
use cases::neighbors::{
    CentersShape, KnnCase, KnnShape, NearestCenterCase, PlainKnn, PlainNearestCenter,
};

const USAGE: &str = "peers.py beside this program's source runs it: python3 benches/peers/peers.py";

/// At least this many repetitions, unless they take longer than [`PATIENCE`].
const MIN_REPETITIONS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(20);
/// At most this many, however short they are.
const MAX_REPETITIONS: usize = 100_000;

/// The size of a block that is allocated and freed before all else, as a network's activations are.
///
/// From then on glibc's `malloc` keeps free memory of that size for the next call. In a process that never had a large
/// block it returns memory to the system and fetches it anew, at every step or never, by chance of the heap's layout.
const FREED_BEFORE: usize = 16 << 20;

/// A number of bytes that Linux tells of this process.
fn bytes_in_memory(what: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The most memory that an operation takes beyond what the process had before, where the system tells.
fn peak_of(operation: impl FnOnce()) -> Option<u64> {
    // Linux's way of forgetting the peak so far.
    let is_forgotten = fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = bytes_in_memory("VmRSS");
    operation();
    let peak = bytes_in_memory("VmHWM")?;
    Some(peak.saturating_sub(before?)).filter(|_| is_forgotten)
}

/// Repeats an operation for some time and gives each repetition's time in microseconds: the median, the least and how
/// many. A fifth of the time goes to repetitions before that are not counted; the first of them tells the memory.
fn time<T>(seconds: f64, mut operation: impl FnMut() -> T) -> Value {
    let repeat = |operation: &mut dyn FnMut() -> T, seconds: f64, least: usize| {
        let budget = Duration::from_secs_f64(seconds);
        let mut times = Vec::new();
        let begin = Instant::now();
        loop {
            let limit = if times.len() < least {
                PATIENCE
            } else {
                budget
            };
            if !times.is_empty() && (begin.elapsed() > limit || times.len() == MAX_REPETITIONS) {
                break;
            }
            let start = Instant::now();
            // Freeing the result is in the time, as it is on the other side.
            drop(operation());
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times
    };
    let peak = peak_of(|| drop(operation()));
    repeat(&mut operation, seconds / 5.0, 1);
    let mut times = repeat(&mut operation, seconds, MIN_REPETITIONS);
    times.sort_unstable_by(f64::total_cmp);
    json!({
        "median_us": times[times.len() / 2],
        "min_us": times[0],
        "repetitions": times.len(),
        "peak_bytes": peak,
    })
}

/// Value and both gradients of ArcFace.
fn time_margin(operation: &str, shape: Shape, device: &Device, seconds: f64) -> Option<Value> {
    Some(match operation {
        "arcface" => {
            let case = MarginCase::new(shape, device);
            time(seconds, || case.forward_backward())
        }
        "plain_arcface" => {
            let case = PlainArcFace::new(shape, device);
            time(seconds, || case.forward_backward())
        }
        "products" => {
            let case = Products::new(shape, device);
            time(seconds, || case.run())
        }
        _ => return None,
    })
}

/// Value and both gradients of softmax over distances.
fn time_distance(operation: &str, shape: Shape, device: &Device, seconds: f64) -> Option<Value> {
    let of = |distance| {
        let case = DistanceCase::new(shape, distance, device);
        time(seconds, || case.forward_backward())
    };
    Some(match operation {
        "squared_distances" => of(SoftmaxDistance::SquaredEuclidean),
        "distances" => of(SoftmaxDistance::Euclidean),
        "plain_squared_distances" => {
            let case = PlainDistanceSoftmax::new(shape, device);
            time(seconds, || case.forward_backward())
        }
        _ => return None,
    })
}

/// Every operation is a step of a model that an optimizer steps.
fn time_loss(operation: &str, shape: Shape, device: &Device, seconds: f64) -> Option<Value> {
    Some(match operation {
        "step" => {
            let mut case = CenterLossCase::strict(shape, device);
            time(seconds, || case.step())
        }
        "step_deferred" => {
            let mut case = CenterLossCase::deferred(shape, device);
            time(seconds, || case.step())
        }
        "step_at_rest" => {
            let mut case = CenterLossCase::strict(shape, device);
            time(seconds, || case.step_at_rest())
        }
        "step_gradient" => {
            let mut case = CenterLossCase::gradient_rule(shape, device);
            time(seconds, || case.step())
        }
        "contrastive_step" => {
            let mut case = ContrastiveCenterCase::new(shape, device);
            time(seconds, || case.step())
        }
        "sum_step" => {
            let mut case = CenterLossCase::strict(shape, device);
            time(seconds, || case.sum_step())
        }
        "plain_step" => {
            let mut case = PlainCenterLoss::new(shape, device);
            time(seconds, || case.step())
        }
        _ => return None,
    })
}

fn time_operation(
    operation: &str,
    numbers: &[usize],
    device: &Device,
    seconds: f64,
) -> Option<Value> {
    Some(match (operation, numbers) {
        ("knn", &[references, queries, feature_dim, k]) => {
            let case = KnnCase::new(KnnShape::new(references, queries, feature_dim, k), device);
            time(seconds, || case.predict())
        }
        ("plain_knn", &[references, queries, feature_dim, k]) => {
            let case = PlainKnn::new(KnnShape::new(references, queries, feature_dim, k), device);
            time(seconds, || case.predict())
        }
        ("nearest_center", &[centers, queries, feature_dim]) => {
            let shape = CentersShape::new(centers, queries, feature_dim);
            let case = NearestCenterCase::new(shape, device);
            time(seconds, || case.predict())
        }
        ("plain_nearest_center", &[centers, queries, feature_dim]) => {
            let shape = CentersShape::new(centers, queries, feature_dim);
            let case = PlainNearestCenter::new(shape, device);
            time(seconds, || case.predict())
        }
        ("retrieval", &[samples, num_classes, feature_dim]) => {
            let shape = RetrievalShape::new(samples, num_classes, feature_dim);
            let case = RetrievalCase::new(shape, device);
            time(seconds, || case.evaluate(false))
        }
        ("roc_curve", &[scores]) => {
            let case = RocCase::new(scores, device);
            time(seconds, || case.curve())
        }
        ("score_norm", &[rows, cohort, feature_dim, top_k]) => {
            let shape = ScoreNormShape {
                rows,
                cohort,
                feature_dim,
                top_k,
            };
            let case = ScoreNormCase::new(shape, 10 * rows, device);
            time(seconds, || case.s_norm())
        }
        (operation, &[batch_size, num_classes, feature_dim]) => {
            let shape = Shape::new(batch_size, num_classes, feature_dim);
            return time_margin(operation, shape, device, seconds)
                .or_else(|| time_distance(operation, shape, device, seconds))
                .or_else(|| time_loss(operation, shape, device, seconds));
        }
        _ => return None,
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo bench` runs every bench with `--bench`, `cargo test --benches` without arguments.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let Some((backend, arguments)) = arguments.split_first().filter(|_| !is_bench) else {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    };
    let device = devices().into_iter().find(|(name, _)| name == backend);
    let Some((_, device)) = device else {
        eprintln!("this build has no backend {backend}\n{USAGE}");
        return ExitCode::FAILURE;
    };
    match run(arguments, &device) {
        Some(times) => {
            println!("{}", json!({ "backend": backend, "times": times }));
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no such operation: {}\n{USAGE}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String], device: &Device) -> Option<Value> {
    let [operation, seconds, numbers @ ..] = arguments else {
        return None;
    };
    drop(black_box(vec![1_u8; FREED_BEFORE]));
    let numbers: Result<Vec<usize>, _> = numbers.iter().map(|number| number.parse()).collect();
    time_operation(operation, &numbers.ok()?, device, seconds.parse().ok()?)
}
