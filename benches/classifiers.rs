//! k-NN and nearest-center classification on the CPU: `cargo bench --bench classifiers`.

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{KnnClassifierConfig, NearestCenter};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn random(rows: usize, feature_dim: usize, device: &Device) -> Tensor<2> {
    Tensor::random([rows, feature_dim], Distribution::Default, device)
}

fn knn(criterion: &mut Criterion) {
    let device = Device::flex();
    let mut group = criterion.benchmark_group("knn");
    group.sample_size(10);
    for [references, queries, feature_dim, k] in [
        [60_000, 10_000, 2, 5],
        [60_000, 1_000, 128, 5],
        [60_000, 1_000, 512, 10],
    ] {
        device.seed(1);
        let labels = Tensor::<1, Int>::arange(0..references as i64, &device) % 10;
        let classifier = KnnClassifierConfig::new(k)
            .fit(random(references, feature_dim, &device), labels)
            .expect("the references are valid");
        let batch = random(queries, feature_dim, &device);
        group.throughput(Throughput::Elements(queries as u64));
        let id = BenchmarkId::new(
            "predict",
            format!("N{references}_Q{queries}_D{feature_dim}_k{k}"),
        );
        group.bench_with_input(id, &batch, |b, batch| {
            b.iter(|| {
                classifier
                    .predict(batch.clone())
                    .expect("the queries are valid")
            })
        });
    }
    group.finish();
}

fn nearest_center(criterion: &mut Criterion) {
    let device = Device::flex();
    device.seed(1);
    let (classes, queries, feature_dim) = (10, 10_000, 2);
    let classifier = NearestCenter::from_centers(random(classes, feature_dim, &device))
        .expect("the centers are valid");
    let batch = random(queries, feature_dim, &device);
    let mut group = criterion.benchmark_group("nearest_center");
    group.throughput(Throughput::Elements(queries as u64));
    let id = BenchmarkId::new("predict", format!("C{classes}_Q{queries}_D{feature_dim}"));
    group.bench_with_input(id, &batch, |b, batch| {
        b.iter(|| {
            classifier
                .predict(batch.clone())
                .expect("the queries are valid")
        })
    });
    group.finish();
}

criterion_group!(benches, knn, nearest_center);
criterion_main!(benches);
