//! The library's side of `peers.py`: times one operation and prints one line of JSON.
//!
//! ```text
//! peers step|step_deferred|forward_backward|evaluate|step_gradient|plain_step B C D [--seconds S]
//! peers knn|plain_knn REFERENCES QUERIES D K [--seconds S]
//! peers nearest_center|plain_nearest_center CENTERS QUERIES D [--seconds S]
//! peers scaling [--seconds S]
//! ```
//!
//! `scaling` times the whole step over batch size, number of classes and feature dimension.

#[allow(dead_code, reason = "every bench runs a part of the cases")]
#[path = "../cases/mod.rs"]
mod cases;

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_center_loss::Checking;
use serde_json::{Value, json};

use cases::center_loss::{CenterLossCase, GradientRuleCase, PlainCenterLoss, Shape};
use cases::devices::devices;
use cases::neighbors::{
    CentersShape, KnnCase, KnnShape, NearestCenterCase, PlainKnn, PlainNearestCenter,
};

const USAGE: &str = "peers.py beside this program's source runs it: python3 benches/peers/peers.py";

/// At least this many repetitions, however long they take.
const MIN_REPETITIONS: usize = 3;
/// At most this many, however short they are.
const MAX_REPETITIONS: usize = 100_000;

/// Repeats an operation for some time and gives each repetition's time in microseconds: the median, the least and how
/// many. A fifth of the time goes to repetitions before that are not counted.
fn time<T>(seconds: f64, mut operation: impl FnMut() -> T) -> Value {
    let repeat = |operation: &mut dyn FnMut() -> T, seconds: f64, least: usize| {
        let budget = Duration::from_secs_f64(seconds);
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < least || (begin.elapsed() < budget && times.len() < MAX_REPETITIONS) {
            let start = Instant::now();
            let result = operation();
            times.push(start.elapsed().as_secs_f64() * 1e6);
            drop(result);
        }
        times
    };
    repeat(&mut operation, seconds / 5.0, 1);
    let mut times = repeat(&mut operation, seconds, MIN_REPETITIONS);
    times.sort_unstable_by(f64::total_cmp);
    json!({
        "median_us": times[times.len() / 2],
        "min_us": times[0],
        "repetitions": times.len(),
    })
}

fn time_loss(operation: &str, shape: Shape, device: &Device, seconds: f64) -> Option<Value> {
    let with_checking =
        |checking| CenterLossCase::new(shape, device, |config| config.with_checking(checking));
    Some(match operation {
        "step" => {
            let case = with_checking(Checking::Strict);
            time(seconds, || case.step())
        }
        "step_deferred" => {
            let case = with_checking(Checking::Deferred);
            time(seconds, || case.step())
        }
        "forward_backward" => {
            let case = with_checking(Checking::Strict);
            time(seconds, || case.forward_backward())
        }
        "evaluate" => {
            let case = with_checking(Checking::Strict);
            time(seconds, || case.evaluate())
        }
        "step_gradient" => {
            let mut case = GradientRuleCase::new(shape, device);
            time(seconds, || case.step())
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
        ("scaling", []) => scaling(device, seconds),
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
        (operation, &[batch_size, num_classes, feature_dim]) => {
            let shape = Shape::new(batch_size, num_classes, feature_dim);
            return time_loss(operation, shape, device, seconds);
        }
        _ => return None,
    })
}

/// The times of the whole step over each size, the other two held.
fn scaling(device: &Device, seconds: f64) -> Value {
    const OPERATIONS: [&str; 4] = ["step", "step_deferred", "plain_step", "step_gradient"];
    /// The gradient rule's gradient and its copies are as large as the centers: 205 MB each at this many.
    const MAX_GRADIENT_RULE_CLASSES: usize = 100_000;
    let sweeps = [
        (
            "batch_size",
            "10 000 classes, 128 columns",
            [16, 64, 256, 1_024, 4_096, 16_384].map(|b| Shape::new(b, 10_000, 128)),
        ),
        (
            "num_classes",
            "batches of 256, 128 columns",
            [10, 100, 1_000, 10_000, 100_000, 1_000_000].map(|c| Shape::new(256, c, 128)),
        ),
        (
            "feature_dim",
            "batches of 256, 10 000 classes",
            [2, 8, 32, 128, 512, 2_048].map(|d| Shape::new(256, 10_000, d)),
        ),
    ];
    sweeps
        .into_iter()
        .map(|(axis, held, shapes)| {
            let mut points = Vec::new();
            for shape in shapes {
                for operation in OPERATIONS {
                    if operation == "step_gradient" && shape.num_classes > MAX_GRADIENT_RULE_CLASSES
                    {
                        continue;
                    }
                    let times = time_loss(operation, shape, device, seconds);
                    points.push(json!({
                        "operation": operation,
                        "batch_size": shape.batch_size,
                        "num_classes": shape.num_classes,
                        "feature_dim": shape.feature_dim,
                        "times": times,
                    }));
                }
            }
            json!({ "axis": axis, "held": held, "points": points })
        })
        .collect()
}

fn main() -> ExitCode {
    let mut words = Vec::new();
    let mut numbers = Vec::new();
    let mut seconds = 1.0;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let Some(value) = arguments.next().and_then(|value| value.parse().ok()) else {
                eprintln!("--seconds takes a number");
                return ExitCode::FAILURE;
            };
            seconds = value;
        } else if let Ok(number) = argument.parse() {
            numbers.push(number);
        } else {
            words.push(argument);
        }
    }
    // `cargo bench` runs every bench with `--bench`, `cargo test --benches` without arguments.
    words.retain(|word| word != "--bench");
    let Some(operation) = words.first() else {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    };
    let Some((backend, device)) = devices().into_iter().next() else {
        eprintln!("this build has no backend");
        return ExitCode::FAILURE;
    };
    match time_operation(operation, &numbers, &device, seconds) {
        Some(times) => {
            println!("{}", json!({ "backend": backend, "times": times }));
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no such operation: {operation} {numbers:?}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}
