//! Softmax cross-entropy over a class layer, with center loss beside it or in its place.

use anyhow::Result;
use burn::module::{Module, Param};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use burn_center_loss::{CenterLoss, CenterLossConfig};

/// Configuration of a [`Softmax`].
pub struct SoftmaxConfig {
    /// The number of classes and the number of features.
    pub size: [usize; 2],
    pub bias: bool,
    /// In place of random ones, a row for each class.
    pub class_vectors: Option<Tensor<2>>,
    pub center_loss: Option<CenterLossConfig>,
    /// Whether the center loss is all that is minimized.
    pub alone: bool,
}

/// The class layer, and the losses over its scores and over the features.
#[derive(Module, Debug)]
pub struct Softmax {
    class: Linear,
    pub center_loss: Option<CenterLoss>,
    cross_entropy: CrossEntropyLoss,
    alone: bool,
}

impl SoftmaxConfig {
    pub fn init(&self, device: &Device) -> Result<Softmax> {
        let [num_classes, feature_dim] = self.size;
        let mut class = LinearConfig::new(feature_dim, num_classes)
            .with_bias(self.bias)
            .init(device);
        if let Some(vectors) = &self.class_vectors {
            // In order in memory, as a checkpoint brings it back: products of other orders are rounded differently.
            let weight = vectors.clone().transpose().into_data();
            class.weight = Param::from_tensor(Tensor::from_data(weight, device));
        }
        Ok(Softmax {
            class,
            center_loss: match &self.center_loss {
                Some(config) => Some(config.try_init(device)?),
                None => None,
            },
            cross_entropy: CrossEntropyLossConfig::new().init(device),
            alone: self.alone,
        })
    }
}

impl Softmax {
    pub fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.class.forward(features)
    }

    /// The loss of a batch and the scores of its features.
    pub fn forward(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<(Tensor<1>, Tensor<2>)> {
        let logits = self.logits(features.clone());
        let softmax = |labels| self.cross_entropy.forward(logits.clone(), labels);
        let loss = match &self.center_loss {
            None => softmax(labels),
            Some(center_loss) => {
                let center = center_loss.try_forward((features, labels.clone()))?;
                match self.alone {
                    true => center,
                    false => softmax(labels) + center,
                }
            }
        };
        Ok((loss, logits))
    }
}
