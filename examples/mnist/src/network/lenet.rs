//! LeNet++: three blocks of two 5x5 convolutions and a pooling, and a feature layer.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};

use super::kernel::{NEGATIVE_SLOPE, REACH, SIDE};
#[cfg(feature = "flex")]
use super::{convolutions::Layer, trunk};

const CHANNELS: [usize; 3] = [32, 64, 128];

/// Configuration of a [`LeNetPlusPlus`].
pub struct LeNetPlusPlusConfig {
    /// Height and width of the images.
    pub image_size: [usize; 2],
    pub feature_dim: usize,
    /// Whether the feature layer has a bias; the convolutions always have.
    pub bias: bool,
    /// Whether there is batch normalisation behind the feature layer.
    pub feature_norm: bool,
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
    convolutions: [Conv2d; 2],
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
            Conv2dConfig::new([input, output], [SIDE; 2])
                .with_padding(PaddingConfig2d::Explicit(REACH, REACH, REACH, REACH))
                .init(device)
        };
        Block {
            convolutions: [input, output].map(convolution),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }
}

impl LeNetPlusPlus {
    /// The features `[batch_size, feature_dim]` of images `[batch_size, 1, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.feature.forward(self.maps(images));
        match &self.norm {
            Some(norm) => norm.forward(features),
            None => features,
        }
    }

    /// The outputs of the last block, a row for each image.
    fn maps(&self, images: Tensor<4>) -> Tensor<2> {
        #[cfg(feature = "flex")]
        if is_flex(&images.device()) {
            return self.maps_on_flex(images);
        }
        self.maps_by_burn(images)
    }

    fn maps_by_burn(&self, images: Tensor<4>) -> Tensor<2> {
        let blocks = self.blocks.iter();
        let maps = blocks.fold(images, |maps, block| block.forward(maps));
        maps.flatten(1, 3)
    }

    #[cfg(feature = "flex")]
    fn maps_on_flex(&self, images: Tensor<4>) -> Tensor<2> {
        let [batch_size, _, height, width] = images.dims();
        let mut size = [height, width];
        let (mut layers, mut parameters) = (Vec::new(), Vec::new());
        for convolution in self.blocks.iter().flat_map(|block| &block.convolutions) {
            let [outputs, inputs, ..] = convolution.weight.dims();
            // The second convolution of a block.
            let pools = layers.len() % 2 == 1;
            layers.push(Layer {
                size,
                channels: [inputs, outputs],
                pools,
            });
            if pools {
                size = size.map(|side| side / 2);
            }
            parameters.push(convolution.weight.val().flatten(0, 3));
            parameters.extend(convolution.bias.as_ref().map(|bias| bias.val()));
        }
        let maps = trunk::convolve(&layers, Tensor::cat(parameters, 0), images);
        maps.reshape([batch_size as isize, -1])
    }
}

#[cfg(feature = "flex")]
fn is_flex(device: &Device) -> bool {
    use burn::backend::DispatchDevice;
    matches!(
        device.clone().without_autodiff().as_dispatch(),
        DispatchDevice::Flex(_)
    )
}

impl Block {
    fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let [first, second] = &self.convolutions;
        let maps = leaky_relu(first.forward(maps), f64::from(NEGATIVE_SLOPE));
        // Leaky ReLU keeps the order of values, so that it has a fourth of the work behind the pooling.
        leaky_relu(
            self.pool.forward(second.forward(maps)),
            f64::from(NEGATIVE_SLOPE),
        )
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

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
            };
            let [height, width] = image_size;
            let images = Tensor::zeros([3, 1, height, width], &device);
            let features = config.init(&device).forward(images);
            assert_eq!(features.dims(), [3, feature_dim]);
        }
    }

    #[cfg(feature = "flex")]
    #[test]
    fn the_own_convolutions_are_burns() {
        use burn::optim::GradientsParams;
        use burn::tensor::Distribution;

        let device = Device::flex().autodiff();
        for (batch_size, image_size) in [(1, [8, 8]), (3, [9, 21]), (17, [12, 8]), (33, [16, 15])] {
            let config = LeNetPlusPlusConfig {
                image_size,
                feature_dim: 2,
                bias: true,
                feature_norm: false,
            };
            let network = config.init(&device);
            let [height, width] = image_size;
            let random =
                |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Default, &device);
            let images = random([batch_size, 1, height, width]);
            let weights = random([batch_size, 1, 1, CHANNELS[2] * (height / 8) * (width / 8)]);
            let sides = [
                network.maps_on_flex(images.clone()),
                network.maps_by_burn(images),
            ];
            let [(own, own_gradients), (burn, burn_gradients)] = sides.map(|maps| {
                let sum = (maps.clone() * weights.clone().flatten(0, 2)).sum();
                let gradients = GradientsParams::from_grads(sum.backward(), &network);
                (maps.into_data(), gradients)
            });
            let close = |one: TensorData, other: TensorData| {
                let [one, other] = [one, other].map(|data| data.try_into_vec::<f32>().unwrap());
                let largest = other
                    .iter()
                    .fold(0.0_f32, |largest, value| largest.max(value.abs()));
                assert_eq!(one.len(), other.len());
                for (one, other) in one.iter().zip(&other) {
                    assert!(
                        (one - other).abs() <= 1e-5 * largest,
                        "{one} {other}, of {largest}"
                    );
                }
            };
            close(own, burn);
            for convolution in network.blocks.iter().flat_map(|block| &block.convolutions) {
                let weight = convolution.weight.id;
                let gradient = |of: &GradientsParams| of.get::<4>(weight).unwrap().into_data();
                close(gradient(&own_gradients), gradient(&burn_gradients));
                let bias = convolution.bias.as_ref().unwrap().id;
                let gradient = |of: &GradientsParams| of.get::<1>(bias).unwrap().into_data();
                close(gradient(&own_gradients), gradient(&burn_gradients));
            }
        }
    }
}
