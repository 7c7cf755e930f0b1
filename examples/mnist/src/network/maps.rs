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

impl Grid {
    /// The pixels of one row of all images.
    pub fn row(self) -> usize {
        self.images * (self.width + REACH)
    }

    /// The maps behind pooling.
    pub fn pooled(self) -> Self {
        Self {
            height: self.height / 2,
            width: self.width / 2,
            ..self
        }
    }

    pub fn zeros(self, channels: usize) -> Vec<f32> {
        vec![0.0; (self.height * self.row() + 2 * REACH) * channels]
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

    /// The place of a row, counted from above, and its image.
    fn place(self, row: usize) -> (usize, usize) {
        (row / self.images, row % self.images)
    }

    /// Images `[images, height, width]` as maps whose channels are the 25 pixels around each.
    pub fn unfold(self, pixels: &[f32]) -> Vec<f32> {
        let Self { height, width, .. } = self;
        let mut maps = self.zeros(SIDE * SIDE);
        let rows = self.rows_mut(&mut maps, SIDE * SIDE);
        for (index, row) in rows.enumerate() {
            let (y, image) = self.place(index);
            let image = &pixels[image * height * width..][..height * width];
            for (x, around) in row.chunks_exact_mut(SIDE * SIDE).take(width).enumerate() {
                for (index, pixel) in around.iter_mut().enumerate() {
                    let (row, column) = (y + index / SIDE, x + index % SIDE);
                    let inside = (REACH..height + REACH).contains(&row)
                        && (REACH..width + REACH).contains(&column);
                    if inside {
                        *pixel = image[(row - REACH) * width + column - REACH];
                    }
                }
            }
        }
        maps
    }

    /// The largest of every four pixels, and which it was. A row or column that is left over goes nowhere.
    pub fn pool(self, maps: &[f32], channels: usize) -> (Vec<f32>, Vec<u8>) {
        let half = self.pooled();
        let mut pooled = half.zeros(channels);
        let mut chosen = vec![0; half.height * half.images * half.width * channels];
        let rows: Vec<_> = self.rows(maps, channels).collect();
        let pooled_rows = half.rows_mut(&mut pooled, channels);
        let chosen_rows = chosen.chunks_exact_mut(half.width * channels);
        for (index, (pooled, chosen)) in pooled_rows.zip(chosen_rows).enumerate() {
            let (y, image) = self.place(index);
            let four = pooled
                .chunks_exact_mut(channels)
                .zip(chosen.chunks_exact_mut(channels));
            for (x, (largest, which)) in four.enumerate() {
                let pixel = |down: usize, right: usize| {
                    &rows[(2 * y + down) * self.images + image][(2 * x + right) * channels..]
                        [..channels]
                };
                largest.copy_from_slice(pixel(0, 0));
                for (index, pixel) in [(1, pixel(0, 1)), (2, pixel(1, 0)), (3, pixel(1, 1))] {
                    for ((largest, which), value) in largest.iter_mut().zip(&mut *which).zip(pixel)
                    {
                        // The same as Burn's choice: the first of equals, and what is not a number.
                        let larger = *value > *largest || value.is_nan();
                        *which = if larger { index } else { *which };
                        *largest = if larger { *value } else { *largest };
                    }
                }
            }
        }
        (pooled, chosen)
    }

    /// The gradient of what [`pool`](Self::pool) was given.
    pub fn unpool(self, gradient: &[f32], chosen: &[u8], channels: usize) -> Vec<f32> {
        let half = self.pooled();
        let mut maps = self.zeros(channels);
        let row = (self.width + REACH) * channels;
        let chosen_rows = chosen.chunks_exact(half.width * channels);
        let pooled_rows = half.rows(gradient, channels).zip(chosen_rows);
        for (index, (gradient, chosen)) in pooled_rows.enumerate() {
            let (y, image) = self.place(index);
            for right in 0..2 {
                for down in 0..2 {
                    let start = REACH * channels + ((2 * y + down) * self.images + image) * row;
                    let pixels = maps[start + right * channels..]
                        .chunks_mut(channels)
                        .step_by(2);
                    let four = (gradient.chunks_exact(channels)).zip(chosen.chunks_exact(channels));
                    for (pixel, (gradient, chosen)) in pixels.zip(four) {
                        let values = gradient.iter().zip(chosen);
                        for (value, (gradient, chosen)) in pixel.iter_mut().zip(values) {
                            let here = usize::from(*chosen) == 2 * down + right;
                            *value = if here { *gradient } else { 0.0 };
                        }
                    }
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

    /// Turns the gradient of the outputs of [`activate`](Self::activate) into that of its sums and returns that of the biases. Clears what
    /// lies behind the rows.
    pub fn deactivate(self, gradient: &mut [f32], maps: &[f32], channels: usize) -> Vec<f32> {
        let mut biases = vec![0.0; channels];
        let rows = self.rows_mut(gradient, channels);
        for (row, values) in rows.zip(self.rows(maps, channels)) {
            let (pixels, behind) = row.split_at_mut(self.width * channels);
            let pixels = pixels
                .chunks_exact_mut(channels)
                .zip(values.chunks_exact(channels));
            for (pixel, values) in pixels {
                for ((gradient, value), bias) in pixel.iter_mut().zip(values).zip(&mut biases) {
                    // The sign of an output is that of its sum.
                    let slope = if *value >= 0.0 { 1.0 } else { NEGATIVE_SLOPE };
                    *gradient *= slope;
                    *bias += *gradient;
                }
            }
            behind.fill(0.0);
        }
        biases
    }

    /// Maps as `[images, channels, height, width]`.
    pub fn channels_first(self, maps: &[f32], channels: usize) -> Vec<f32> {
        let Self { height, width, .. } = self;
        let mut values = vec![0.0; self.images * channels * height * width];
        for (index, row) in self.rows(maps, channels).enumerate() {
            let (y, image) = self.place(index);
            for (x, pixel) in row.chunks_exact(channels).take(width).enumerate() {
                for (channel, value) in pixel.iter().enumerate() {
                    values[((image * channels + channel) * height + y) * width + x] = *value;
                }
            }
        }
        values
    }

    /// Maps of `[images, channels, height, width]`.
    pub fn channels_last(self, values: &[f32], channels: usize) -> Vec<f32> {
        let Self { height, width, .. } = self;
        let mut maps = self.zeros(channels);
        for (index, row) in self.rows_mut(&mut maps, channels).enumerate() {
            let (y, image) = self.place(index);
            for (x, pixel) in row.chunks_exact_mut(channels).take(width).enumerate() {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = values[((image * channels + channel) * height + y) * width + x];
                }
            }
        }
        maps
    }
}
