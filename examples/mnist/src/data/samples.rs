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
    /// Image by image and row by row.
    pixels: Vec<u8>,
    /// The number of each sample's class.
    pub labels: Vec<u8>,
    /// Height and width of every image.
    size: [usize; 2],
    /// The file of the labels.
    path: PathBuf,
}

impl Samples {
    /// The samples of one set of files, with the labels of the file. Images are made smaller by the factor `shrink`,
    /// or by the largest one that leaves the network enough.
    pub fn read(files: &Files, set: Set, shrink: usize) -> Result<Self> {
        let (images_path, path) = (files.path(set, IMAGES)?, files.path(set, LABELS)?);
        let ([count, height, width], pixels) = read(&images_path, "an image")?;
        let ([labelled], labels) = read(&path, "a label")?;
        let place = path.display();
        ensure!(
            count == labelled,
            "{place}: {labelled} labels for {count} images"
        );
        ensure!(count > 0, "{place}: no samples");
        ensure!(
            height.min(width) >= MIN_SIDE,
            "{}: images of {height}x{width}; LeNet++ needs at least {MIN_SIDE}x{MIN_SIDE}",
            images_path.display()
        );
        let samples = Self {
            pixels,
            labels,
            size: [height, width],
            path,
        };
        let factor = shrink.clamp(1, height.min(width) / MIN_SIDE);
        Ok(samples.redrawn(files.transpose, factor))
    }

    /// The images with rows and columns exchanged if `transpose`, and with the mean of every square of `factor` x
    /// `factor` pixels for a pixel. What is left at the lower and right edge is cut off.
    fn redrawn(mut self, transpose: bool, factor: usize) -> Self {
        let [height, width] = self.size;
        // How far the next row and the next column are.
        let (size, [down, right]) = match transpose {
            true => ([width, height], [1, width]),
            false if factor == 1 => return self,
            false => ([height, width], [width, 1]),
        };
        self.size = size.map(|side| side / factor);
        let mut pixels = Vec::new();
        for image in self.pixels.chunks_exact(height * width) {
            for (y, x) in (0..self.size[0]).flat_map(|y| (0..self.size[1]).map(move |x| (y, x))) {
                let start = (y * down + x * right) * factor;
                let rows = (0..factor).map(|row| start + row * down);
                let square =
                    rows.flat_map(|row| (0..factor).map(move |column| row + column * right));
                let sum: usize = square.map(|place| usize::from(image[place])).sum();
                pixels.push((sum / factor.pow(2)) as u8);
            }
        }
        self.pixels = pixels;
        self
    }

    /// The samples of `known` classes, with the numbers of their classes, and the others of `all` classes, both in an
    /// order that is the same in all runs.
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
        let is_known = |&index: &usize| known.number(self.labels[index]).is_some();
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(is_known);
        let [mut inside, outside] = [inside, outside].map(|indices| self.mixed(indices));
        let numbers = inside
            .labels
            .iter()
            .filter_map(|&label| known.number(label));
        inside.labels = numbers.map(|number| number as u8).collect();
        Ok([inside, outside])
    }

    /// The samples at `indices`, in an order that is the same in all runs.
    ///
    /// Some files are sorted by difficulty, by writer or by class: what a smaller run takes of them must not be.
    pub fn mixed(&self, mut indices: Vec<usize>) -> Self {
        indices.shuffle(&mut StdRng::seed_from_u64(0));
        self.subset(&indices)
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Height and width of every image.
    pub fn image_size(&self) -> [usize; 2] {
        self.size
    }

    /// The samples at `indices`, in that order.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let images = indices.iter().map(|&index| self.image(index));
        Self {
            pixels: Vec::from_iter(images).concat(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            size: self.size,
            path: self.path.clone(),
        }
    }

    /// The first `count` samples, or all if there are fewer.
    pub fn first(&self, count: usize) -> Self {
        self.subset(&Vec::from_iter(0..count.min(self.len())))
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
        let [height, width] = self.size;
        let shifted = |&index| shifted(self.image(index), width, shifts.next());
        let pixels = indices.iter().flat_map(shifted);
        let values = Vec::from_iter(pixels.map(|pixel| f32::from(pixel) / 255.0));
        let shape = [indices.len(), 1, height, width];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn image(&self, index: usize) -> &[u8] {
        let area = self.size[0] * self.size[1];
        &self.pixels[index * area..][..area]
    }

    /// The labels at `indices`, `[batch_size]`.
    pub fn labels_at(&self, indices: &[usize], device: &Device) -> Tensor<1, Int> {
        let labels = indices.iter().map(|&index| i32::from(self.labels[index]));
        Tensor::from_data(Vec::from_iter(labels).as_slice(), device)
    }

    /// The order of an epoch. It follows from `seed` and `epoch` alone, so a resumed run goes through the same batches.
    pub fn epoch_order(&self, seed: u64, epoch: usize) -> Vec<usize> {
        let mut order = Vec::from_iter(0..self.len());
        order.shuffle(&mut generator(seed, epoch, ORDER));
        order
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

    /// How far the next image moves down and to the right.
    fn next(&mut self) -> [isize; 2] {
        [(); 2].map(|()| self.rng.random_range(-self.max..=self.max) as isize)
    }
}

/// The pixels of `image`, moved; what moves in is black.
fn shifted(image: &[u8], width: usize, [down, right]: [isize; 2]) -> Vec<u8> {
    let pixel = |place: usize| {
        let row = (place / width).checked_add_signed(-down)?;
        let column = (place % width).checked_add_signed(-right)?;
        image.chunks_exact(width).nth(row)?.get(column).copied()
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

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// "Unsigned bytes", to which the number of dimensions is added.
const BYTES_MAGIC: usize = 0x0800;

/// The `N` sizes and the values of the file `path`, which the first two bytes, not the name, show to be gzipped or not.
fn read<const N: usize>(path: &Path, kind: &str) -> Result<([usize; N], Vec<u8>)> {
    let place = path.display();
    let mut bytes = fs::read(path).with_context(|| format!("{place}: cannot be read"))?;
    if bytes.starts_with(&GZIP_MAGIC) {
        let zipped = bytes;
        bytes = Vec::new();
        MultiGzDecoder::new(zipped.as_slice())
            .read_to_end(&mut bytes)
            .with_context(|| format!("{place}: truncated or corrupt gzip data"))?;
    }
    parse(bytes, kind).with_context(|| place.to_string())
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
        let word = bytes[4 * index..][..4].iter();
        word.fold(0, |word, &byte| word << 8 | usize::from(byte))
    };
    let magic = BYTES_MAGIC + N;
    ensure!(
        word(0) == magic,
        "not {kind} file of unsigned bytes: magic number {:#010x}, expected {magic:#010x}",
        word(0)
    );
    let sizes: [usize; N] = std::array::from_fn(|index| word(1 + index));
    let expected: u128 = sizes.iter().map(|&size| size as u128).product();
    let len = values.len();
    ensure!(
        expected == len as u128,
        "{}: {len} bytes after the header, which announces sizes {sizes:?}",
        if expected < len as u128 {
            "too long"
        } else {
            "truncated"
        }
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
            size: [8; 2],
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
        let images = known.pixels.chunks_exact(64).map(|image| image[0]);
        let mut known = Vec::from_iter(images.zip(known.labels));
        known.sort_unstable();
        assert_eq!(known, [(0, 1), (1, 0), (3, 1)]);
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
        assert_eq!(shifted(&IMAGE, 3, [0, 0]), IMAGE);
        assert_eq!(shifted(&IMAGE, 3, [1, 0]), [0, 0, 0, 1, 2, 3]);
        assert_eq!(shifted(&IMAGE, 3, [-1, 1]), [0, 4, 5, 0, 0, 0]);
        assert_eq!(shifted(&IMAGE, 3, [0, -2]), [3, 0, 0, 6, 0, 0]);
        assert_eq!(shifted(&IMAGE, 3, [2, 0]), [0; 6]);
        assert_eq!(shifted(&IMAGE, 3, [0, -4]), [0; 6]);
    }

    #[test]
    fn every_seed_and_epoch_has_its_own_shifts() {
        let moved = |max, seed, epoch| {
            let mut shifts = Shifts::new(max, seed, epoch);
            Vec::from_iter((0..20).map(|_| shifts.next()))
        };
        assert_eq!(moved(2, 1, 1), moved(2, 1, 1));
        assert_ne!(moved(2, 1, 1), moved(2, 1, 2));
        assert_ne!(moved(2, 1, 1), moved(2, 2, 1));
        assert_eq!(moved(0, 1, 1), [[0; 2]; 20]);
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
        parse::<3>(bytes.to_vec(), "an image")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn sizes_and_values_are_read() {
        let (sizes, values) = parse::<3>(image_file(2, 1, 3, 6), "an image").unwrap();
        assert_eq!((sizes, values), ([2, 1, 3], vec![0, 1, 2, 3, 4, 5]));
    }

    /// Images of `size` with these pixels, and without labels.
    fn images(pixels: Vec<u8>, size: [usize; 2]) -> Samples {
        Samples {
            pixels,
            size,
            ..samples(Vec::new())
        }
    }

    #[test]
    fn transposed_images_have_rows_for_columns() {
        let images = images((0..12).collect(), [2, 3]).redrawn(true, 1);
        assert_eq!(images.size, [3, 2]);
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
        assert_eq!(read(&path, "an image").unwrap().0, [2, 1, 3]);
    }

    #[test]
    fn a_pixel_is_the_mean_of_a_square() {
        let pixels = vec![0, 4, 10, 10, 99, 8, 4, 10, 14, 99, 1, 1, 1, 1, 1];
        let shrunk = images(pixels.clone(), [3, 5]).redrawn(false, 2);
        assert_eq!(shrunk.size, [1, 2]);
        assert_eq!(shrunk.pixels, [4, 11]);
        let both = images(pixels, [3, 5]).redrawn(true, 2);
        assert_eq!((both.size, both.pixels), ([2, 1], vec![4, 11]));
    }
}
