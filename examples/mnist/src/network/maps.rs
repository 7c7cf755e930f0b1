//! Maps of a few images in memory, and what happens to them between convolutions.

use std::slice::{ChunksExact, ChunksExactMut};

use super::kernel::{NEGATIVE_SLOPE, REACH, SIDE};

/// The images of some maps, and the size of each. The maps lie in memory as `[height, images, width + 2, channels]`, the
/// two pixels behind each row are zeros, and two more are in front of the first row and behind the last one.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub images: usize,
    pub height: usize,
    pub width: usize,
}

/// The pixels that one row of a kernel connects: the first one of the inputs, that of the outputs, and how many.
#[derive(Default)]
pub struct Span {
    pub input: usize,
    pub output: usize,
    pub pixels: usize,
}

impl Grid {
    /// The maps behind pooling.
    pub fn pooled(self) -> Self {
        Self {
            height: self.height / 2,
            width: self.width / 2,
            ..self
        }
    }

    /// The pixels of one row of all images.
    fn row(self) -> usize {
        self.images * (self.width + REACH)
    }

    pub fn zeros<T: Default + Clone>(self, channels: usize) -> Vec<T> {
        vec![T::default(); (self.height * self.row() + 2 * REACH) * channels]
    }

    /// The rows of maps in order, each with the zeros behind.
    fn rows(self, maps: &[f32], channels: usize) -> ChunksExact<'_, f32> {
        let maps = &maps[REACH * channels..maps.len() - REACH * channels];
        maps.chunks_exact((self.width + REACH) * channels)
    }

    fn rows_mut(self, maps: &mut [f32], channels: usize) -> ChunksExactMut<'_, f32> {
        let end = maps.len() - REACH * channels;
        maps[REACH * channels..end].chunks_exact_mut((self.width + REACH) * channels)
    }

    /// Of each row of a kernel of `side` rows. A row that lies outside of the maps everywhere connects no pixels.
    pub fn spans(self, side: usize) -> impl Iterator<Item = Span> {
        let (reach, row) = (side / 2, self.row());
        (0..side).map(move |above| {
            let (before, behind) = (reach.saturating_sub(above), above.saturating_sub(reach));
            match self.height.saturating_sub(before + behind) {
                0 => Span::default(),
                rows => Span {
                    input: behind * row + REACH - reach,
                    output: before * row + REACH,
                    pixels: rows * row,
                },
            }
        })
    }

    /// Images `[images, height + 4, width + 4]` as maps whose channels are the 25 pixels around each.
    pub fn unfold(self, pixels: &[f32]) -> Vec<f32> {
        let [height, width] = [self.height, self.width].map(|side| side + 2 * REACH);
        let mut maps = self.zeros(SIDE * SIDE);
        for (index, row) in self.rows_mut(&mut maps, SIDE * SIDE).enumerate() {
            let (y, image) = (index / self.images, index % self.images);
            for (x, around) in (0..self.width).zip(row.chunks_exact_mut(SIDE * SIDE)) {
                for (down, run) in around.chunks_exact_mut(SIDE).enumerate() {
                    let start = (image * height + y + down) * width + x;
                    run.copy_from_slice(&pixels[start..start + SIDE]);
                }
            }
        }
        maps
    }

    /// Every pixel of the pooled maps, with the four pixels that are pooled there. A row or column that is left over goes
    /// nowhere.
    fn fours(self) -> impl Iterator<Item = (usize, [usize; 4])> {
        let half = self.pooled();
        (0..half.height * self.images).flat_map(move |row| {
            let first = 2 * (row / self.images) * self.images + row % self.images;
            let first = REACH + first * (self.width + REACH);
            (0..half.width).map(move |x| {
                let (above, below) = (first + 2 * x, first + self.row() + 2 * x);
                let pooled = REACH + row * (half.width + REACH) + x;
                (pooled, [above, above + 1, below, below + 1])
            })
        })
    }

    /// The largest of every four pixels, and which it was.
    pub fn pool(self, maps: &[f32], channels: usize) -> (Vec<f32>, Vec<u8>) {
        let mut pooled = self.pooled().zeros(channels);
        let mut chosen = self.pooled().zeros(channels);
        for (place, four) in self.fours() {
            let place = place * channels..(place + 1) * channels;
            let (largest, chosen) = (&mut pooled[place.clone()], &mut chosen[place]);
            for (which, pixel) in (0..).zip(four) {
                let values = &maps[pixel * channels..][..channels];
                for ((largest, chosen), value) in largest.iter_mut().zip(&mut *chosen).zip(values) {
                    // The same as Burn's choice: the first of equals, and what is not a number.
                    let larger = which == 0 || *value > *largest || value.is_nan();
                    *chosen = if larger { which } else { *chosen };
                    *largest = if larger { *value } else { *largest };
                }
            }
        }
        (pooled, chosen)
    }

    /// The gradient of what [`pool`](Self::pool) was given.
    pub fn unpool(self, gradient: &[f32], chosen: &[u8], channels: usize) -> Vec<f32> {
        let mut maps = self.zeros(channels);
        for (place, four) in self.fours() {
            let place = place * channels..(place + 1) * channels;
            let (gradient, chosen) = (&gradient[place.clone()], &chosen[place]);
            for (which, pixel) in (0..).zip(four) {
                let values = maps[pixel * channels..][..channels].iter_mut();
                for ((value, gradient), chosen) in values.zip(gradient).zip(chosen) {
                    *value = if *chosen == which { *gradient } else { 0.0 };
                }
            }
        }
        maps
    }

    /// Adds the biases and applies leaky ReLU. Clears what lies behind the rows.
    pub fn activate(self, maps: &mut [f32], biases: &[f32]) {
        let channels = biases.len();
        for row in self.rows_mut(maps, channels) {
            let (pixels, behind) = row.split_at_mut(self.width * channels);
            for pixel in pixels.chunks_exact_mut(channels) {
                for (value, bias) in pixel.iter_mut().zip(biases) {
                    let sum = *value + bias;
                    *value = if sum >= 0.0 {
                        sum
                    } else {
                        NEGATIVE_SLOPE * sum
                    };
                }
            }
            behind.fill(0.0);
        }
    }

    /// Turns the gradient of the outputs of [`activate`](Self::activate) into that of its sums and returns that of the
    /// biases. Clears what lies behind the rows.
    pub fn deactivate(self, gradient: &mut [f32], maps: &[f32], channels: usize) -> Vec<f32> {
        let mut biases = vec![0.0; channels];
        for (row, values) in self
            .rows_mut(gradient, channels)
            .zip(self.rows(maps, channels))
        {
            let (pixels, behind) = row.split_at_mut(self.width * channels);
            let pixels = pixels.chunks_exact_mut(channels);
            for (pixel, values) in pixels.zip(values.chunks_exact(channels)) {
                for ((gradient, value), bias) in pixel.iter_mut().zip(values).zip(&mut biases) {
                    // The sign of an output is that of its sum.
                    *gradient *= if *value >= 0.0 { 1.0 } else { NEGATIVE_SLOPE };
                    *bias += *gradient;
                }
            }
            behind.fill(0.0);
        }
        biases
    }

    /// Where a row is in `[images, height, width, channels]`.
    fn place(self, row: usize, channels: usize) -> std::ops::Range<usize> {
        let place = row % self.images * self.height + row / self.images;
        let length = self.width * channels;
        place * length..(place + 1) * length
    }

    /// Maps as `[images, height, width, channels]`.
    pub fn by_image(self, maps: &[f32], channels: usize) -> Vec<f32> {
        let mut values = vec![0.0; self.images * self.height * self.width * channels];
        for (index, row) in self.rows(maps, channels).enumerate() {
            let values = &mut values[self.place(index, channels)];
            values.copy_from_slice(&row[..values.len()]);
        }
        values
    }

    /// Maps of `[images, height, width, channels]`.
    pub fn of_images(self, values: &[f32], channels: usize) -> Vec<f32> {
        let mut maps = self.zeros(channels);
        for (index, row) in self.rows_mut(&mut maps, channels).enumerate() {
            let values = &values[self.place(index, channels)];
            row[..values.len()].copy_from_slice(values);
        }
        maps
    }
}
