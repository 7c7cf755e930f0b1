//! Maps of a few images in memory, their convolutions, and what happens to them in between.
//!
//! The zeros behind a row pad it on the right and the next one on the left. So the inputs of an output pixel are five
//! runs of memory, one for each row of the kernel, and a convolution is five matrix products over the maps as they lie.

use gemm::Parallelism;

use super::kernel::{NEGATIVE_SLOPE, REACH, SIDE};

/// Maps of some images, in memory as `[height, images, width + 2, channels]`. The two pixels behind each row are zeros,
/// and two more are in front of the first row and behind the last one.
#[derive(Debug)]
pub struct Maps {
    images: usize,
    height: usize,
    width: usize,
    channels: usize,
    values: Vec<f32>,
    /// Of maps that [`pool`](Self::pool) made, which of four pixels was the largest.
    chosen: Vec<u8>,
}

impl Maps {
    fn zeros(images: usize, [height, width]: [usize; 2], channels: usize) -> Self {
        let pixels = height * images * (width + REACH) + 2 * REACH;
        Self {
            images,
            height,
            width,
            channels,
            values: vec![0.0; pixels * channels],
            chosen: Vec::new(),
        }
    }

    /// Maps of the same size.
    fn like(&self, channels: usize) -> Self {
        Self::zeros(self.images, [self.height, self.width], channels)
    }

    /// Where the rows begin in memory.
    fn starts(&self) -> impl Iterator<Item = usize> + use<> {
        let (row, channels) = (self.width + REACH, self.channels);
        (0..self.height * self.images).map(move |index| (REACH + index * row) * channels)
    }

    /// The values of a row, without the zeros behind.
    fn row(&self) -> usize {
        self.width * self.channels
    }

    /// Where the rows, as they lie here, begin in `[images, height, width, channels]`.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let (images, height, row) = (self.images, self.height, self.row());
        (0..height * images).map(move |index| (index % images * height + index / images) * row)
    }

    /// Maps as `[images, height, width, channels]`.
    pub fn by_image(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.images * self.height * self.row()];
        for (start, place) in self.starts().zip(self.places()) {
            values[place..][..self.row()].copy_from_slice(&self.values[start..][..self.row()]);
        }
        values
    }

    /// Maps like these of `[images, height, width, channels]`.
    pub fn of_images(&self, values: &[f32]) -> Self {
        let mut maps = self.like(self.channels);
        for (start, place) in self.starts().zip(self.places()) {
            maps.values[start..][..self.row()].copy_from_slice(&values[place..][..self.row()]);
        }
        maps
    }

    /// Images `[images, height + 4, width + 4]` as maps whose channels are the 25 pixels around each.
    pub fn unfold(pixels: &[f32], [height, width]: [usize; 2]) -> Self {
        let row = width + 2 * REACH;
        let image = (height + 2 * REACH) * row;
        let images = pixels.len() / image;
        let mut maps = Self::zeros(images, [height, width], SIDE * SIDE);
        for (index, start) in maps.starts().enumerate() {
            let above = index % images * image + index / images * row;
            for (x, around) in maps.values[start..]
                .chunks_exact_mut(SIDE * SIDE)
                .take(width)
                .enumerate()
            {
                for (down, run) in around.chunks_exact_mut(SIDE).enumerate() {
                    run.copy_from_slice(&pixels[above + down * row + x..][..SIDE]);
                }
            }
        }
        maps
    }

    /// The pixels that each row of a kernel of `side` rows connects: the first one of the inputs, that of the outputs,
    /// and how many. There are none if the row lies outside of the maps everywhere.
    fn spans(&self, side: usize) -> impl Iterator<Item = [usize; 3]> {
        let (reach, row) = (side / 2, self.images * (self.width + REACH));
        (0..side).map(move |above| {
            let (before, behind) = (reach.saturating_sub(above), above.saturating_sub(reach));
            match self.height.saturating_sub(before + behind) {
                0 => [0; 3],
                rows => [
                    behind * row + REACH - reach,
                    before * row + REACH,
                    rows * row,
                ],
            }
        })
    }

    /// The sums of a convolution with `weights` `[side, side, channels, outputs]`.
    pub fn convolve(&self, weights: &[f32], side: usize, outputs: usize) -> Self {
        let (run, mut sums) = (side * self.channels, self.like(outputs));
        let rows = weights.chunks_exact(run * outputs).zip(self.spans(side));
        for (weights, [input, output, pixels]) in rows {
            let maps = (&self.values[input * self.channels..], [self.channels, 1]);
            let sums = &mut sums.values[output * outputs..];
            multiply(sums, [pixels, run, outputs], maps, weights);
        }
        // The products have left something behind the rows.
        for start in sums.starts() {
            let behind = start + sums.row();
            sums.values[behind..][..REACH * outputs].fill(0.0);
        }
        sums
    }

    /// The gradient of weights, from that of the sums.
    pub fn correlate(&self, gradient: &Self, side: usize) -> Vec<f32> {
        let (run, outputs) = (side * self.channels, gradient.channels);
        let mut weights = vec![0.0; side * run * outputs];
        let rows = weights
            .chunks_exact_mut(run * outputs)
            .zip(self.spans(side));
        for (weights, [input, output, pixels]) in rows {
            let maps = (&self.values[input * self.channels..], [1, self.channels]);
            let gradient = &gradient.values[output * outputs..];
            multiply(weights, [run, pixels, outputs], maps, gradient);
        }
        weights
    }

    /// Where every pixel of the pooled maps is, and the four pixels that are pooled there. A row or column that is left
    /// over goes nowhere.
    fn fours(&self) -> impl Iterator<Item = (usize, [usize; 4])> + use<> {
        let (images, row, channels, half) = (
            self.images,
            self.width + REACH,
            self.channels,
            self.width / 2,
        );
        (0..self.height / 2 * images).flat_map(move |index| {
            let first = REACH + (index / images * 2 * images + index % images) * row;
            (0..half).map(move |x| {
                let (above, below) = (first + 2 * x, first + images * row + 2 * x);
                let pooled = REACH + index * (half + REACH) + x;
                (
                    pooled * channels,
                    [above, above + 1, below, below + 1].map(|pixel| pixel * channels),
                )
            })
        })
    }

    /// The largest of every four pixels.
    pub fn pool(&self) -> Self {
        let half = [self.height / 2, self.width / 2];
        let mut pooled = Self::zeros(self.images, half, self.channels);
        pooled.chosen = vec![0; pooled.values.len()];
        for (place, four) in self.fours() {
            let largest = &mut pooled.values[place..][..self.channels];
            let chosen = &mut pooled.chosen[place..][..self.channels];
            for (which, pixel) in (0..).zip(four) {
                let values = &self.values[pixel..][..self.channels];
                for ((largest, chosen), value) in largest.iter_mut().zip(&mut *chosen).zip(values) {
                    // The same as Burn's choice: the first of equals, and what is not a number.
                    let larger = which == 0 || *value > *largest || value.is_nan();
                    *chosen = if larger { which } else { *chosen };
                    *largest = if larger { *value } else { *largest };
                }
            }
        }
        pooled
    }

    /// The gradient of maps as large as `inputs`, from this one of `pooled`, which [`pool`](Self::pool) made of them.
    pub fn unpool(&self, pooled: &Self, inputs: &Self) -> Self {
        let mut maps = inputs.like(self.channels);
        for (place, four) in maps.fours() {
            let chosen = &pooled.chosen[place..][..self.channels];
            for (which, pixel) in (0..).zip(four) {
                let values = maps.values[pixel..][..self.channels].iter_mut();
                for ((value, gradient), chosen) in values.zip(&self.values[place..]).zip(chosen) {
                    *value = if *chosen == which { *gradient } else { 0.0 };
                }
            }
        }
        maps
    }

    /// Adds the biases and applies leaky ReLU.
    pub fn activate(&mut self, biases: &[f32]) {
        let row = self.row();
        for start in self.starts() {
            for pixel in self.values[start..][..row].chunks_exact_mut(biases.len()) {
                for (value, bias) in pixel.iter_mut().zip(biases) {
                    let sum = *value + bias;
                    *value = sum * slope(sum);
                }
            }
        }
    }

    /// Turns the gradient of `outputs`, which [`activate`](Self::activate) made, into that of its sums and returns that
    /// of the biases.
    pub fn deactivate(&mut self, outputs: &Self) -> Vec<f32> {
        let (row, mut biases) = (self.row(), vec![0.0; self.channels]);
        for start in self.starts() {
            let pixels = self.values[start..][..row].chunks_exact_mut(biases.len());
            for (pixel, values) in pixels.zip(outputs.values[start..].chunks_exact(biases.len())) {
                for ((gradient, value), bias) in pixel.iter_mut().zip(values).zip(&mut biases) {
                    // The sign of an output is that of its sum.
                    *gradient *= slope(*value);
                    *bias += *gradient;
                }
            }
        }
        biases
    }
}

fn slope(sum: f32) -> f32 {
    if sum >= 0.0 { 1.0 } else { NEGATIVE_SLOPE }
}

/// Adds to `sums` `[rows, columns]` the product of a matrix `[rows, depth]` with the given strides, which may overlap,
/// and `right` `[depth, columns]`. What lies behind them is left as it is.
#[allow(unsafe_code)]
fn multiply(
    sums: &mut [f32],
    [rows, depth, columns]: [usize; 3],
    (left, [down, along]): (&[f32], [usize; 2]),
    right: &[f32],
) {
    if rows * depth == 0 {
        return;
    }
    assert!(sums.len() >= rows * columns && right.len() >= depth * columns);
    assert!(left.len() > (rows - 1) * down + (depth - 1) * along);
    // SAFETY: all that is read lies in `left` and `right`, and all that is written in `sums`, as was just asserted.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            sums.as_mut_ptr(),
            1,
            columns as isize,
            true,
            left.as_ptr(),
            along as isize,
            down as isize,
            right.as_ptr(),
            1,
            columns as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
