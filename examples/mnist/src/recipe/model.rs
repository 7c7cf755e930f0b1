//! The network and the loss of a recipe.

use std::f32::consts::TAU;

use anyhow::{Context, Result, ensure};
use burn::module::Param;
use burn::nn::{Initializer, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_center_loss::{
    CenterLossConfig, DistanceSoftmaxConfig, Margin, MarginSoftmaxConfig, ProxyAnchorConfig,
    Schedule, UpdateRule,
};

use super::loss::Loss;
use super::options::{CenterRule, Initialization, Recipe};
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
        let size = [num_classes, self.feature_dim];
        match self.loss {
            Loss::Softmax | Loss::Joint | Loss::Center => {
                let class = LinearConfig::new(self.feature_dim, num_classes);
                let mut class = class.with_bias(self.bias).init(device);
                if let Some(vectors) = self.class_vectors(num_classes, device) {
                    // In order in memory, as a checkpoint brings it back: products of other orders are rounded differently.
                    let weight = vectors.transpose().into_data();
                    class.weight = Param::from_tensor(Tensor::from_data(weight, device));
                }
                let center_loss = self.center_loss(size, steps_per_epoch);
                let center_loss = center_loss.map(|config| config.try_init(device));
                Ok(Objective::Softmax(Softmax {
                    class,
                    center_loss: center_loss.transpose()?,
                    alone: self.loss == Loss::Center,
                }))
            }
            Loss::DistanceSoftmax => {
                let config = DistanceSoftmaxConfig::new(num_classes, self.feature_dim)
                    .with_scale(self.scale()?)
                    .with_margin(self.margin()?)
                    .with_margin_schedule(self.margin_schedule(steps_per_epoch))
                    .with_pull(self.lambda / 2.0)
                    .with_pull_schedule(self.warmup(self.lambda_warmup, steps_per_epoch))
                    .with_class_balance(self.class_balance);
                let loss = match self.class_vectors(num_classes, device) {
                    Some(vectors) => config.init_with_centers(vectors.mul_scalar(FIRST_RADIUS))?,
                    None => config.try_init(device)?,
                };
                Ok(Objective::Distance(loss))
            }
            Loss::ProxyAnchor => {
                let config = ProxyAnchorConfig::new(num_classes, self.feature_dim)
                    .with_scale(self.scale()?)
                    .with_margin(self.margin()?);
                Ok(Objective::ProxyAnchor(config.try_init(device)?))
            }
            Loss::NormalizedSoftmax
            | Loss::CosFace
            | Loss::ArcFace
            | Loss::SphereFace
            | Loss::AdaFace => {
                let config = MarginSoftmaxConfig::new(num_classes, self.feature_dim)
                    .with_margin(self.library_margin()?)
                    .with_margin_schedule(self.margin_schedule(steps_per_epoch))
                    .with_scale(self.scale()?)
                    .with_class_balance(self.class_balance);
                let loss = match self.class_vectors(num_classes, device) {
                    Some(vectors) => config.init_with_centers(vectors),
                    None => config.try_init(device),
                };
                let loss = loss.context("--margin")?;
                Ok(Objective::Margin(loss))
            }
        }
    }

    fn scale(&self) -> Result<f64> {
        let loss = self.loss.name();
        self.scale
            .with_context(|| format!("--scale: {loss} needs one"))
    }

    fn margin(&self) -> Result<f64> {
        let loss = self.loss.name();
        self.margin
            .with_context(|| format!("--margin: {loss} needs one"))
    }

    fn library_margin(&self) -> Result<Margin> {
        Ok(match self.loss {
            Loss::CosFace => Margin::cosface(self.margin()?),
            Loss::ArcFace => Margin::arcface(self.margin()?),
            Loss::AdaFace => Margin::adaface(self.margin()?),
            Loss::SphereFace => {
                let margin = self.margin()?;
                let factor = margin as u32;
                ensure!(
                    f64::from(factor) == margin,
                    "--margin is {margin}: it must be a whole number with --loss sphereface"
                );
                Margin::sphereface(factor)
            }
            _ => Margin::None,
        })
    }

    /// The center loss that takes part, if one does.
    fn center_loss(&self, size: [usize; 2], steps_per_epoch: usize) -> Option<CenterLossConfig> {
        let [num_classes, feature_dim] = size;
        let config = CenterLossConfig::new(num_classes, feature_dim)
            .with_lambda(self.lambda)
            .with_class_balance(self.class_balance);
        let config = match self.initializer() {
            Some(initializer) => config.with_initializer(initializer),
            None => config,
        };
        match self.loss {
            Loss::Joint => Some(
                config
                    .with_update_rule(self.library_rule(steps_per_epoch))
                    .with_lambda_schedule(self.warmup(self.lambda_warmup, steps_per_epoch)),
            ),
            Loss::Center => Some(config.with_update_rule(UpdateRule::Frozen)),
            _ => None,
        }
    }

    fn library_rule(&self, steps_per_epoch: usize) -> UpdateRule {
        let direct = match self.update_rule {
            CenterRule::Paper => UpdateRule::paper(),
            CenterRule::Mean => UpdateRule::mean(),
            CenterRule::Sum => UpdateRule::sum(),
            CenterRule::Gradient => return UpdateRule::Gradient,
            CenterRule::Frozen => return UpdateRule::Frozen,
        };
        let schedule = match self.lr_step {
            None => Schedule::Constant,
            Some(epochs) => Schedule::StepDecay {
                every: (epochs * steps_per_epoch) as u64,
                factor: self.lr_factor,
            },
        };
        direct.with_alpha(self.alpha).with_alpha_schedule(schedule)
    }

    fn margin_schedule(&self, steps_per_epoch: usize) -> Schedule {
        match self.margin_warmup {
            Some(part) => self.warmup(part, steps_per_epoch),
            None => Schedule::Constant,
        }
    }

    /// A rise over `part` of all steps.
    fn warmup(&self, part: f64, steps_per_epoch: usize) -> Schedule {
        let steps = (self.epochs * steps_per_epoch) as f64 * part;
        match steps as u64 {
            0 => Schedule::Constant,
            steps => Schedule::LinearWarmup { steps },
        }
    }

    /// The first vectors of the classes, of length 1 and evenly around the origin, if there are two features. Random ones
    /// may have a class that wins nowhere, and the few numbers of a class layer are slow to leave that.
    fn class_vectors(&self, num_classes: usize, device: &Device) -> Option<Tensor<2>> {
        if self.feature_dim != 2 || self.initialization != Initialization::Kaiming {
            return None;
        }
        let angles = (0..num_classes).map(|class| TAU * class as f32 / num_classes as f32);
        let values: Vec<f32> = angles
            .flat_map(|angle| [angle.cos(), angle.sin()])
            .collect();
        let vectors = TensorData::new(values, [num_classes, 2]);
        Some(Tensor::from_data(vectors, device))
    }

    /// The number of steps of `softmax_start`.
    pub fn softmax_steps(&self, steps_per_epoch: usize) -> usize {
        ((self.epochs * steps_per_epoch) as f64 * self.softmax_start) as usize
    }

    /// `None` is Burn's default.
    fn initializer(&self) -> Option<Initializer> {
        match self.initialization {
            Initialization::Kaiming => None,
            Initialization::Xavier => Some(CenterLossConfig::mxnet(1, 1).initializer),
        }
    }
}
