//! 5x5 convolutions on the CPU, each with its leaky ReLU and, where one follows, its 2x2 pooling.
//!
//! In the maps, the zeros behind a row pad it on the right and the next one on the left. So the inputs of an output pixel
//! are five runs of memory, one for each row of the kernel, and a convolution is five matrix products over the maps as
//! they lie.

use gemm::Parallelism;
use rayon::prelude::*;

use super::kernel::REACH;
use super::maps::Grid;

/// The images that go through all layers together, on one thread. It decides how sums over a batch are rounded, so it
/// does not depend on the number of threads.
const IMAGES_TOGETHER: usize = 16;

/// A convolution and what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Height and width of the maps, before pooling.
    pub size: [usize; 2],
    /// Rows and columns of the kernel: 5, or 1 where the inputs are the 25 pixels around each.
    pub side: usize,
    /// Channels of the inputs and of the outputs.
    pub channels: [usize; 2],
    pub pools: bool,
}

/// What the layers made of a batch.
#[derive(Debug)]
pub struct Pass {
    layers: Vec<Layer>,
    parameters: Vec<f32>,
    parts: Vec<Part>,
}

/// What the layers made of some images of a batch.
#[derive(Debug)]
struct Part {
    images: usize,
    /// The inputs of each layer and the outputs of the last one, in memory as the head of this file says.
    maps: Vec<Vec<f32>>,
    /// Of each layer that pools, which of four pixels was the largest.
    chosen: Vec<Vec<u8>>,
}

impl Layer {
    /// The grids of its sums and of its outputs.
    fn grids(&self, images: usize) -> [Grid; 2] {
        let [height, width] = self.size;
        let grid = Grid {
            images,
            height,
            width,
        };
        [grid, if self.pools { grid.pooled() } else { grid }]
    }
}

impl Pass {
    /// Takes images `[images, height + 4, width + 4]`, with zeros around each, through `layers`. `parameters` are the weights
    /// `[side, side, inputs, outputs]` and the biases of one layer after the other.
    pub fn forward(layers: Vec<Layer>, parameters: Vec<f32>, images: &[f32]) -> Self {
        let [height, width] = layers[0].size.map(|side| side + 2 * REACH);
        let parts = images.par_chunks(height * width * IMAGES_TOGETHER);
        let parts = parts.map(|pixels| {
            let images = pixels.len() / (height * width);
            Part::forward(&layers, &parameters, images, pixels)
        });
        Self {
            parts: parts.collect(),
            layers,
            parameters,
        }
    }

    /// The grid of the outputs of some images, and their channels.
    fn last(&self, images: usize) -> (Grid, usize) {
        let last = self.layers[self.layers.len() - 1];
        (last.grids(images)[1], last.channels[1])
    }

    /// The outputs, `[images, height, width, channels]`.
    pub fn outputs(&self) -> Vec<f32> {
        let parts = self.parts.iter().map(|part| {
            let (grid, channels) = self.last(part.images);
            grid.by_image(&part.maps[self.layers.len()], channels)
        });
        Vec::from_iter(parts).concat()
    }

    /// The gradients of the parameters from those of the outputs.
    pub fn gradients(&self, outputs: &[f32]) -> Vec<f32> {
        let turned = split(&self.layers, &self.parameters).into_par_iter();
        let turned: Vec<Vec<f32>> = turned
            .zip(&self.layers)
            .map(|([weights, _], layer)| turn(weights, layer))
            .collect();
        let outputs = outputs.par_chunks(outputs.len() / self.images() * IMAGES_TOGETHER);
        let parts = self.parts.par_iter().zip(outputs).map(|(part, outputs)| {
            let (grid, channels) = self.last(part.images);
            part.gradients(&self.layers, &turned, grid.of_images(outputs, channels))
        });
        let add = |mut sum: Vec<f32>, part: Vec<f32>| {
            sum.iter_mut()
                .zip(part)
                .for_each(|(sum, term)| *sum += term);
            sum
        };
        // In order: sums of floats depend on it.
        let parts: Vec<_> = parts.collect();
        parts.into_iter().reduce(add).unwrap_or_default()
    }

    fn images(&self) -> usize {
        self.parts.iter().map(|part| part.images).sum()
    }
}

impl Part {
    fn forward(layers: &[Layer], parameters: &[f32], images: usize, pixels: &[f32]) -> Self {
        let [grid, _] = layers[0].grids(images);
        let mut part = Self {
            images,
            maps: vec![grid.unfold(pixels)],
            chosen: Vec::new(),
        };
        for (layer, [weights, biases]) in layers.iter().zip(split(layers, parameters)) {
            let [grid, behind] = layer.grids(images);
            let inputs = &part.maps[part.maps.len() - 1];
            let mut outputs = convolve(inputs, weights, grid, layer.side, layer.channels);
            let mut chosen = Vec::new();
            if layer.pools {
                (outputs, chosen) = grid.pool(&outputs, biases.len());
            }
            behind.activate(&mut outputs, biases);
            part.maps.push(outputs);
            part.chosen.push(chosen);
        }
        part
    }

    /// The gradients of the parameters from that of the outputs.
    fn gradients(&self, layers: &[Layer], turned: &[Vec<f32>], mut gradient: Vec<f32>) -> Vec<f32> {
        let mut found = Vec::new();
        for (index, layer) in layers.iter().enumerate().rev() {
            let ([grid, behind], [inputs, outputs]) = (layer.grids(self.images), layer.channels);
            found.push(behind.deactivate(&mut gradient, &self.maps[index + 1], outputs));
            if layer.pools {
                gradient = grid.unpool(&gradient, &self.chosen[index], outputs);
            }
            found.push(correlate(&self.maps[index], &gradient, grid, layer));
            if index > 0 {
                gradient = convolve(
                    &gradient,
                    &turned[index],
                    grid,
                    layer.side,
                    [outputs, inputs],
                );
            }
        }
        found.reverse();
        found.concat()
    }
}

/// The weights and the biases of each layer.
fn split<'a>(layers: &[Layer], mut parameters: &'a [f32]) -> Vec<[&'a [f32]; 2]> {
    let sizes = layers.iter().map(|layer| {
        let [inputs, outputs] = layer.channels;
        [layer.side.pow(2) * inputs * outputs, outputs]
    });
    let mut part = |length| {
        parameters
            .split_off(..length)
            .expect("each layer has parameters")
    };
    sizes.map(|sizes| sizes.map(&mut part)).collect()
}

/// The weights of the way back: `[side, side, outputs, inputs]`, with rows and columns from the last to the first.
fn turn(weights: &[f32], layer: &Layer) -> Vec<f32> {
    let [inputs, outputs] = layer.channels;
    let taps = weights.rchunks_exact(inputs * outputs);
    let turned =
        taps.flat_map(|tap| (0..outputs).flat_map(|output| tap[output..].iter().step_by(outputs)));
    turned.copied().collect()
}

/// The sums of a convolution, with anything behind the rows.
fn convolve(
    maps: &[f32],
    weights: &[f32],
    grid: Grid,
    side: usize,
    [inputs, outputs]: [usize; 2],
) -> Vec<f32> {
    let mut sums = grid.zeros(outputs);
    let run = side * inputs;
    for (weights, span) in weights.chunks_exact(run * outputs).zip(grid.spans(side)) {
        let maps = (&maps[span.input * inputs..], [inputs, 1]);
        let sums = &mut sums[span.output * outputs..];
        multiply(sums, [span.pixels, run, outputs], maps, weights);
    }
    sums
}

/// The gradient of weights, from that of the sums.
fn correlate(maps: &[f32], gradient: &[f32], grid: Grid, layer: &Layer) -> Vec<f32> {
    let (side, [inputs, outputs]) = (layer.side, layer.channels);
    let run = side * inputs;
    let mut weights = vec![0.0; side * run * outputs];
    for (weights, span) in weights
        .chunks_exact_mut(run * outputs)
        .zip(grid.spans(side))
    {
        let maps = (&maps[span.input * inputs..], [1, inputs]);
        let gradient = &gradient[span.output * outputs..];
        multiply(weights, [run, span.pixels, outputs], maps, gradient);
    }
    weights
}

/// Adds to `sums` `[rows, columns]` the product of a matrix `[rows, depth]` with the given strides, which may overlap, and
/// `right` `[depth, columns]`. What lies behind them is left as it is.
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
