//! 5x5 convolutions on the CPU, each with its leaky ReLU and, where one follows, its 2x2 pooling.

use rayon::prelude::*;

use super::kernel::REACH;
use super::maps::Maps;

/// The images that go through all layers together, on one thread. It decides how sums over a batch are rounded, so it
/// does not depend on the number of threads.
const IMAGES_TOGETHER: usize = 16;

/// A convolution and what follows it.
#[derive(Debug)]
pub struct Layer {
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
    /// With weights `[side, side, inputs, outputs]`.
    parameters: Vec<f32>,
    /// Of some images each: the inputs of each layer and the outputs of the last one.
    parts: Vec<Vec<Maps>>,
}

impl Pass {
    /// Takes images of `size` through `layers`. `pixels` are `[images, height + 4, width + 4]`, with zeros around each
    /// image; `parameters` are the weights `[outputs, inputs, side, side]` and the biases of one layer after the other.
    pub fn forward(
        layers: Vec<Layer>,
        parameters: &[f32],
        pixels: &[f32],
        size: [usize; 2],
    ) -> Self {
        let parameters = rearranged(&layers, parameters, false);
        let image: usize = size.iter().map(|side| side + 2 * REACH).product();
        let parts = pixels.par_chunks(image * IMAGES_TOGETHER);
        let parts = parts.map(|pixels| forward(&layers, &parameters, Maps::unfold(pixels, size)));
        Self {
            parts: parts.collect(),
            layers,
            parameters,
        }
    }

    /// The outputs, `[images, height, width, channels]`.
    pub fn outputs(&self) -> Vec<f32> {
        let parts = self
            .parts
            .iter()
            .map(|maps| maps[self.layers.len()].by_image());
        Vec::from_iter(parts).concat()
    }

    /// The gradients of the parameters from those of the outputs.
    pub fn gradients(&self, outputs: &[f32]) -> Vec<f32> {
        let weights = split(&self.layers, &self.parameters).into_par_iter();
        let turned = weights
            .zip(&self.layers)
            .map(|([weights, _], layer)| turn(weights, layer));
        let turned: Vec<_> = turned.collect();
        let together = self.parts[0][self.layers.len()].by_image().len();
        let parts = self.parts.par_iter().zip(outputs.par_chunks(together));
        let parts = parts.map(|(maps, outputs)| gradients(&self.layers, &turned, maps, outputs));
        // In order: sums of floats depend on it.
        let mut parts = parts.collect::<Vec<_>>().into_iter();
        let mut sums = parts.next().unwrap_or_default();
        for part in parts {
            sums.iter_mut()
                .zip(part)
                .for_each(|(sum, term)| *sum += term);
        }
        rearranged(&self.layers, &sums, true)
    }
}

fn forward(layers: &[Layer], parameters: &[f32], inputs: Maps) -> Vec<Maps> {
    let mut maps = vec![inputs];
    for (layer, [weights, biases]) in layers.iter().zip(split(layers, parameters)) {
        let sums = maps[maps.len() - 1].convolve(weights, layer.side, biases.len());
        let mut outputs = if layer.pools { sums.pool() } else { sums };
        outputs.activate(biases);
        maps.push(outputs);
    }
    maps
}

/// The gradients of the parameters of some `maps` from that of the outputs.
fn gradients(layers: &[Layer], turned: &[Vec<f32>], maps: &[Maps], outputs: &[f32]) -> Vec<f32> {
    let mut gradient = maps[layers.len()].of_images(outputs);
    let mut found = Vec::new();
    for (index, layer) in layers.iter().enumerate().rev() {
        let (inputs, outputs) = (&maps[index], &maps[index + 1]);
        found.push(gradient.deactivate(outputs));
        if layer.pools {
            gradient = gradient.unpool(outputs, inputs);
        }
        found.push(inputs.correlate(&gradient, layer.side));
        if index > 0 {
            gradient = gradient.convolve(&turned[index], layer.side, layer.channels[0]);
        }
    }
    found.reverse();
    found.concat()
}

/// The weights and the biases of each layer.
fn split<'a>(layers: &[Layer], mut parameters: &'a [f32]) -> Vec<[&'a [f32]; 2]> {
    let mut part = |length| parameters.split_off(..length).unwrap_or_default();
    let mut parts = Vec::new();
    for Layer {
        side,
        channels: [inputs, outputs],
        ..
    } in layers
    {
        parts.push([side * side * inputs * outputs, *outputs].map(&mut part));
    }
    parts
}

/// Parameters whose weights `[outputs, inputs, side * side]` have their axes in reverse, or `back` from there.
fn rearranged(layers: &[Layer], parameters: &[f32], back: bool) -> Vec<f32> {
    let layers = split(layers, parameters).into_par_iter().zip(layers);
    let layers = layers.map(|([weights, biases], layer)| {
        let [inputs, outputs] = layer.channels;
        let mut axes = [outputs, inputs, layer.side.pow(2)];
        if back {
            axes.reverse();
        }
        [&reversed(weights, axes), biases].concat()
    });
    layers.collect::<Vec<_>>().concat()
}

/// `[a, b, c]` as `[c, b, a]`.
fn reversed(values: &[f32], [a, b, c]: [usize; 3]) -> Vec<f32> {
    let mut reversed = Vec::with_capacity(values.len());
    for (z, y) in (0..c).flat_map(|z| (0..b).map(move |y| (z, y))) {
        reversed.extend((0..a).map(|x| values[(x * b + y) * c + z]));
    }
    reversed
}

/// The weights of the way back: `[side, side, outputs, inputs]`, with rows and columns from the last to the first.
fn turn(weights: &[f32], layer: &Layer) -> Vec<f32> {
    let [inputs, outputs] = layer.channels;
    let taps = weights.rchunks_exact(inputs * outputs);
    Vec::from_iter(taps.map(|tap| reversed(tap, [inputs, 1, outputs]))).concat()
}
