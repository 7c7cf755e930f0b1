//! Softmax with a margin, and softmax over distances, over batch size, number of classes and feature dimension, on every
//! backend of the build: `cargo bench --bench margin`.
//!
//! Value and both gradients; without an optimizer, which takes the same time whatever the loss is.

#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::time::Duration;

use burn_center_loss::SoftmaxDistance;
use cases::center_loss::Shape;
use cases::devices::devices;
use cases::distance::{
    DistanceCase, PlainDistanceSoftmax, assert_plain_distance_softmax_is_the_same,
};
use cases::margin::{MarginCase, PlainArcFace, Products, assert_plain_arcface_is_the_same};

const SHAPES: [Shape; 4] = [
    Shape::new(128, 10, 2),
    Shape::new(256, 1_000, 128),
    Shape::new(256, 10_000, 512),
    Shape::new(512, 100_000, 128),
];

fn shapes(criterion: &mut Criterion) {
    for (backend, device) in devices() {
        assert_plain_arcface_is_the_same(SHAPES[1], &device);
        let mut group = criterion.benchmark_group(format!("margin/{backend}"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(5));
        for shape in SHAPES {
            let case = MarginCase::new(shape, &device);
            group.bench_function(BenchmarkId::new("arcface", shape), |b| {
                b.iter(|| case.forward_backward())
            });
            drop(case);
            let case = PlainArcFace::new(shape, &device);
            group.bench_function(BenchmarkId::new("plain_ops", shape), |b| {
                b.iter(|| case.forward_backward())
            });
            drop(case);
            let case = Products::new(shape, &device);
            group.bench_function(BenchmarkId::new("products", shape), |b| {
                b.iter(|| case.run())
            });
        }
        group.finish();
    }
}

fn distances(criterion: &mut Criterion) {
    for (backend, device) in devices() {
        assert_plain_distance_softmax_is_the_same(SHAPES[1], &device);
        let mut group = criterion.benchmark_group(format!("distance/{backend}"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(5));
        for shape in &SHAPES[..3] {
            let shape = *shape;
            for distance in [
                SoftmaxDistance::SquaredEuclidean,
                SoftmaxDistance::Euclidean,
            ] {
                let case = DistanceCase::new(shape, distance, &device);
                group.bench_function(BenchmarkId::new(format!("{distance:?}"), shape), |b| {
                    b.iter(|| case.forward_backward())
                });
            }
            let case = PlainDistanceSoftmax::new(shape, &device);
            group.bench_function(BenchmarkId::new("plain_ops", shape), |b| {
                b.iter(|| case.forward_backward())
            });
        }
        group.finish();
    }
}

criterion_group!(benches, shapes, distances);
criterion_main!(benches);
