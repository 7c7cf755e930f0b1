//! A data set of a few tiny images that a network can learn: each class is a bright bar at its own place.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

pub const NUM_CLASSES: usize = 3;
const SIDE: usize = 8;

pub const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
pub const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
pub const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
pub const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// Writes the four files: 48 training and 12 test samples, the training images plain and the rest gzipped.
pub fn write(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(TRAIN_IMAGES), images(48)).unwrap();
    write_gzipped(directory, TRAIN_LABELS, &labels(48));
    write_gzipped(directory, TEST_IMAGES, &images(12));
    write_gzipped(directory, TEST_LABELS, &labels(12));
}

pub fn write_gzipped(directory: &Path, name: &str, bytes: &[u8]) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    fs::write(
        directory.join(format!("{name}.gz")),
        encoder.finish().unwrap(),
    )
    .unwrap();
}

pub fn images(count: usize) -> Vec<u8> {
    let mut bytes = header(0x0803, &[count, SIDE, SIDE]);
    for index in 0..count {
        let bar = 2 * (index % NUM_CLASSES) + 1;
        bytes.extend((0..SIDE * SIDE).map(|pixel| {
            // A little of the index, so that no two images are equal.
            let noise = ((pixel * 7 + index * 13) % 40) as u8;
            if pixel % SIDE == bar {
                200 + noise
            } else {
                noise
            }
        }));
    }
    bytes
}

pub fn labels(count: usize) -> Vec<u8> {
    let mut bytes = header(0x0801, &[count]);
    bytes.extend((0..count).map(|index| (index % NUM_CLASSES) as u8));
    bytes
}

/// The labels of `labels` with others for 0, 1 and 2.
pub fn relabelled(labels: &[u8], others: [u8; NUM_CLASSES]) -> Vec<u8> {
    let (header, labels) = labels.split_at(8);
    let labels = labels.iter().map(|&label| others[usize::from(label)]);
    header.iter().copied().chain(labels).collect()
}

/// The images of `images`, stored column by column.
pub fn by_columns(images: &[u8]) -> Vec<u8> {
    let (header, pixels) = images.split_at(16);
    let mut bytes = header.to_vec();
    for image in pixels.chunks_exact(SIDE * SIDE) {
        bytes.extend((0..SIDE * SIDE).map(|pixel| image[pixel % SIDE * SIDE + pixel / SIDE]));
    }
    bytes
}

/// The images of `images` with each pixel four times.
pub fn doubled(images: &[u8]) -> Vec<u8> {
    let pixels = &images[16..];
    let mut bytes = header(0x0803, &[pixels.len() / SIDE / SIDE, 2 * SIDE, 2 * SIDE]);
    for image in pixels.chunks_exact(SIDE * SIDE) {
        let pixel = |place: usize| image[place / (4 * SIDE) * SIDE + place % (2 * SIDE) / 2];
        bytes.extend((0..4 * SIDE * SIDE).map(pixel));
    }
    bytes
}

fn header(magic: u32, sizes: &[usize]) -> Vec<u8> {
    let sizes = sizes.iter().map(|&size| size as u32);
    [magic]
        .into_iter()
        .chain(sizes)
        .flat_map(u32::to_be_bytes)
        .collect()
}
