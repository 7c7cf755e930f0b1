//! Batches of P classes with K samples each, beside shuffled ones, on classes of 400 to 4 samples:
//! `cargo run --example pk_batches --features train`.
//!
//! Both trainings have as many steps of as many samples, the same data and the same start. Each sample is a sign of its class
//! under noise; the measure is the accuracy on new samples by the nearest proxy.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{PkBatches, PkDataLoader, ProxyAnchor, ProxyAnchorConfig};

const CLASSES: usize = 20;
const WIDTH: usize = 24;
const P: usize = 8;
const K: usize = 4;

#[derive(Module, Debug)]
struct Model {
    embedding: Linear,
    loss: ProxyAnchor,
}

type Item = (Vec<f32>, i64);

struct ToTensors;

impl Batcher<Item, (Tensor<2>, Tensor<1, Int>)> for ToTensors {
    fn batch(&self, items: Vec<Item>, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let (rows, labels): (Vec<Vec<f32>>, Vec<i64>) = items.into_iter().unzip();
        let shape = [rows.len(), WIDTH];
        let rows = Tensor::<1>::from_data(rows.concat().as_slice(), device).reshape(shape);
        (rows, Tensor::from_data(labels.as_slice(), device))
    }
}

/// So many new samples of each class around its sign.
fn samples(signs: &Tensor<2>, sizes: [usize; CLASSES]) -> Vec<Item> {
    let classes = sizes.iter().enumerate();
    let labels: Vec<i64> = classes
        .flat_map(|(class, size)| vec![class as i64; *size])
        .collect();
    let device = signs.device();
    let noise = Tensor::random(
        [labels.len(), WIDTH],
        Distribution::Normal(0.0, 1.0),
        &device,
    );
    let places = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
    let rows = (signs.clone().select(0, places) + noise).into_data();
    let rows: Vec<f32> = rows.iter().collect();
    rows.chunks(WIDTH)
        .map(<[f32]>::to_vec)
        .zip(labels)
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    device.seed(1);
    let signs = Tensor::<2>::random([CLASSES, WIDTH], Distribution::Normal(0.0, 0.6), &device);
    // 400 samples of the first class, half as many of the second, and so on, but at least 4.
    let sizes: [usize; CLASSES] = std::array::from_fn(|class| (400 >> class).max(4));
    let items = samples(&signs, sizes);
    let labels: Vec<i64> = items.iter().map(|(_, label)| *label).collect();
    let steps = items.len() / (P * K);
    // New samples: as many of each class as in training, or 200 of each class with at least 25 or with fewer.
    let equally = |is_large| sizes.map(|size| if (size >= 25) == is_large { 200 } else { 0 });
    let tests = [sizes, equally(true), equally(false)].map(|sizes| samples(&signs, sizes));

    let autodiff = device.clone().autodiff();
    let model = Model {
        embedding: LinearConfig::new(WIDTH, 16).init(&autodiff),
        loss: ProxyAnchorConfig::new(CLASSES, 16).init(&autodiff),
    };
    let batches = PkBatches::new(&labels, P, K, 1)?.with_batches(steps)?;
    let by_class = PkDataLoader::new(InMemDataset::new(items.clone()), ToTensors, batches)?;
    let shuffled = DataLoaderBuilder::new(ToTensors)
        .batch_size(P * K)
        .shuffle(1)
        .build(InMemDataset::new(items));

    println!(
        "accuracy after 40 epochs of {steps} steps, on new samples as frequent as in training,"
    );
    println!("and of large and of small classes alone, each class as frequent as the others");
    println!("batches    classes in a batch   as in training   large   small");
    for (name, loader) in [("shuffled", shuffled), ("P x K", Arc::new(by_class) as _)] {
        let loader: Arc<dyn DataLoader<_>> = loader;
        let loader = loader.to_device(&autodiff);
        let (mut model, mut optimizer) = (model.clone(), AdamConfig::new().init());
        let mut classes = 0;
        for _epoch in 0..40 {
            for batch in loader.iter().take(steps) {
                let (rows, labels) = batch?;
                classes += BTreeSet::from_iter(labels.to_data().iter::<i64>()).len();
                let loss = model.loss.forward(model.embedding.forward(rows), labels);
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                model = optimizer.step(1e-2, model, gradients);
            }
        }
        let model = model.valid();
        let classifier = model.loss.nearest_center()?;
        let [all, large, small] = tests.each_ref().map(|items| {
            let (rows, labels) = ToTensors.batch(items.clone(), &device);
            classifier.score(model.embedding.forward(rows), labels)
        });
        let classes = classes as f64 / (40 * steps) as f64;
        let (all, large, small) = (all?, large?, small?);
        println!("{name:8} {classes:20.1} {all:16.3} {large:7.3} {small:7.3}");
    }
    Ok(())
}
