//! Center loss over batch size, number of classes and feature dimension, on every backend of the build:
//! `cargo bench --bench loss`, or with a part of a name: `cargo bench --bench loss -- flex/step`.
//!
//! Data and centers are made before the clock starts, and every call waits for the device. The throughput is of the
//! bytes that an operation has to move at least, each once. The steps are those of a model that an optimizer steps.

#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

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
            let mut case = CenterLossCase::strict(shape, &device);
            group.throughput(Throughput::Bytes(shape.bytes_of_evaluate()));
            group.bench_function(BenchmarkId::new("evaluate", shape), |b| {
                b.iter(|| case.evaluate())
            });
            group.throughput(Throughput::Bytes(shape.bytes_of_forward_backward()));
            group.bench_function(BenchmarkId::new("forward_backward", shape), |b| {
                b.iter(|| case.forward_backward())
            });
            // The update is measured before the clock starts: the batch is still in the caches.
            group.throughput(Throughput::Bytes(shape.bytes_of_update()));
            group.bench_function(BenchmarkId::new("update", shape), |b| {
                b.iter_batched(
                    || case.measure(),
                    |update| case.apply(update),
                    BatchSize::LargeInput,
                )
            });
            group.throughput(Throughput::Bytes(shape.bytes_of_step()));
            group.bench_function(BenchmarkId::new("step", shape), |b| b.iter(|| case.step()));
            drop(case);

            let mut case = CenterLossCase::deferred(shape, &device);
            group.bench_function(BenchmarkId::new("step_deferred", shape), |b| {
                b.iter(|| case.step())
            });
            drop(case);

            let mut case = PlainCenterLoss::new(shape, &device);
            group.bench_function(BenchmarkId::new("plain_ops", shape), |b| {
                b.iter(|| case.step())
            });
        }
        group.finish();
    }
}

fn rules(criterion: &mut Criterion) {
    for (backend, device) in devices() {
        let mut group = criterion.benchmark_group(format!("step_by_rule/{backend}"));
        let shape = SHAPES[1];
        for (rule, mut case) in CenterLossCase::rules(shape, &device) {
            group.bench_function(BenchmarkId::new(rule, shape), |b| b.iter(|| case.step()));
        }
        group.finish();
    }
}

criterion_group!(benches, shapes, rules);
criterion_main!(benches);
