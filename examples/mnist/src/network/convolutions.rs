//! 5x5 convolutions on the CPU, each with its leaky ReLU and, where one follows, its 2x2 pooling.
//!
//! The maps of a few images lie in memory as `[height, images, width + 2, channels]`. The two pixels behind each row are
//! zeros: they pad this row on the right and the next one on the left. So the inputs of an output pixel are five runs of
//! memory, one for each row of the kernel, and a convolution is five matrix products over the maps as they lie.

use gemm::Parallelism;
use rayon::prelude::*;

use super::lenet::{NEGATIVE_SLOPE, SIDE};

/// How far a kernel reaches from its middle; the number of zeros behind each row.
const REACH: usize = SIDE / 2;
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

impl Layer {
    /// Rows and columns of the kernel, and inputs. A single input is unfolded: its 25 pixels are the channels of one.
    fn kernel(&self) -> (usize, usize) {
        match self.channels[0] {
            1 => (1, SIDE * SIDE),
            inputs => (SIDE, inputs),
        }
    }

    fn pooled_size(&self) -> [usize; 2] {
        match self.pools {
            true => self.size.map(|side| side / 2),
            false => self.size,
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
        let maps = &part.maps[layers.len()];
        channels_first(maps, part.images, last.pooled_size(), last.channels[1])
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
        let image = last.pooled_size().iter().product::<usize>() * last.channels[1];
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
        let mut part = Self {
            images,
            maps: vec![unfold(pixels, images, layers[0].size)],
            chosen: Vec::new(),
        };
        for ((layer, weights), [_, biases]) in layers.iter().zip(arranged).zip(parameters) {
            let inputs = &part.maps[part.maps.len() - 1];
            let (side, channels) = layer.kernel();
            let [_, outputs] = layer.channels;
            let mut sums = convolve(
                inputs,
                weights,
                images,
                layer.size,
                side,
                [channels, outputs],
            );
            let mut chosen = Vec::new();
            if layer.pools {
                (sums, chosen) = pool(&sums, images, layer.size, outputs);
            }
            activate(&mut sums, biases, layer.pooled_size()[1]);
            part.maps.push(sums);
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
        let mut gradient =
            channels_last(outputs, self.images, last.pooled_size(), last.channels[1]);
        let mut found = Vec::new();
        for index in (0..layers.len()).rev() {
            let layer = &layers[index];
            let (side, channels) = layer.kernel();
            let [_, outputs] = layer.channels;
            let biases = deactivate(
                &mut gradient,
                &self.maps[index + 1],
                layer.pooled_size()[1],
                outputs,
            );
            if layer.pools {
                gradient = unpool(
                    &gradient,
                    &self.chosen[index],
                    self.images,
                    layer.size,
                    outputs,
                );
            }
            let size = [channels, outputs];
            let weights = correlate(
                &self.maps[index],
                &gradient,
                self.images,
                layer.size,
                side,
                size,
            );
            found.push([weights, biases]);
            if index > 0 {
                let size = [outputs, channels];
                gradient = convolve(
                    &gradient,
                    &turned[index],
                    self.images,
                    layer.size,
                    side,
                    size,
                );
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

/// Zeros for maps, with as many pixels around them as a kernel reaches.
fn zeros(images: usize, [height, width]: [usize; 2], channels: usize) -> Vec<f32> {
    vec![0.0; (height * images * (width + REACH) + 2 * REACH) * channels]
}

/// The rows of maps in order, each of `width` pixels, with the zeros behind.
fn rows(maps: &[f32], width: usize, channels: usize) -> std::slice::ChunksExact<'_, f32> {
    let maps = &maps[REACH * channels..maps.len() - REACH * channels];
    maps.chunks_exact((width + REACH) * channels)
}

fn rows_mut(
    maps: &mut [f32],
    width: usize,
    channels: usize,
) -> std::slice::ChunksExactMut<'_, f32> {
    let end = maps.len() - REACH * channels;
    maps[REACH * channels..end].chunks_exact_mut((width + REACH) * channels)
}

/// Images `[images, height, width]` as maps whose channels are the 25 pixels around each.
fn unfold(pixels: &[f32], images: usize, size: [usize; 2]) -> Vec<f32> {
    let [height, width] = size;
    let mut maps = zeros(images, size, SIDE * SIDE);
    let rows = rows_mut(&mut maps, width, SIDE * SIDE);
    for (index, row) in rows.enumerate() {
        let (y, image) = (index / images, index % images);
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
fn convolve(
    maps: &[f32],
    weights: &[f32],
    images: usize,
    size: [usize; 2],
    side: usize,
    [inputs, outputs]: [usize; 2],
) -> Vec<f32> {
    let mut sums = zeros(images, size, outputs);
    let run = side * inputs;
    for (above, weights) in weights.chunks_exact(run * outputs).enumerate() {
        let Some(span) = Span::of(above, side, images, size) else {
            continue;
        };
        multiply(
            &mut sums[span.output * outputs..],
            [span.pixels, run, outputs],
            (&maps[span.input * inputs..], [inputs, 1]),
            weights,
        );
    }
    sums
}

/// The gradient of arranged weights, from that of the sums.
fn correlate(
    maps: &[f32],
    gradient: &[f32],
    images: usize,
    size: [usize; 2],
    side: usize,
    [inputs, outputs]: [usize; 2],
) -> Vec<f32> {
    let run = side * inputs;
    let mut weights = vec![0.0; side * run * outputs];
    for (above, weights) in weights.chunks_exact_mut(run * outputs).enumerate() {
        let Some(span) = Span::of(above, side, images, size) else {
            continue;
        };
        multiply(
            weights,
            [run, span.pixels, outputs],
            (&maps[span.input * inputs..], [1, inputs]),
            &gradient[span.output * outputs..],
        );
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
    fn of(above: usize, side: usize, images: usize, [height, width]: [usize; 2]) -> Option<Self> {
        let reach = side / 2;
        let row = images * (width + REACH);
        let (before, behind) = (reach.saturating_sub(above), above.saturating_sub(reach));
        let rows = height
            .checked_sub(before + behind)
            .filter(|rows| *rows > 0)?;
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

/// The largest of every four pixels, and which it was. A row or column that is left over goes nowhere.
fn pool(maps: &[f32], images: usize, size: [usize; 2], channels: usize) -> (Vec<f32>, Vec<u8>) {
    let [height, width] = size;
    let pooled_size = [height / 2, width / 2];
    let mut pooled = zeros(images, pooled_size, channels);
    let mut chosen = vec![0; pooled_size.iter().product::<usize>() * images * channels];
    let rows: Vec<_> = rows(maps, width, channels).collect();
    let pooled_rows = rows_mut(&mut pooled, width / 2, channels);
    let chosen_rows = chosen.chunks_exact_mut(width / 2 * channels);
    for (index, (pooled, chosen)) in pooled_rows.zip(chosen_rows).enumerate() {
        let (y, image) = (index / images, index % images);
        let four = pooled
            .chunks_exact_mut(channels)
            .zip(chosen.chunks_exact_mut(channels));
        for (x, (largest, which)) in four.enumerate() {
            let pixel = |down: usize, right: usize| {
                &rows[(2 * y + down) * images + image][(2 * x + right) * channels..][..channels]
            };
            largest.copy_from_slice(pixel(0, 0));
            for (index, pixel) in [(1, pixel(0, 1)), (2, pixel(1, 0)), (3, pixel(1, 1))] {
                for ((largest, which), value) in largest.iter_mut().zip(&mut *which).zip(pixel) {
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

/// The gradient of what [`pool`] was given.
fn unpool(
    gradient: &[f32],
    chosen: &[u8],
    images: usize,
    size: [usize; 2],
    channels: usize,
) -> Vec<f32> {
    let [_, width] = size;
    let mut maps = zeros(images, size, channels);
    let row = (width + REACH) * channels;
    let chosen_rows = chosen.chunks_exact(width / 2 * channels);
    for (index, (gradient, chosen)) in rows(gradient, width / 2, channels)
        .zip(chosen_rows)
        .enumerate()
    {
        let (y, image) = (index / images, index % images);
        for right in 0..2 {
            for down in 0..2 {
                let start = REACH * channels + ((2 * y + down) * images + image) * row;
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
fn activate(maps: &mut [f32], biases: &[f32], width: usize) {
    let channels = biases.len();
    for row in rows_mut(maps, width, channels) {
        let (pixels, behind) = row.split_at_mut(width * channels);
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

/// Turns the gradient of the outputs of [`activate`] into that of its sums and returns that of the biases. Clears what
/// lies behind the rows.
fn deactivate(gradient: &mut [f32], maps: &[f32], width: usize, channels: usize) -> Vec<f32> {
    let mut biases = vec![0.0; channels];
    for (row, values) in rows_mut(gradient, width, channels).zip(rows(maps, width, channels)) {
        let (pixels, behind) = row.split_at_mut(width * channels);
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
fn channels_first(
    maps: &[f32],
    images: usize,
    [height, width]: [usize; 2],
    channels: usize,
) -> Vec<f32> {
    let mut values = vec![0.0; images * channels * height * width];
    for (index, row) in rows(maps, width, channels).enumerate() {
        let (y, image) = (index / images, index % images);
        for (x, pixel) in row.chunks_exact(channels).take(width).enumerate() {
            for (channel, value) in pixel.iter().enumerate() {
                values[((image * channels + channel) * height + y) * width + x] = *value;
            }
        }
    }
    values
}

/// Maps of `[images, channels, height, width]`.
fn channels_last(
    values: &[f32],
    images: usize,
    [height, width]: [usize; 2],
    channels: usize,
) -> Vec<f32> {
    let mut maps = zeros(images, [height, width], channels);
    for (index, row) in rows_mut(&mut maps, width, channels).enumerate() {
        let (y, image) = (index / images, index % images);
        for (x, pixel) in row.chunks_exact_mut(channels).take(width).enumerate() {
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = values[((image * channels + channel) * height + y) * width + x];
            }
        }
    }
    maps
}
