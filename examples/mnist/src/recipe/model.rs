//! The network and the loss of a recipe.

use std::f32::consts::TAU;

use anyhow::{Context, Result, ensure};
use burn::module::Param;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor, TensorData};
use burn_center_loss::{
    CenterLossConfig, DistanceSoftmaxConfig, Margin, MarginSoftmaxConfig, ProxyAnchorConfig,
    Schedule, UpdateRule,
};

use super::loss::Loss;
use super::options::{CenterRule, Recipe};
use crate::network::{LeNetPlusPlusConfig, Model, Objective, Softmax};

/// How far from the origin the centers of two features start under softmax over distances.
const FIRST_RADIUS: f64 = 3.0;

impl Recipe {
    /// The model with random weights and centers.
    pub fn model(
        &self,
        image_size: [usize; 2],
        num_classes: usize,
        steps_per_epoch: usize,
        device: &Device,
    ) -> Result<Model> {
        device.seed(self.seed);
        let network = LeNetPlusPlusConfig {
            image_size,
            feature_dim: self.feature_dim,
            bias: self.bias,
            feature_norm: self.feature_norm,
        };
        Ok(Model {
            network: network.init(device),
            objective: self.objective(num_classes, steps_per_epoch, device)?,
        })
    }

    fn objective(
        &self,
        num_classes: usize,
        steps_per_epoch: usize,
        device: &Device,
    ) -> Result<Objective> {
        let class_vectors = self.class_vectors(num_classes, device);
        let rise = |part| match self.steps(part, steps_per_epoch) as u64 {
            0 => Schedule::Constant,
            steps => Schedule::LinearWarmup { steps },
        };
        Ok(match self.loss {
            Loss::Softmax | Loss::Joint | Loss::Center => {
                let class = LinearConfig::new(self.feature_dim, num_classes);
                let mut class = class.with_bias(self.bias).init(device);
                if let Some(vectors) = class_vectors {
                    // In order in memory, as a checkpoint brings it back: products of other orders are rounded differently.
                    let weight = vectors.transpose().into_data();
                    class.weight = Param::from_tensor(Tensor::from_data(weight, device));
                }
                let center_loss = CenterLossConfig::new(num_classes, self.feature_dim)
                    .with_lambda(self.lambda)
                    .with_class_balance(self.class_balance);
                let center_loss = match self.loss {
                    Loss::Softmax => None,
                    Loss::Center => Some(center_loss.with_update_rule(UpdateRule::Frozen)),
                    _ => Some(
                        center_loss
                            .with_update_rule(self.library_rule())
                            .with_lambda_schedule(rise(self.lambda_warmup)),
                    ),
                };
                let center_loss = center_loss.map(|config| config.try_init(device));
                Objective::Softmax(Softmax {
                    class,
                    center_loss: center_loss.transpose()?,
                    alone: self.loss == Loss::Center,
                })
            }
            Loss::DistanceSoftmax => {
                let config = DistanceSoftmaxConfig::new(num_classes, self.feature_dim)
                    .with_scale(self.scale)
                    .with_margin(self.margin)
                    .with_margin_schedule(rise(self.margin_warmup))
                    .with_pull(self.lambda / 2.0)
                    .with_pull_schedule(rise(self.lambda_warmup))
                    .with_class_balance(self.class_balance);
                Objective::Distance(match class_vectors {
                    Some(vectors) => config.init_with_centers(vectors.mul_scalar(FIRST_RADIUS))?,
                    None => config.try_init(device)?,
                })
            }
            Loss::ProxyAnchor => {
                let config = ProxyAnchorConfig::new(num_classes, self.feature_dim)
                    .with_scale(self.scale)
                    .with_margin(self.margin);
                Objective::ProxyAnchor(config.try_init(device)?)
            }
            Loss::NormalizedSoftmax
            | Loss::Cosface
            | Loss::Arcface
            | Loss::Sphereface
            | Loss::Adaface => {
                let config = MarginSoftmaxConfig::new(num_classes, self.feature_dim)
                    .with_margin(self.library_margin()?)
                    .with_margin_schedule(match self.loss.has("margin_warmup") {
                        true => rise(self.margin_warmup),
                        false => Schedule::Constant,
                    })
                    .with_scale(self.scale)
                    .with_class_balance(self.class_balance);
                let loss = match class_vectors {
                    Some(vectors) => config.init_with_centers(vectors),
                    None => config.try_init(device),
                };
                Objective::Margin(loss.context("--margin")?)
            }
        })
    }

    fn library_margin(&self) -> Result<Margin> {
        let margin = self.margin;
        Ok(match self.loss {
            Loss::Cosface => Margin::cosface(margin),
            Loss::Arcface => Margin::arcface(margin),
            Loss::Adaface => Margin::adaface(margin),
            Loss::Sphereface => {
                ensure!(
                    f64::from(margin as u32) == margin,
                    "--margin is {margin}: it must be a whole number with --loss sphereface"
                );
                Margin::sphereface(margin as u32)
            }
            _ => Margin::None,
        })
    }

    fn library_rule(&self) -> UpdateRule {
        match self.update_rule {
            CenterRule::Paper => UpdateRule::paper().with_alpha(self.alpha),
            CenterRule::Mean => UpdateRule::mean().with_alpha(self.alpha),
            CenterRule::Sum => UpdateRule::sum().with_alpha(self.alpha),
            CenterRule::Gradient => UpdateRule::Gradient,
            CenterRule::Frozen => UpdateRule::Frozen,
        }
    }

    /// The first vectors of the classes, of length 1 and evenly around the origin, if there are two features. Random ones
    /// may have a class that wins nowhere, and the few numbers of a class layer are slow to leave that.
    fn class_vectors(&self, num_classes: usize, device: &Device) -> Option<Tensor<2>> {
        let angles = (0..num_classes).map(|class| TAU * class as f32 / num_classes as f32);
        let values = Vec::from_iter(angles.flat_map(|angle| [angle.cos(), angle.sin()]));
        let vectors = TensorData::new(values, [num_classes, 2]);
        (self.feature_dim == 2).then(|| Tensor::from_data(vectors, device))
    }

    /// The number of steps in `part` of all steps.
    fn steps(&self, part: f64, steps_per_epoch: usize) -> usize {
        ((self.epochs * steps_per_epoch) as f64 * part) as usize
    }

    /// The number of steps of `softmax_start`.
    pub fn softmax_steps(&self, steps_per_epoch: usize) -> usize {
        self.steps(self.softmax_start, steps_per_epoch)
    }
}
