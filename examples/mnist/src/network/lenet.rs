//! LeNet++: three blocks of two 5x5 convolutions and a pooling, and a feature layer.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};

const CHANNELS: [usize; 3] = [32, 64, 128];
const KERNEL_SIZE: [usize; 2] = [5, 5];
/// Keeps the size of the image through a 5x5 convolution.
const PADDING: usize = 2;
const NEGATIVE_SLOPE: f64 = 0.01;

/// Configuration of a [`LeNetPlusPlus`].
pub struct LeNetPlusPlusConfig {
    /// Height and width of the images.
    pub image_size: [usize; 2],
    pub feature_dim: usize,
    /// Whether the feature layer has a bias; the convolutions always have.
    pub bias: bool,
    /// Whether there is batch normalisation behind the feature layer.
    pub feature_norm: bool,
    /// `None` is Burn's default.
    pub initializer: Option<Initializer>,
}

/// The network of Wen et al.'s MNIST experiment.
#[derive(Module, Debug)]
pub struct LeNetPlusPlus {
    blocks: Vec<Block>,
    feature: Linear,
    norm: Option<BatchNorm>,
}

#[derive(Module, Debug)]
struct Block {
    convolutions: Vec<Conv2d>,
    pool: MaxPool2d,
}

impl LeNetPlusPlusConfig {
    pub fn init(&self, device: &Device) -> LeNetPlusPlus {
        let inputs = [1, CHANNELS[0], CHANNELS[1]];
        let blocks = inputs.into_iter().zip(CHANNELS);
        let pooled: usize = self
            .image_size
            .iter()
            .map(|side| side >> CHANNELS.len())
            .product();
        let feature =
            LinearConfig::new(CHANNELS[2] * pooled, self.feature_dim).with_bias(self.bias);
        let feature = match &self.initializer {
            Some(initializer) => feature.with_initializer(initializer.clone()),
            None => feature,
        };
        LeNetPlusPlus {
            blocks: blocks
                .map(|(input, output)| self.block(input, output, device))
                .collect(),
            feature: feature.init(device),
            norm: (self.feature_norm).then(|| BatchNormConfig::new(self.feature_dim).init(device)),
        }
    }

    fn block(&self, input: usize, output: usize, device: &Device) -> Block {
        let convolution = |input: usize| {
            let config = Conv2dConfig::new([input, output], KERNEL_SIZE).with_padding(
                PaddingConfig2d::Explicit(PADDING, PADDING, PADDING, PADDING),
            );
            let config = match &self.initializer {
                Some(initializer) => config.with_initializer(initializer.clone()),
                None => config,
            };
            config.init(device)
        };
        Block {
            convolutions: [input, output].map(convolution).into(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }
}

impl LeNetPlusPlus {
    /// The features `[batch_size, feature_dim]` of images `[batch_size, 1, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let maps = self
            .blocks
            .iter()
            .fold(images, |maps, block| block.forward(maps));
        let features = self.feature.forward(maps.flatten::<2>(1, 3));
        match &self.norm {
            Some(norm) => norm.forward(features),
            None => features,
        }
    }
}

impl Block {
    fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let maps = self.convolutions.iter().fold(maps, |maps, convolution| {
            leaky_relu(convolution.forward(maps), NEGATIVE_SLOPE)
        });
        self.pool.forward(maps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_the_configuration() {
        let device = Device::flex();
        for (image_size, feature_dim) in [([28, 28], 2), ([8, 17], 5)] {
            let config = LeNetPlusPlusConfig {
                image_size,
                feature_dim,
                bias: true,
                feature_norm: true,
                initializer: None,
            };
            let [height, width] = image_size;
            let images = Tensor::zeros([3, 1, height, width], &device);
            let features = config.init(&device).forward(images);
            assert_eq!(features.dims(), [3, feature_dim]);
        }
    }
}
