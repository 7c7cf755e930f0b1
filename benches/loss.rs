//! Center loss over batch size, number of classes and feature dimension, on every backend of the build:
//! `cargo bench --bench loss`, or with a part of a name: `cargo bench --bench loss -- flex/step`.
//!
//! Data and centers are made before the clock starts, and every call waits for the device. The throughput is of the
//! bytes that an operation has to move at least, each once.

#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

use burn_center_loss::{Checking, UpdateRule};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

use cases::center_loss::{CenterLossCase, PlainCenterLoss, Shape, assert_plain_step_is_the_same};
use cases::devices::devices;

const SHAPES: [Shape; 6] = [
    Shape::new(128, 10, 2),
    Shape::new(256, 1_000, 128),
    Shape::new(256, 100_000, 512),
    Shape::new(4_096, 1_000, 512),
    Shape::new(512, 100_000, 128),
    Shape::new(512, 1_000_000, 128),
];

fn shapes(criterion: &mut Criterion) {
    for (backend, device) in devices() {
        assert_plain_step_is_the_same(SHAPES[1], &device);
        let mut group = criterion.benchmark_group(format!("loss/{backend}"));
        group
            .sample_size(20)
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(3));
        for shape in SHAPES {
            let case = CenterLossCase::new(shape, &device, |config| config);
            group.throughput(Throughput::Bytes(shape.bytes_of_evaluate()));
            group.bench_with_input(BenchmarkId::new("evaluate", shape), &case, |b, case| {
                b.iter(|| case.evaluate())
            });
            group.throughput(Throughput::Bytes(shape.bytes_of_forward_backward()));
            let id = BenchmarkId::new("forward_backward", shape);
            group.bench_with_input(id, &case, |b, case| b.iter(|| case.forward_backward()));
            // What to apply is measured before the clock starts: the batch is still in the caches.
            group.throughput(Throughput::Bytes(shape.bytes_of_update()));
            group.bench_with_input(BenchmarkId::new("update", shape), &case, |b, case| {
                b.iter_batched(
                    || case.measure(),
                    |update| case.apply(update),
                    BatchSize::LargeInput,
                )
            });
            group.throughput(Throughput::Bytes(shape.bytes_of_step()));
            group.bench_with_input(BenchmarkId::new("step", shape), &case, |b, case| {
                b.iter(|| case.step())
            });
            drop(case);

            let case = CenterLossCase::new(shape, &device, |config| {
                config.with_checking(Checking::Deferred)
            });
            group.bench_with_input(
                BenchmarkId::new("step_deferred", shape),
                &case,
                |b, case| b.iter(|| case.step()),
            );
            drop(case);

            let mut case = PlainCenterLoss::new(shape, &device);
            group.bench_function(BenchmarkId::new("plain_ops", shape), |b| {
                b.iter(|| case.step())
            });
        }
        group.finish();
    }
}

/// Under `Gradient` without the optimizer's step, which is the caller's.
fn rules(criterion: &mut Criterion) {
    for (backend, device) in devices() {
        let mut group = criterion.benchmark_group(format!("step_by_rule/{backend}"));
        for rule in [
            UpdateRule::Paper,
            UpdateRule::Mean,
            UpdateRule::Sum,
            UpdateRule::Gradient,
            UpdateRule::Frozen,
        ] {
            let shape = SHAPES[1];
            let case = CenterLossCase::new(shape, &device, |config| config.with_update_rule(rule));
            let id = BenchmarkId::new(format!("{rule:?}"), shape);
            group.bench_with_input(id, &case, |b, case| b.iter(|| case.step()));
        }
        group.finish();
    }
}

criterion_group!(benches, shapes, rules);
criterion_main!(benches);
