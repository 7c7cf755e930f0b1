//! 5x5 convolutions on the CPU, each with its leaky ReLU and, where one follows, its 2x2 pooling.
//!
//! In the maps, the zeros behind a row pad it on the right and the next one on the left. So the inputs of an output pixel
//! are five runs of memory, one for each row of the kernel, and a convolution is five matrix products over the maps as
//! they lie.

use gemm::Parallelism;
use rayon::prelude::*;

use super::kernel::{REACH, SIDE};
use super::maps::Grid;

/// The images that go through all layers together, on one thread. It decides how sums over a batch are rounded, so it
/// does not depend on the number of threads.
const IMAGES_TOGETHER: usize = 16;

/// A convolution and what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Height and width of the maps, before pooling.
    pub size: [usize; 2],
    /// Channels of the inputs and of the outputs.
    pub channels: [usize; 2],
    pub pools: bool,
}

/// The weights of a layer `[outputs, inputs, 5, 5]`, or as they are arranged here, and its biases `[outputs]`.
type Parameters<T> = [T; 2];

/// What the layers made of a batch.
#[derive(Debug)]
pub struct Pass {
    layers: Vec<Layer>,
    /// Of each layer, `[5, 5, outputs, inputs]`, turned by half a turn.
    turned: Vec<Vec<f32>>,
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

/// Rows and columns of a kernel, and its channels.
#[derive(Clone, Copy)]
struct Kernel {
    side: usize,
    inputs: usize,
    outputs: usize,
}

impl Kernel {
    /// That of the way back.
    fn turned(self) -> Self {
        Self {
            inputs: self.outputs,
            outputs: self.inputs,
            ..self
        }
    }

    /// The inputs of one row.
    fn run(self) -> usize {
        self.side * self.inputs
    }
}

impl Layer {
    /// A single input is unfolded: its 25 pixels are the inputs of a kernel of one pixel.
    fn kernel(&self) -> Kernel {
        let [inputs, outputs] = self.channels;
        let (side, inputs) = match inputs {
            1 => (1, SIDE * SIDE),
            _ => (SIDE, inputs),
        };
        Kernel {
            side,
            inputs,
            outputs,
        }
    }

    /// The grids of its sums and of its outputs.
    fn grids(&self, images: usize) -> [Grid; 2] {
        let [height, width] = self.size;
        let grid = Grid {
            images,
            height,
            width,
        };
        match self.pools {
            true => [grid, grid.pooled()],
            false => [grid, grid],
        }
    }
}

/// The outputs of `layers`, `[images, channels, height, width]`, and what gradients are computed from. `parameters` are
/// the weights and the biases of one layer after the other.
pub fn forward(layers: &[Layer], parameters: &[f32], images: &[f32]) -> (Vec<f32>, Pass) {
    let parameters: Vec<_> = split(layers, parameters);
    let arranged: Vec<_> = (layers.par_iter().zip(&parameters))
        .map(|(layer, [weights, _])| arrange(weights, layer))
        .collect();
    let image: usize = layers[0].size.iter().product();
    let parts: Vec<Part> = images
        .par_chunks(image * IMAGES_TOGETHER)
        .map(|images| Part::forward(layers, &arranged, &parameters, images))
        .collect();
    let last = layers[layers.len() - 1];
    let outputs = parts.par_iter().flat_map_iter(|part| {
        let [_, grid] = last.grids(part.images);
        grid.channels_first(&part.maps[layers.len()], last.channels[1])
    });
    let outputs = outputs.collect();
    let turned = (layers.par_iter().zip(&arranged))
        .map(|(layer, arranged)| turn(arranged, layer))
        .collect();
    let layers = layers.to_vec();
    (
        outputs,
        Pass {
            layers,
            turned,
            parts,
        },
    )
}

impl Pass {
    /// The gradients of the parameters, one after the other, from those of the outputs.
    pub fn gradients(&self, outputs: &[f32]) -> Vec<f32> {
        let last = self.layers[self.layers.len() - 1];
        let [_, grid] = last.grids(1);
        let image = grid.height * grid.width * last.channels[1];
        let parts: Vec<Vec<_>> = (self.parts.par_iter())
            .zip(outputs.par_chunks(image * IMAGES_TOGETHER))
            .map(|(part, outputs)| part.gradients(&self.layers, &self.turned, outputs))
            .collect();
        let layers: Vec<_> = (self.layers.par_iter().enumerate())
            .map(|(index, layer)| {
                let [weights, biases] = [0, 1].map(|which| {
                    let mut sum = parts[0][index][which].clone();
                    for part in &parts[1..] {
                        let terms = &part[index][which];
                        sum.iter_mut()
                            .zip(terms)
                            .for_each(|(sum, term)| *sum += term);
                    }
                    sum
                });
                [restore(&weights, layer), biases].concat()
            })
            .collect();
        layers.concat()
    }
}

impl Part {
    fn forward(
        layers: &[Layer],
        arranged: &[Vec<f32>],
        parameters: &[Parameters<&[f32]>],
        pixels: &[f32],
    ) -> Self {
        let images = pixels.len() / layers[0].size.iter().product::<usize>();
        let [grid, _] = layers[0].grids(images);
        let mut part = Self {
            images,
            maps: vec![grid.unfold(pixels)],
            chosen: Vec::new(),
        };
        for ((layer, weights), [_, biases]) in layers.iter().zip(arranged).zip(parameters) {
            let [grid, behind] = layer.grids(images);
            let inputs = &part.maps[part.maps.len() - 1];
            let mut outputs = convolve(inputs, weights, grid, layer.kernel());
            let mut chosen = Vec::new();
            if layer.pools {
                (outputs, chosen) = grid.pool(&outputs, layer.channels[1]);
            }
            behind.activate(&mut outputs, biases);
            part.maps.push(outputs);
            part.chosen.push(chosen);
        }
        part
    }

    /// The gradients of the parameters as they are arranged.
    fn gradients(
        &self,
        layers: &[Layer],
        turned: &[Vec<f32>],
        outputs: &[f32],
    ) -> Vec<Parameters<Vec<f32>>> {
        let last = layers[layers.len() - 1];
        let [_, grid] = last.grids(self.images);
        let mut gradient = grid.channels_last(outputs, last.channels[1]);
        let mut found = Vec::new();
        for index in (0..layers.len()).rev() {
            let layer = &layers[index];
            let ([grid, behind], kernel) = (layer.grids(self.images), layer.kernel());
            let biases = behind.deactivate(&mut gradient, &self.maps[index + 1], kernel.outputs);
            if layer.pools {
                gradient = grid.unpool(&gradient, &self.chosen[index], kernel.outputs);
            }
            let weights = correlate(&self.maps[index], &gradient, grid, kernel);
            found.push([weights, biases]);
            if index > 0 {
                gradient = convolve(&gradient, &turned[index], grid, kernel.turned());
            }
        }
        found.reverse();
        found
    }
}

fn split<'a>(layers: &[Layer], mut parameters: &'a [f32]) -> Vec<Parameters<&'a [f32]>> {
    let mut part = |length| {
        let (part, rest) = parameters.split_at(length);
        parameters = rest;
        part
    };
    let sizes = layers.iter().map(|layer| layer.channels);
    sizes
        .map(|[inputs, outputs]| [inputs * outputs * SIDE * SIDE, outputs].map(&mut part))
        .collect()
}

/// Weights `[outputs, inputs, 5, 5]` as `[5, 5, inputs, outputs]`.
fn arrange(weights: &[f32], layer: &Layer) -> Vec<f32> {
    let [inputs, outputs] = layer.channels;
    let mut arranged = vec![0.0; weights.len()];
    for (output, kernels) in weights.chunks_exact(inputs * SIDE * SIDE).enumerate() {
        for (input, kernel) in kernels.chunks_exact(SIDE * SIDE).enumerate() {
            for (tap, weight) in kernel.iter().enumerate() {
                arranged[(tap * inputs + input) * outputs + output] = *weight;
            }
        }
    }
    arranged
}

/// What [`arrange`] was given.
fn restore(arranged: &[f32], layer: &Layer) -> Vec<f32> {
    let [inputs, outputs] = layer.channels;
    let mut weights = vec![0.0; arranged.len()];
    for (output, kernels) in weights.chunks_exact_mut(inputs * SIDE * SIDE).enumerate() {
        for (input, kernel) in kernels.chunks_exact_mut(SIDE * SIDE).enumerate() {
            for (tap, weight) in kernel.iter_mut().enumerate() {
                *weight = arranged[(tap * inputs + input) * outputs + output];
            }
        }
    }
    weights
}

/// Arranged weights for the way back: `[5, 5, outputs, inputs]`, with rows and columns from the last to the first.
fn turn(arranged: &[f32], layer: &Layer) -> Vec<f32> {
    let [inputs, outputs] = layer.channels;
    let taps = arranged.rchunks_exact(inputs * outputs);
    let turned = taps.flat_map(|tap| {
        (0..outputs)
            .flat_map(move |output| (0..inputs).map(move |input| tap[input * outputs + output]))
    });
    turned.collect()
}

/// The sums of a convolution, with anything behind the rows.
fn convolve(maps: &[f32], weights: &[f32], grid: Grid, kernel: Kernel) -> Vec<f32> {
    let (
        run,
        Kernel {
            inputs, outputs, ..
        },
    ) = (kernel.run(), kernel);
    let mut sums = grid.zeros(outputs);
    for (above, weights) in weights.chunks_exact(run * outputs).enumerate() {
        if let Some(span) = Span::of(above, grid, kernel.side) {
            let maps = (&maps[span.input * inputs..], [inputs, 1]);
            let sums = &mut sums[span.output * outputs..];
            multiply(sums, [span.pixels, run, outputs], maps, weights);
        }
    }
    sums
}

/// The gradient of arranged weights, from that of the sums.
fn correlate(maps: &[f32], gradient: &[f32], grid: Grid, kernel: Kernel) -> Vec<f32> {
    let (
        run,
        Kernel {
            inputs, outputs, ..
        },
    ) = (kernel.run(), kernel);
    let mut weights = vec![0.0; kernel.side * run * outputs];
    for (above, weights) in weights.chunks_exact_mut(run * outputs).enumerate() {
        if let Some(span) = Span::of(above, grid, kernel.side) {
            let maps = (&maps[span.input * inputs..], [1, inputs]);
            let gradient = &gradient[span.output * outputs..];
            multiply(weights, [run, span.pixels, outputs], maps, gradient);
        }
    }
    weights
}

/// The pixels that one row of a kernel connects, counted from the zeros before the first row.
struct Span {
    input: usize,
    output: usize,
    pixels: usize,
}

impl Span {
    /// Of the row `above` of a kernel of `side` rows. `None` if it lies outside of the maps everywhere.
    fn of(above: usize, grid: Grid, side: usize) -> Option<Self> {
        let (reach, row) = (side / 2, grid.row());
        let (before, behind) = (reach.saturating_sub(above), above.saturating_sub(reach));
        let rows = grid.height.checked_sub(before + behind)?;
        if rows == 0 {
            return None;
        }
        Some(Self {
            input: behind * row + REACH - reach,
            output: before * row + REACH,
            pixels: rows * row,
        })
    }
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
