//! A training step with a softmax over distances allocates, beyond the gradient of the centers, what does not depend on
//! the number of classes, unless the budget lets it keep all scores.
//!
//! The only test of its file, since it counts every allocation of the process.
#![cfg(feature = "flex")]

mod allocations;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{DistanceSoftmaxConfig, SoftmaxDistance};

use allocations::with_peak;

const BATCH_SIZE: usize = 64;
const FEATURE_DIM: usize = 16;

/// The most that one training step allocates at one time beyond what lived before it and some copies of features and
/// centers.
fn peak_of_a_step(config: &DistanceSoftmaxConfig, device: &Device, copies: usize) -> usize {
    let loss = config.init(device);
    let shape = [BATCH_SIZE, FEATURE_DIM];
    let features = Tensor::<2>::random(shape, Distribution::Default, device).require_grad();
    let step = || {
        let labels = Tensor::<1, Int>::arange(0..BATCH_SIZE as i64, device) % 50;
        let mut gradients = loss.forward(features.clone(), labels).backward();
        let gradient = features.grad_remove(&mut gradients).unwrap();
        (gradient, GradientsParams::from_grads(gradients, &loss))
    };
    // The first step draws the centers and starts the threads.
    drop(step());
    let (_, peak) = with_peak(step);
    let rows = BATCH_SIZE + config.num_classes * config.sub_centers;
    peak.saturating_sub(copies * rows * FEATURE_DIM * size_of::<f32>())
}

/// Checks that four times as many classes take no more than a quarter more beside so many copies of them, and that a
/// budget is kept.
fn check(device: &Device, config: &DistanceSoftmaxConfig, copies: usize) {
    let peak = |num_classes, budget| {
        let mut config = config.clone().with_score_budget(budget);
        config.num_classes = num_classes;
        peak_of_a_step(&config, device, copies)
    };
    // Several blocks of scores, and four times as many.
    let (few, many) = (peak(20_000, 0), peak(80_000, 0));
    assert!(
        many < few + few / 4,
        "{device:?}, {config}: {many} bytes with many classes, {few} with few"
    );
    let kept = peak(20_000, 1 << 26);
    assert!(kept < few + (1 << 26), "{device:?}, {config}: {kept} bytes");
}

#[test]
fn memory_does_not_depend_on_the_number_of_classes() {
    let with = |distance, sub_centers| {
        DistanceSoftmaxConfig::new(1, FEATURE_DIM)
            .with_distance(distance)
            .with_margin(0.1)
            .with_pull(0.1)
            .with_sub_centers(sub_centers)
    };
    let device = Device::flex().autodiff();
    for config in [
        with(SoftmaxDistance::SquaredEuclidean, 1),
        with(SoftmaxDistance::SquaredEuclidean, 2),
        with(SoftmaxDistance::Euclidean, 1),
    ] {
        // The gradients.
        check(&device, &config, 1);
    }
    #[cfg(feature = "ndarray")]
    {
        // The same blocks by tensor operations. The gradients are computed at once, and multiplied on the graph.
        #[expect(deprecated, reason = "supported as long as Burn has it")]
        let device = Device::ndarray().autodiff();
        check(&device, &with(SoftmaxDistance::SquaredEuclidean, 1), 2);
    }
}
