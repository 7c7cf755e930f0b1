//! A training step allocates what the batch needs, and one number per class for the histogram under deferred checking,
//! however many classes there are.
//!
//! The only test of its file, since it counts every allocation of the process.
#![cfg(feature = "flex")]

mod allocations;

use burn::tensor::{Device, Int, Tensor};
use burn_center_loss::{CenterLossConfig, Checking, UpdateRule};

use allocations::with_peak;

/// The most that one training step allocates at one time beyond what lived before it.
fn peak_of_a_step(num_classes: usize, rule: UpdateRule, checking: Checking) -> usize {
    const BATCH_SIZE: usize = 64;
    const FEATURE_DIM: usize = 32;
    let device = Device::flex().autodiff();
    let loss = CenterLossConfig::new(num_classes, FEATURE_DIM)
        .with_update_rule(rule)
        .with_checking(checking)
        .init(&device);
    let step = || {
        let features = Tensor::<2>::ones([BATCH_SIZE, FEATURE_DIM], &device).require_grad();
        let labels = Tensor::<1, Int>::arange(0..BATCH_SIZE as i64, &device) % 50;
        let gradients = loss.forward(features.clone(), labels).backward();
        features.grad(&gradients).unwrap();
    };
    // The first step draws the centers and starts the threads.
    step();
    let ((), peak) = with_peak(step);
    peak
}

#[test]
fn memory_does_not_depend_on_the_number_of_classes() {
    for checking in [Checking::Strict, Checking::Deferred] {
        for rule in [UpdateRule::paper(), UpdateRule::mean(), UpdateRule::sum()] {
            let few = peak_of_a_step(100, rule.clone(), checking);
            let many = peak_of_a_step(200_000, rule.clone(), checking);
            // One copy of the many centers alone would be 25 600 000 bytes.
            let histogram = match checking {
                Checking::Strict => 0,
                Checking::Deferred => 200_000 * size_of::<f32>(),
            };
            assert!(
                many < few + few / 4 + histogram,
                "{rule:?}, {checking:?}: {many} bytes with many classes, {few} with few"
            );
        }
    }
}
