//! The data: four IDX files, checked, and split into training, validation and test samples.

mod idx;
mod shift;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

pub use shift::Shifts;

/// The smallest side that three halvings leave something of.
const MIN_SIDE: usize = 8;

/// At most how many samples of each kind a run works with; `None` is all there are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SplitSizes {
    pub train: Option<usize>,
    /// Taken from the training files, apart from the training samples; at most half of them.
    pub validation: usize,
    pub test: Option<usize>,
}

/// The samples of a run.
pub struct Dataset {
    pub train: Samples,
    pub validation: Samples,
    pub test: Samples,
    pub num_classes: usize,
}

/// Labelled grey-scale images of one size.
#[derive(Clone)]
pub struct Samples {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    height: usize,
    width: usize,
}

impl Dataset {
    /// Reads the four files of `directory`.
    ///
    /// Without `num_classes` there are as many classes as the largest training label says. The split depends on the
    /// files and `sizes` alone, so that runs of different seeds are measured on the same samples.
    pub fn load(directory: &Path, num_classes: Option<usize>, sizes: SplitSizes) -> Result<Self> {
        let (_, train_images) = idx::read_images(directory, "train-images-idx3-ubyte")?;
        let (train_labels_path, train_labels) =
            idx::read_labels(directory, "train-labels-idx1-ubyte")?;
        let (test_images_path, test_images) =
            idx::read_images(directory, "t10k-images-idx3-ubyte")?;
        let (test_labels_path, test_labels) =
            idx::read_labels(directory, "t10k-labels-idx1-ubyte")?;

        let side = |images: &idx::Images| (images.height, images.width);
        ensure!(
            side(&test_images) == side(&train_images),
            "{}: images of {:?}, but the training images are {:?}",
            test_images_path.display(),
            side(&test_images),
            side(&train_images)
        );
        let num_classes = num_classes.unwrap_or_else(|| {
            let largest = train_labels.iter().max();
            largest.map_or(0, |&label| usize::from(label) + 1)
        });
        let train = Samples::checked(train_images, train_labels, num_classes, &train_labels_path)?;
        let test = Samples::checked(test_images, test_labels, num_classes, &test_labels_path)?;

        // Some of the files are sorted by difficulty or by writer: what a smaller run takes must not be.
        let order = shuffled(train.len(), &mut StdRng::seed_from_u64(0));
        let validation_len = sizes.validation.min(train.len() / 2);
        let left = train.len() - validation_len;
        let train_len = sizes.train.unwrap_or(left).min(left);
        let (validation_order, rest) = order.split_at(validation_len);
        let test_order = shuffled(test.len(), &mut StdRng::seed_from_u64(0));
        let test_len = sizes.test.unwrap_or(test.len()).min(test.len());
        Ok(Self {
            validation: train.subset(validation_order),
            train: train.subset(&rest[..train_len]),
            test: test.subset(&test_order[..test_len]),
            num_classes,
        })
    }
}

impl Samples {
    fn checked(
        images: idx::Images,
        labels: Vec<u8>,
        num_classes: usize,
        labels_path: &Path,
    ) -> Result<Self> {
        let path = labels_path.display();
        ensure!(
            images.count == labels.len(),
            "{path}: {} labels for {} images",
            labels.len(),
            images.count
        );
        ensure!(!labels.is_empty(), "{path}: no samples");
        ensure!(
            images.height.min(images.width) >= MIN_SIDE,
            "the images beside {path} are {}x{}; LeNet++ needs at least {MIN_SIDE}x{MIN_SIDE}",
            images.height,
            images.width
        );
        let misfit = labels
            .iter()
            .position(|&label| usize::from(label) >= num_classes);
        if let Some(index) = misfit {
            bail!(
                "{path}: label {} at index {index}; labels must be below the number of classes, {num_classes}",
                labels[index]
            );
        }
        Ok(Self {
            pixels: images.pixels,
            labels,
            height: images.height,
            width: images.width,
        })
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Height and width of every image.
    pub fn image_size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The samples at `indices`, in that order.
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            pixels: indices
                .iter()
                .flat_map(|&index| self.image(index))
                .copied()
                .collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            ..*self
        }
    }

    /// The first `count` samples, or all if there are fewer.
    pub fn first(&self, count: usize) -> Self {
        self.subset(&Vec::from_iter(0..count.min(self.len())))
    }

    /// The images at `indices`, `[batch_size, 1, height, width]`, with values from 0 to 1.
    pub fn images_at(&self, indices: &[usize], device: &Device) -> Tensor<4> {
        let pixels = indices.iter().flat_map(|&index| self.image(index));
        self.images(pixels.copied(), indices.len(), device)
    }

    /// As [`images_at`](Self::images_at), each image moved by the next of `shifts`.
    pub fn shifted_images_at(
        &self,
        indices: &[usize],
        shifts: &mut Shifts,
        device: &Device,
    ) -> Tensor<4> {
        let pixels = indices
            .iter()
            .flat_map(|&index| shifts.shifted(self.image(index), self.width));
        self.images(pixels, indices.len(), device)
    }

    fn image(&self, index: usize) -> &[u8] {
        let area = self.height * self.width;
        &self.pixels[index * area..(index + 1) * area]
    }

    fn images(&self, pixels: impl Iterator<Item = u8>, count: usize, device: &Device) -> Tensor<4> {
        let values: Vec<f32> = pixels.map(|pixel| f32::from(pixel) / 255.0).collect();
        let shape = [count, 1, self.height, self.width];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// The labels at `indices`, `[batch_size]`.
    pub fn labels_at(&self, indices: &[usize], device: &Device) -> Tensor<1, Int> {
        let values: Vec<i32> = indices
            .iter()
            .map(|&index| i32::from(self.labels[index]))
            .collect();
        Tensor::from_data(TensorData::new(values, [indices.len()]), device)
    }

    /// The order of an epoch. It follows from `seed` and `epoch` alone, so a resumed run goes through the same batches.
    pub fn epoch_order(&self, seed: u64, epoch: usize) -> Vec<usize> {
        shuffled(self.len(), &mut generator(seed, epoch, Purpose::Order))
    }
}

/// What the random numbers of an epoch are for.
#[derive(Clone, Copy)]
enum Purpose {
    Order = 0,
    Shifts = 1,
}

/// An own stream for every seed, epoch and purpose: neighbouring seeds would share numbers if the three were added.
fn generator(seed: u64, epoch: usize, purpose: Purpose) -> StdRng {
    let mut seeding = [0; 32];
    seeding[..8].copy_from_slice(&seed.to_le_bytes());
    seeding[8..16].copy_from_slice(&(epoch as u64).to_le_bytes());
    seeding[16] = purpose as u8;
    StdRng::from_seed(seeding)
}

fn shuffled(len: usize, rng: &mut StdRng) -> Vec<usize> {
    let mut order = Vec::from_iter(0..len);
    order.shuffle(rng);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(len: usize) -> Samples {
        let images = idx::Images {
            pixels: (0..len * 64).map(|value| (value / 64) as u8).collect(),
            count: len,
            height: 8,
            width: 8,
        };
        let labels = (0..len).map(|index| (index % 10) as u8).collect();
        Samples::checked(images, labels, 10, Path::new("labels")).unwrap()
    }

    #[test]
    fn a_subset_keeps_images_and_labels_together() {
        let subset = samples(20).subset(&[13, 4]);
        assert_eq!(subset.labels, [3, 4]);
        assert_eq!((subset.pixels[0], subset.pixels[64]), (13, 4));
    }

    #[test]
    fn the_data_that_comes_with_the_program_is_whole() {
        let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data"));
        let sizes = SplitSizes {
            train: None,
            validation: 5_000,
            test: Some(100),
        };
        let dataset = Dataset::load(directory, None, sizes).unwrap();
        let lens = [&dataset.train, &dataset.validation, &dataset.test].map(Samples::len);
        assert_eq!(lens, [55_000, 5_000, 100]);
        assert_eq!(dataset.num_classes, 10);
        assert_eq!(dataset.train.image_size(), [28, 28]);
    }

    #[test]
    fn every_seed_and_epoch_has_its_own_order() {
        let samples = samples(50);
        let order = samples.epoch_order(1, 2);
        assert_eq!(order, samples.epoch_order(1, 2));
        assert_ne!(order, samples.epoch_order(2, 1));
        assert_ne!(order, samples.epoch_order(1, 3));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, Vec::from_iter(0..50));
    }

    #[test]
    fn a_label_beyond_the_classes_is_an_error() {
        let images = idx::Images {
            pixels: vec![0; 128],
            count: 2,
            height: 8,
            width: 8,
        };
        let error = Samples::checked(images, vec![1, 10], 10, Path::new("labels"));
        assert_eq!(
            error.map(|_| ()).unwrap_err().to_string(),
            "labels: label 10 at index 1; labels must be below the number of classes, 10"
        );
    }
}
