//! k-NN and nearest-center classification, and both by plain tensor operations, on every backend of the build:
//! `cargo bench --bench classifiers`.
//!
//! References, centers and queries are made before the clock starts, and every call waits for the device.

#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

use cases::devices::devices;
use cases::neighbors::{
    CentersShape, KnnCase, KnnShape, NearestCenterCase, PlainKnn, PlainNearestCenter,
    assert_plain_predictions_are_the_same,
};

const KNN_SHAPES: [KnnShape; 3] = [
    KnnShape::new(60_000, 10_000, 2, 5),
    KnnShape::new(60_000, 1_000, 128, 5),
    KnnShape::new(60_000, 1_000, 512, 10),
];

fn knn(criterion: &mut Criterion) {
    for (backend, device) in devices() {
        assert_plain_predictions_are_the_same(&device);
        let mut group = criterion.benchmark_group(format!("knn/{backend}"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500));
        for shape in KNN_SHAPES {
            group.throughput(Throughput::Elements(shape.queries as u64));
            let case = KnnCase::new(shape, &device);
            group.bench_with_input(BenchmarkId::new("predict", shape), &case, |b, case| {
                b.iter(|| case.predict())
            });
            // Every query costs them the same: a part says as much, and takes seconds, not minutes.
            let shape = KnnShape {
                queries: shape.queries.min(1_000),
                ..shape
            };
            group.throughput(Throughput::Elements(shape.queries as u64));
            let case = PlainKnn::new(shape, &device);
            group.bench_with_input(BenchmarkId::new("plain_ops", shape), &case, |b, case| {
                b.iter(|| case.predict())
            });
        }
        group.finish();
    }
}

fn nearest_center(criterion: &mut Criterion) {
    for (backend, device) in devices() {
        let shape = CentersShape::new(10, 10_000, 2);
        let mut group = criterion.benchmark_group(format!("nearest_center/{backend}"));
        group.throughput(Throughput::Elements(shape.queries as u64));
        let case = NearestCenterCase::new(shape, &device);
        group.bench_with_input(BenchmarkId::new("predict", shape), &case, |b, case| {
            b.iter(|| case.predict())
        });
        let case = PlainNearestCenter::new(shape, &device);
        group.bench_with_input(BenchmarkId::new("plain_ops", shape), &case, |b, case| {
            b.iter(|| case.predict())
        });
        group.finish();
    }
}

criterion_group!(benches, knn, nearest_center);
criterion_main!(benches);
