//! The IDX file format: a magic number, the sizes as big-endian 32-bit numbers, then one byte per value.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;

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
