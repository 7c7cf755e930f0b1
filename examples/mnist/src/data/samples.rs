//! Labelled images, read from IDX files, and the batches of an epoch.
//!
//! The IDX file format: a magic number, the sizes as big-endian 32-bit numbers, then one byte per value.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};
use flate2::read::MultiGzDecoder;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::classes::Classes;
use super::files::{Files, IMAGES, LABELS, Set};

/// The smallest side that three halvings leave something of.
const MIN_SIDE: usize = 8;

/// Labelled grey-scale images of one size.
#[derive(Clone)]
pub struct Samples {
    pixels: Vec<u8>,
    /// The number of each sample's class.
    labels: Vec<u8>,
    height: usize,
    width: usize,
    /// The file of the labels.
    path: PathBuf,
}

impl Samples {
    /// The samples of one set of files, with the labels of the file. Images are made smaller by the factor `shrink`,
    /// or by the largest one that leaves the network enough.
    pub fn read(files: &Files, set: Set, shrink: usize) -> Result<Self> {
        let (images_path, path) = (files.path(set, IMAGES)?, files.path(set, LABELS)?);
        let images = read_images(&images_path)?;
        let shrink = shrink.clamp(1, (images.height.min(images.width) / MIN_SIDE).max(1));
        let images = match files.transpose() {
            true => images.transposed().shrunk(shrink),
            false => images.shrunk(shrink),
        };
        let labels = read_labels(&path)?;
        let (count, height, width) = (images.count, images.height, images.width);
        ensure!(
            count == labels.len(),
            "{}: {} labels for {count} images",
            path.display(),
            labels.len()
        );
        ensure!(count > 0, "{}: no samples", path.display());
        ensure!(
            height.min(width) >= MIN_SIDE,
            "{}: images of {height}x{width}; LeNet++ needs at least {MIN_SIDE}x{MIN_SIDE}",
            images_path.display()
        );
        Ok(Self {
            pixels: images.pixels,
            labels,
            height,
            width,
            path,
        })
    }

    /// The samples of `known` classes, with the numbers of their classes, and the others of `all` classes.
    pub fn parted(&self, all: &Classes, known: &Classes) -> Result<[Self; 2]> {
        let foreign = |&label: &u8| all.number(label).is_none();
        if let Some(index) = self.labels.iter().position(foreign) {
            bail!(
                "{}: label {} at index {index}; this run has {} classes, with the labels {all}",
                self.path.display(),
                self.labels[index],
                all.len()
            );
        }
        let number = |label: u8| known.number(label);
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|&index| number(self.labels[index]).is_some());
        let [mut inside, outside] = [inside, outside].map(|indices| self.subset(&indices));
        let labels = inside.labels.iter().filter_map(|&label| number(label));
        inside.labels = labels.map(|number| number as u8).collect();
        Ok([inside, outside])
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
        let pixels = indices.iter().flat_map(|&index| self.image(index));
        Self {
            pixels: pixels.copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            path: self.path.clone(),
            ..*self
        }
    }

    /// The first `count` samples, or all if there are fewer.
    pub fn first(&self, count: usize) -> Self {
        self.subset(&Vec::from_iter(0..count.min(self.len())))
    }

    /// An order of all samples that is the same in all runs.
    ///
    /// Some files are sorted by difficulty, by writer or by class: what a smaller run takes of them must not be.
    pub fn fixed_order(&self) -> Vec<usize> {
        shuffled(self.len(), &mut StdRng::seed_from_u64(0))
    }

    /// At most `count` samples, the same in all runs.
    pub fn some(&self, count: Option<usize>) -> Self {
        let order = self.fixed_order();
        self.subset(&order[..count.unwrap_or(self.len()).min(self.len())])
    }

    /// The images at `indices`, `[batch_size, 1, height, width]`, with values from 0 to 1.
    pub fn images_at(&self, indices: &[usize], device: &Device) -> Tensor<4> {
        self.shifted_images_at(indices, &mut Shifts::new(0, 0, 0), device)
    }

    /// As [`images_at`](Self::images_at), each image moved by the next of `shifts`.
    pub fn shifted_images_at(
        &self,
        indices: &[usize],
        shifts: &mut Shifts,
        device: &Device,
    ) -> Tensor<4> {
        let shifted = |&index| shifts.shifted(self.image(index), self.width);
        let pixels = indices.iter().flat_map(shifted);
        let values = Vec::from_iter(pixels.map(|pixel| f32::from(pixel) / 255.0));
        let shape = [indices.len(), 1, self.height, self.width];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn image(&self, index: usize) -> &[u8] {
        let area = self.height * self.width;
        &self.pixels[index * area..(index + 1) * area]
    }

    /// The labels at `indices`, `[batch_size]`.
    pub fn labels_at(&self, indices: &[usize], device: &Device) -> Tensor<1, Int> {
        let labels = indices.iter().map(|&index| i32::from(self.labels[index]));
        Tensor::from_data(Vec::from_iter(labels).as_slice(), device)
    }

    /// The order of an epoch. It follows from `seed` and `epoch` alone, so a resumed run goes through the same batches.
    pub fn epoch_order(&self, seed: u64, epoch: usize) -> Vec<usize> {
        shuffled(self.len(), &mut generator(seed, epoch, ORDER))
    }
}

/// Random shifts of an epoch's training images, in the order of its batches, so that a network learns the digit and not
/// its place.
pub struct Shifts {
    max: i32,
    rng: StdRng,
}

impl Shifts {
    /// Up to `max` pixels in each direction. They follow from `seed` and `epoch` alone, as the order of an epoch does.
    pub fn new(max: usize, seed: u64, epoch: usize) -> Self {
        Self {
            max: max as i32,
            rng: generator(seed, epoch, SHIFTS),
        }
    }

    /// The pixels of `image`, moved by the next shift; what moves in is black.
    pub fn shifted(&mut self, image: &[u8], width: usize) -> Vec<u8> {
        if self.max == 0 {
            return image.to_vec();
        }
        let [down, right] = [(); 2].map(|()| self.rng.random_range(-self.max..=self.max) as isize);
        shifted(image, width, down, right)
    }
}

fn shifted(image: &[u8], width: usize, down: isize, right: isize) -> Vec<u8> {
    let pixel = |place: usize| {
        let row = (place / width).checked_add_signed(-down)?;
        let column = (place % width).checked_add_signed(-right)?;
        let is_inside = column < width;
        is_inside.then(|| image.get(row * width + column).copied())?
    };
    let places = 0..image.len();
    places.map(|place| pixel(place).unwrap_or(0)).collect()
}

/// What the random numbers of an epoch are for.
const ORDER: u8 = 0;
const SHIFTS: u8 = 1;

/// An own stream for every seed, epoch and purpose: neighbouring seeds would share numbers if the three were added.
fn generator(seed: u64, epoch: usize, purpose: u8) -> StdRng {
    let mut seeding = [0; 32];
    seeding[..8].copy_from_slice(&seed.to_le_bytes());
    seeding[8..16].copy_from_slice(&(epoch as u64).to_le_bytes());
    seeding[16] = purpose;
    StdRng::from_seed(seeding)
}

pub fn shuffled(len: usize, rng: &mut StdRng) -> Vec<usize> {
    let mut order = Vec::from_iter(0..len);
    order.shuffle(rng);
    order
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// "Unsigned bytes", to which the number of dimensions is added.
const BYTES_MAGIC: usize = 0x0800;

/// Grey-scale images of one size, row by row.
pub struct Images {
    pub pixels: Vec<u8>,
    pub count: usize,
    pub height: usize,
    pub width: usize,
}

/// Reads the image file `path`, gzipped or not.
pub fn read_images(path: &Path) -> Result<Images> {
    images(decompressed(path)?).with_context(|| path.display().to_string())
}

/// Reads the label file `path`, gzipped or not.
pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
    let labels = parse::<1>(decompressed(path)?, "a label");
    Ok(labels.with_context(|| path.display().to_string())?.1)
}

impl Images {
    /// The images with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        let (height, width) = (self.width, self.height);
        let area = height * width;
        let pixel = |index: usize| {
            let (image, row, column) = (index / area, index / width % height, index % width);
            self.pixels[image * area + column * height + row]
        };
        Self {
            pixels: (0..self.pixels.len()).map(pixel).collect(),
            height,
            width,
            ..self
        }
    }

    /// The mean of every square of `factor` x `factor` pixels; what is left at the lower and right edge is cut off.
    pub fn shrunk(self, factor: usize) -> Self {
        if factor == 1 {
            return self;
        }
        let (height, width) = (self.height / factor, self.width / factor);
        let mean = |index: usize| {
            let (rows, column) = (index / width, index % width * factor);
            let row = rows / height * self.height + rows % height * factor;
            let starts = (row..row + factor).map(|row| row * self.width + column);
            let square = starts.flat_map(|start| &self.pixels[start..start + factor]);
            (square.map(|&pixel| usize::from(pixel)).sum::<usize>() / factor.pow(2)) as u8
        };
        Self {
            pixels: (0..self.count * height * width).map(mean).collect(),
            height,
            width,
            ..self
        }
    }
}

/// The content of `path`, which the first two bytes, not the name, show to be gzipped or not.
fn decompressed(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut content)
        .with_context(|| format!("{}: truncated or corrupt gzip data", path.display()))?;
    Ok(content)
}

fn images(bytes: Vec<u8>) -> Result<Images> {
    let ([count, height, width], pixels) = parse(bytes, "an image")?;
    Ok(Images {
        pixels,
        count,
        height,
        width,
    })
}

/// Splits a file into its `N` sizes and its values, whose number must be the product of the sizes.
fn parse<const N: usize>(mut bytes: Vec<u8>, kind: &str) -> Result<([usize; N], Vec<u8>)> {
    let (len, header) = (bytes.len(), 4 * (1 + N));
    ensure!(
        len >= header,
        "truncated: {len} bytes, but the header of {kind} file has {header}"
    );
    let values = bytes.split_off(header);
    let word = |index: usize| {
        let word = &bytes[4 * index..4 * index + 4];
        word.iter()
            .fold(0, |word, &byte| word << 8 | usize::from(byte))
    };
    let magic = BYTES_MAGIC + N;
    ensure!(
        word(0) == magic,
        "not {kind} file of unsigned bytes: magic number {:#010x}, expected {magic:#010x}",
        word(0)
    );
    let sizes: [usize; N] = std::array::from_fn(|index| word(1 + index));
    let product = |product: usize, &size: &usize| product.checked_mul(size);
    let expected = sizes.iter().try_fold(1, product);
    let is_longer = expected.is_some_and(|expected| expected < values.len());
    ensure!(
        expected == Some(values.len()),
        "{}: {} bytes after the header, which announces sizes {sizes:?}",
        if is_longer { "too long" } else { "truncated" },
        values.len()
    );
    Ok((sizes, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: [u8; 6] = [1, 2, 3, 4, 5, 6];

    fn samples(labels: Vec<u8>) -> Samples {
        Samples {
            pixels: (0..labels.len() * 64)
                .map(|value| (value / 64) as u8)
                .collect(),
            labels,
            height: 8,
            width: 8,
            path: "labels".into(),
        }
    }

    #[test]
    fn a_subset_keeps_images_and_labels_together() {
        let subset = samples((0..20).map(|index| index % 10).collect()).subset(&[13, 4]);
        assert_eq!(subset.labels, [3, 4]);
        assert_eq!((subset.pixels[0], subset.pixels[64]), (13, 4));
    }

    #[test]
    fn known_classes_are_numbered_anew_and_unknown_samples_are_kept() {
        let all = Classes::of(&[0, 1, 2, 3], None).unwrap();
        let classes = all.without(&[1, 2]).unwrap();
        let [known, unknown] = samples(vec![3, 0, 1, 3]).parted(&all, &classes).unwrap();
        assert_eq!(known.labels, [1, 0, 1]);
        assert_eq!((unknown.labels, unknown.pixels[0]), (vec![1], 2));
    }

    #[test]
    fn a_label_beyond_the_classes_is_an_error() {
        let classes = Classes::of(&[0, 1, 2], None).unwrap();
        let fault = samples(vec![1, 10]).parted(&classes, &classes);
        assert_eq!(
            fault.map(|_| ()).unwrap_err().to_string(),
            "labels: label 10 at index 1; this run has 3 classes, with the labels 0 1 2"
        );
    }

    #[test]
    fn every_seed_and_epoch_has_its_own_order() {
        let samples = samples(vec![0; 50]);
        let order = samples.epoch_order(1, 2);
        assert_eq!(order, samples.epoch_order(1, 2));
        assert_ne!(order, samples.epoch_order(2, 1));
        assert_ne!(order, samples.epoch_order(1, 3));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, Vec::from_iter(0..50));
    }

    #[test]
    fn black_moves_in() {
        assert_eq!(shifted(&IMAGE, 3, 0, 0), IMAGE);
        assert_eq!(shifted(&IMAGE, 3, 1, 0), [0, 0, 0, 1, 2, 3]);
        assert_eq!(shifted(&IMAGE, 3, -1, 1), [0, 4, 5, 0, 0, 0]);
        assert_eq!(shifted(&IMAGE, 3, 0, -2), [3, 0, 0, 6, 0, 0]);
        assert_eq!(shifted(&IMAGE, 3, 2, 0), [0; 6]);
        assert_eq!(shifted(&IMAGE, 3, 0, -4), [0; 6]);
    }

    #[test]
    fn every_seed_and_epoch_has_its_own_shifts() {
        let image: Vec<u8> = (0..81).collect();
        let moved = |max, seed, epoch| {
            let mut shifts = Shifts::new(max, seed, epoch);
            (0..20)
                .map(|_| shifts.shifted(&image, 9))
                .collect::<Vec<_>>()
        };
        assert_eq!(moved(2, 1, 1), moved(2, 1, 1));
        assert_ne!(moved(2, 1, 1), moved(2, 1, 2));
        assert_ne!(moved(2, 1, 1), moved(2, 2, 1));
        assert!(moved(0, 1, 1).iter().all(|moved| *moved == image));
    }

    fn image_file(count: u32, height: u32, width: u32, values: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, 3];
        for size in [count, height, width] {
            bytes.extend(size.to_be_bytes());
        }
        bytes.extend((0..values).map(|value| value as u8));
        bytes
    }

    fn fault(bytes: &[u8]) -> String {
        images(bytes.to_vec()).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn images_are_read_row_by_row() {
        let images = super::images(image_file(2, 1, 3, 6)).unwrap();
        assert_eq!((images.count, images.height, images.width), (2, 1, 3));
        assert_eq!(images.pixels, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn transposed_images_have_rows_for_columns() {
        let images = super::images(image_file(2, 2, 3, 12)).unwrap().transposed();
        assert_eq!((images.count, images.height, images.width), (2, 3, 2));
        assert_eq!(images.pixels, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
    }

    #[test]
    fn faulty_files_are_refused() {
        assert_eq!(
            fault(&image_file(2, 1, 3, 5)),
            "truncated: 5 bytes after the header, which announces sizes [2, 1, 3]"
        );
        assert_eq!(
            fault(&image_file(2, 1, 3, 7)),
            "too long: 7 bytes after the header, which announces sizes [2, 1, 3]"
        );
        assert_eq!(
            fault(&[0, 0, 8]),
            "truncated: 3 bytes, but the header of an image file has 16"
        );
        let mut labels = image_file(2, 1, 3, 6);
        labels[3] = 1;
        assert_eq!(
            fault(&labels),
            "not an image file of unsigned bytes: magic number 0x00000801, expected 0x00000803"
        );
        assert!(fault(&image_file(u32::MAX, u32::MAX, u32::MAX, 6)).starts_with("truncated"));
    }

    #[test]
    fn values_of_another_type_are_named() {
        let mut shorts = image_file(2, 1, 3, 12);
        shorts[2] = 0x0b;
        assert!(fault(&shorts).contains("not an image file of unsigned bytes"));
    }

    #[test]
    fn a_file_of_several_gzip_members_is_read_whole() {
        use std::io::Write;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("images.gz");
        let bytes = image_file(2, 1, 3, 6);
        let mut zipped = Vec::new();
        for part in [&bytes[..10], &bytes[10..]] {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(part).unwrap();
            zipped.extend(encoder.finish().unwrap());
        }
        std::fs::write(&path, zipped).unwrap();
        assert_eq!(read_images(&path).unwrap().count, 2);
    }

    #[test]
    fn a_pixel_is_the_mean_of_a_square() {
        let images = Images {
            pixels: vec![0, 4, 10, 10, 99, 8, 4, 10, 14, 99, 1, 1, 1, 1, 1],
            count: 1,
            height: 3,
            width: 5,
        };
        let shrunk = images.shrunk(2);
        assert_eq!((shrunk.height, shrunk.width), (1, 2));
        assert_eq!(shrunk.pixels, [4, 11]);
    }
}
