//! LeNet++: three blocks of two 5x5 convolutions and a pooling, a feature layer, a class layer.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};
use burn_center_loss::CenterLoss;

const CHANNELS: [usize; 3] = [32, 64, 128];
const KERNEL_SIZE: [usize; 2] = [5, 5];
/// Keeps the size of the image through a 5x5 convolution.
const PADDING: usize = 2;
const NEGATIVE_SLOPE: f64 = 0.01;

/// Where a [`Model`] has its center loss.
pub const CENTER_LOSS: &str = "center_loss";

/// All that is trained and recorded together.
#[derive(Module, Debug)]
pub struct Model {
    pub network: LeNetPlusPlus,
    pub center_loss: Option<CenterLoss>,
}

/// Configuration of a [`LeNetPlusPlus`].
#[derive(Config, Debug)]
pub struct LeNetPlusPlusConfig {
    /// Height and width of the images.
    pub image_size: [usize; 2],
    pub num_classes: usize,
    pub feature_dim: usize,
    /// Whether the feature layer and the class layer have a bias; the convolutions always have.
    pub bias: bool,
    pub initializer: Initializer,
}

/// The network of Wen et al.'s MNIST experiment.
#[derive(Module, Debug)]
pub struct LeNetPlusPlus {
    blocks: Vec<Block>,
    feature: Linear,
    class: Linear,
}

#[derive(Module, Debug)]
struct Block {
    convolutions: Vec<Conv2d>,
    pool: MaxPool2d,
}

/// What the network makes of a batch.
pub struct Output {
    /// `[batch_size, feature_dim]`
    pub features: Tensor<2>,
    /// `[batch_size, num_classes]`
    pub logits: Tensor<2>,
}

impl LeNetPlusPlusConfig {
    pub fn init(&self, device: &Device) -> LeNetPlusPlus {
        let block = |input: usize, output: usize| Block {
            convolutions: [input, output]
                .into_iter()
                .map(|input| {
                    Conv2dConfig::new([input, output], KERNEL_SIZE)
                        .with_padding(PaddingConfig2d::Explicit(
                            PADDING, PADDING, PADDING, PADDING,
                        ))
                        .with_initializer(self.initializer.clone())
                        .init(device)
                })
                .collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        };
        let linear = |input: usize, output: usize| {
            LinearConfig::new(input, output)
                .with_bias(self.bias)
                .with_initializer(self.initializer.clone())
                .init(device)
        };
        let inputs = [1, CHANNELS[0], CHANNELS[1]];
        let pooled: usize = self
            .image_size
            .iter()
            .map(|side| side >> CHANNELS.len())
            .product();
        LeNetPlusPlus {
            blocks: inputs
                .into_iter()
                .zip(CHANNELS)
                .map(|(input, output)| block(input, output))
                .collect(),
            feature: linear(CHANNELS[2] * pooled, self.feature_dim),
            class: linear(self.feature_dim, self.num_classes),
        }
    }
}

impl LeNetPlusPlus {
    /// `images` are `[batch_size, 1, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Output {
        let maps = self
            .blocks
            .iter()
            .fold(images, |maps, block| block.forward(maps));
        let features = self.feature.forward(maps.flatten::<2>(1, 3));
        let logits = self.class.forward(features.clone());
        Output { features, logits }
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

    fn output(image_size: [usize; 2], feature_dim: usize, bias: bool) -> Output {
        let device = Device::flex();
        let config = LeNetPlusPlusConfig {
            image_size,
            num_classes: 7,
            feature_dim,
            bias,
            initializer: Initializer::KaimingUniform {
                gain: 1.0,
                fan_out_only: false,
            },
        };
        let [height, width] = image_size;
        let images = Tensor::zeros([3, 1, height, width], &device);
        config.init(&device).forward(images)
    }

    #[test]
    fn shapes_follow_the_configuration() {
        for (image_size, feature_dim) in [([28, 28], 2), ([8, 17], 5)] {
            let output = output(image_size, feature_dim, true);
            assert_eq!(output.features.dims(), [3, feature_dim]);
            assert_eq!(output.logits.dims(), [3, 7]);
        }
    }
}
