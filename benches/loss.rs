//! Center loss over batch size, number of classes and feature dimension, on the CPU: `cargo bench --bench loss`.

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{CenterLoss, CenterLossConfig, UpdateRule};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// batch_size, num_classes, feature_dim.
const SHAPES: [[usize; 3]; 6] = [
    [128, 10, 2],
    [256, 1_000, 128],
    [256, 100_000, 512],
    [4_096, 1_000, 512],
    [512, 1_000, 128],
    [512, 1_000_000, 128],
];

struct Setup {
    loss: CenterLoss,
    features: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Setup {
    fn new([batch_size, num_classes, feature_dim]: [usize; 3], rule: UpdateRule) -> Self {
        let device = Device::flex().autodiff();
        device.seed(1);
        let setup = Self {
            loss: CenterLossConfig::new(num_classes, feature_dim)
                .with_update_rule(rule)
                .init(&device),
            features: Tensor::random([batch_size, feature_dim], Distribution::Default, &device),
            labels: Tensor::random(
                [batch_size],
                Distribution::Uniform(0.0, num_classes as f64),
                &device,
            ),
        };
        // Centers are drawn at their first use.
        black_box(setup.loss.centers());
        setup
    }

    /// Forward, backward, and the update of the centers where the rule has one.
    fn step(&self) -> Tensor<2> {
        let features = self.features.clone().detach().require_grad();
        let loss = self.loss.forward(features.clone(), self.labels.clone());
        let gradients = loss.backward();
        features
            .grad(&gradients)
            .expect("features require gradients")
    }
}

fn id([batch_size, num_classes, feature_dim]: [usize; 3]) -> String {
    format!("B{batch_size}_C{num_classes}_D{feature_dim}")
}

fn shapes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loss");
    for shape in SHAPES {
        let [batch_size, _, feature_dim] = shape;
        // Features and gathered centers are read, the gradient is written.
        group.throughput(Throughput::Bytes((3 * 4 * batch_size * feature_dim) as u64));
        let setup = Setup::new(shape, UpdateRule::Paper);
        group.bench_with_input(BenchmarkId::new("evaluate", id(shape)), &setup, |b, s| {
            b.iter(|| s.loss.evaluate(s.features.clone(), s.labels.clone()))
        });
        group.bench_with_input(BenchmarkId::new("step", id(shape)), &setup, |b, s| {
            b.iter(|| s.step())
        });
    }
    group.finish();
}

fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step_by_rule");
    for rule in [
        UpdateRule::Paper,
        UpdateRule::Mean,
        UpdateRule::Sum,
        UpdateRule::Gradient,
        UpdateRule::Frozen,
    ] {
        let setup = Setup::new(SHAPES[1], rule);
        let id = BenchmarkId::new(format!("{rule:?}"), id(SHAPES[1]));
        group.bench_with_input(id, &setup, |b, s| b.iter(|| s.step()));
    }
    group.finish();
}

criterion_group!(benches, shapes, rules);
criterion_main!(benches);
