//! The data: four IDX files, checked, and split into training, validation and test samples.

mod classes;
mod files;
mod idx;
mod shift;
mod shrink;
mod unknown;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

pub use classes::Classes;
use files::Files;
pub use shift::Shifts;
pub use unknown::{Parting, random_unknown_classes};

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

/// Where the samples of a run come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub directory: PathBuf,
    /// Which of several splits in the directory is read, as `--split` names it.
    pub split: Option<String>,
    /// Whether rows and columns of the images are exchanged; `None` exchanges those of EMNIST's files.
    pub transpose: Option<bool>,
}

/// The samples of a run.
pub struct Dataset {
    pub train: Samples,
    pub validation: Samples,
    pub test: Samples,
    /// Test samples of the classes that are left out, which are in none of the other sets.
    pub unknown: Samples,
    pub classes: Classes,
}

/// Labelled grey-scale images of one size.
#[derive(Clone)]
pub struct Samples {
    pixels: Vec<u8>,
    /// The number of each sample's class.
    labels: Vec<u8>,
    height: usize,
    width: usize,
}

impl Dataset {
    /// Reads the four files of `source`.
    ///
    /// The classes are the labels of the training file. With `num_classes` they are the labels from 0 on, with samples
    /// or without. Those with the labels `unknown_classes` are left out. Images are
    /// made smaller by the factor `shrink`. Validation samples and smaller sets depend on the files and `sizes` alone, so that runs of different
    /// seeds are measured on the same samples.
    pub fn load(
        source: &Source,
        num_classes: Option<usize>,
        unknown_classes: &[u8],
        shrink: usize,
        sizes: SplitSizes,
    ) -> Result<Self> {
        let files = Files::find(&source.directory, source.split.as_deref())?;
        let transpose = source.transpose.unwrap_or(files.by_columns);
        let read_images = |path: &Path| {
            idx::read_images(path).map(|images| match transpose {
                true => images.transposed().shrunk(shrink),
                false => images.shrunk(shrink),
            })
        };
        let train_images = read_images(&files.train_images)?;
        let train_labels = idx::read_labels(&files.train_labels)?;
        let test_images = read_images(&files.test_images)?;
        let test_labels = idx::read_labels(&files.test_labels)?;

        let side = |images: &idx::Images| (images.height, images.width);
        ensure!(
            side(&test_images) == side(&train_images),
            "{}: images of {:?}, but the training images are {:?}",
            files.test_images.display(),
            side(&test_images),
            side(&train_images)
        );
        let mapping = files.mapping.as_deref();
        let classes = match num_classes {
            Some(num_classes) => Classes::counted(num_classes, mapping)?,
            None => Classes::of(&train_labels, mapping)?,
        };
        let train = Samples::checked(train_images, &train_labels, &classes, &files.train_labels)?;
        let test = Samples::checked(test_images, &test_labels, &classes, &files.test_labels)?;
        ensure!(
            classes.len() > 1,
            "{}: all labels are {}, but a network needs at least two classes",
            files.train_labels.display(),
            classes.listed()
        );

        let known = match unknown_classes {
            [] => classes.clone(),
            labels => classes.without(labels)?,
        };
        let parting = Parting::of(&classes, &known);
        let (train, _) = parting.part(&train);
        let (test, unknown) = parting.part(&test);

        // Some of the files are sorted by difficulty or by writer: what a smaller run takes must not be.
        let order = shuffled(train.len(), &mut StdRng::seed_from_u64(0));
        let validation_len = sizes.validation.min(train.len() / 2);
        let left = train.len() - validation_len;
        let train_len = sizes.train.unwrap_or(left).min(left);
        let (validation_order, rest) = order.split_at(validation_len);
        let test_order = shuffled(test.len(), &mut StdRng::seed_from_u64(0));
        let test_len = sizes.test.unwrap_or(test.len()).min(test.len());
        let unknown_order = shuffled(unknown.len(), &mut StdRng::seed_from_u64(0));
        let unknown_len = sizes.test.unwrap_or(unknown.len()).min(unknown.len());
        Ok(Self {
            validation: train.subset(validation_order),
            train: train.subset(&rest[..train_len]),
            test: test.subset(&test_order[..test_len]),
            unknown: unknown.subset(&unknown_order[..unknown_len]),
            classes: known,
        })
    }
}

impl Samples {
    /// The test samples of another data set, at most `count`, with images of `image_size` once they are made smaller by
    /// the factor `shrink`.
    pub fn of_test_files(
        directory: &Path,
        shrink: usize,
        image_size: [usize; 2],
        count: Option<usize>,
    ) -> Result<Self> {
        let files = Files::find(directory, None)?;
        let images = idx::read_images(&files.test_images)?;
        let images = match files.by_columns {
            true => images.transposed().shrunk(shrink),
            false => images.shrunk(shrink),
        };
        let labels = idx::read_labels(&files.test_labels)?;
        let classes = Classes::of(&labels, None)?;
        let samples = Self::checked(images, &labels, &classes, &files.test_labels)?;
        ensure!(
            samples.image_size() == image_size,
            "{}: images of {:?}, but the run was trained on images of {image_size:?}",
            files.test_images.display(),
            samples.image_size()
        );
        Ok(samples.first(count.unwrap_or(samples.len())))
    }

    fn checked(
        images: idx::Images,
        labels: &[u8],
        classes: &Classes,
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
        let numbers: Vec<Option<u8>> = (0..=u8::MAX)
            .map(|label| classes.number(label).map(|number| number as u8))
            .collect();
        let number = |(index, &label): (usize, &u8)| {
            numbers[usize::from(label)].with_context(|| {
                format!(
                    "{path}: label {label} at index {index}; this run has {} classes, with the labels {}",
                    classes.len(),
                    classes.listed()
                )
            })
        };
        Ok(Self {
            labels: labels
                .iter()
                .enumerate()
                .map(number)
                .collect::<Result<_>>()?,
            pixels: images.pixels,
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
        let labels = Vec::from_iter((0..len).map(|index| (index % 10) as u8));
        let classes = Classes::counted(10, None).unwrap();
        Samples::checked(images, &labels, &classes, Path::new("labels")).unwrap()
    }

    #[test]
    fn a_subset_keeps_images_and_labels_together() {
        let subset = samples(20).subset(&[13, 4]);
        assert_eq!(subset.labels, [3, 4]);
        assert_eq!((subset.pixels[0], subset.pixels[64]), (13, 4));
    }

    #[test]
    fn the_data_that_comes_with_the_program_is_whole() {
        let source = Source {
            directory: concat!(env!("CARGO_MANIFEST_DIR"), "/data").into(),
            split: None,
            transpose: None,
        };
        let sizes = SplitSizes {
            train: None,
            validation: 5_000,
            test: Some(100),
        };
        let dataset = Dataset::load(&source, None, &[], 1, sizes).unwrap();
        let lens = [&dataset.train, &dataset.validation, &dataset.test].map(Samples::len);
        assert_eq!(lens, [55_000, 5_000, 100]);
        assert_eq!(dataset.classes.len(), 10);
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
        let classes = Classes::counted(3, None).unwrap();
        let error = Samples::checked(images, &[1, 10], &classes, Path::new("labels"));
        assert_eq!(
            error.map(|_| ()).unwrap_err().to_string(),
            "labels: label 10 at index 1; this run has 3 classes, with the labels 0 1 2"
        );
    }
}
