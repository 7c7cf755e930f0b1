//! A training step with a relative of center loss allocates some copies of the centers, and nothing that grows with
//! samples times classes.
//!
//! The only test of its file, since it counts every allocation of the process.
#![cfg(feature = "flex")]

mod allocations;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{
    Checking, ContrastiveCenterLossConfig, IslandLossConfig, TripletCenterLossConfig,
};

use allocations::with_peak;

const BATCH_SIZE: usize = 256;
const NUM_CLASSES: usize = 100_000;
const FEATURE_DIM: usize = 10;

/// The most that one training step allocates at one time beyond what lived before it.
fn peak_of_a_step<L: Module>(
    loss: &L,
    device: &Device,
    forward: impl Fn(&L, Tensor<2>, Tensor<1, Int>) -> Tensor<1>,
) -> usize {
    let shape = [BATCH_SIZE, FEATURE_DIM];
    let features = Tensor::<2>::random(shape, Distribution::Default, device).require_grad();
    let step = || {
        let labels = Tensor::<1, Int>::arange(0..BATCH_SIZE as i64, device) % 50;
        let mut gradients = forward(loss, features.clone(), labels).backward();
        let gradient = features.grad_remove(&mut gradients).unwrap();
        (gradient, GradientsParams::from_grads(gradients, loss))
    };
    // The first step draws the centers and starts the threads.
    drop(step());
    let (_, peak) = with_peak(step);
    peak
}

#[test]
fn memory_grows_with_samples_and_with_classes_alone() {
    let mut devices = vec![Device::flex().autodiff()];
    #[cfg(feature = "ndarray")]
    #[expect(deprecated, reason = "supported as long as Burn has it")]
    devices.push(Device::ndarray().autodiff());
    // A matrix of samples and classes is 102 400 000 bytes, the centers are 4 000 000.
    let centers = NUM_CLASSES * FEATURE_DIM * size_of::<f32>();
    for device in &devices {
        for checking in [Checking::Strict, Checking::Deferred] {
            let contrastive = ContrastiveCenterLossConfig::new(NUM_CLASSES, FEATURE_DIM)
                .with_checking(checking)
                .init(device);
            let triplet = TripletCenterLossConfig::new(NUM_CLASSES, FEATURE_DIM)
                .with_checking(checking)
                .init(device);
            let island = IslandLossConfig::new(NUM_CLASSES, FEATURE_DIM)
                .with_checking(checking)
                .init(device);
            let peaks = [
                peak_of_a_step(&contrastive, device, |loss, x, y| loss.forward(x, y)),
                peak_of_a_step(&triplet, device, |loss, x, y| loss.forward(x, y)),
                peak_of_a_step(&island, device, |loss, x, y| loss.forward(x, y)),
            ];
            for (peak, name) in peaks.into_iter().zip(["contrastive", "triplet", "island"]) {
                assert!(
                    peak < 8 * centers,
                    "{name}, {device:?}, {checking:?}: {peak} bytes"
                );
            }
        }
    }
}
