//! The optimizer of a recipe and its learning rate.

use anyhow::{Result, anyhow};
use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::grad_clipping::GradientClippingConfig;
use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::lr_scheduler::step::StepLrSchedulerConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn_center_loss::CenterLoss;

use super::options::{Optimizer, Recipe};
use crate::network::{CENTER_LOSS, CLASS_VECTORS};

/// The part of all steps in which the learning rate rises, where it rises.
const RISE: f64 = 0.2;

impl Recipe {
    pub fn optimizer(&self) -> ModuleOptimizer {
        let decay = (self.weight_decay > 0.0).then_some(WeightDecayConfig {
            penalty: self.weight_decay as f32,
        });
        let clipping = self
            .clip
            .map(|norm| GradientClippingConfig::Norm(norm as f32));
        let optimizer = match self.optimizer {
            Optimizer::Adam => AdamConfig::new()
                .with_weight_decay(decay)
                .with_grad_clipping(clipping)
                .init(),
            Optimizer::Sgd => SgdConfig::new()
                .with_weight_decay(decay)
                .with_gradient_clipping(clipping)
                .init(),
        };
        // Only the gradient rule gives the centers gradients; weight decay must not pull them to the origin.
        let centers = CenterLoss::centers_param_group(CENTER_LOSS);
        optimizer.with_group(centers, SgdConfig::new().build(), None)
    }

    pub fn scheduler(&self, steps_per_epoch: usize) -> Result<ModuleLrScheduler> {
        let network = self.rate_schedule(self.lr, steps_per_epoch);
        let centers = match self.lr_step {
            None => LrSchedulerConfig::Constant(self.alpha),
            Some(_) => self.rate_schedule(self.alpha, steps_per_epoch),
        };
        let classes = self.rate_schedule((self.lr * self.class_rate).min(1.0), steps_per_epoch);
        ModuleLrSchedulerConfig::new(network)
            .with_group(ParamGroup::from_paths(CLASS_VECTORS.to_vec()), classes)
            .with_group(CenterLoss::centers_param_group(CENTER_LOSS), centers)
            .init()
            .map_err(|message| anyhow!("--lr: {message}"))
    }

    fn rate_schedule(&self, peak: f64, steps_per_epoch: usize) -> LrSchedulerConfig {
        if let Some(epochs) = self.lr_step {
            let steps = StepLrSchedulerConfig::new(peak, epochs * steps_per_epoch);
            return LrSchedulerConfig::Step(steps.with_gamma(self.lr_factor));
        }
        let steps = self.epochs * steps_per_epoch;
        let rising = ((steps as f64 * RISE) as usize).max(1);
        let falling = steps.saturating_sub(rising).max(1);
        let rise = LinearLrSchedulerConfig::new(peak / rising as f64, peak, rising);
        let fall = LinearLrSchedulerConfig::new(peak, 0.0, falling);
        LrSchedulerConfig::Sequential(SequentialLrSchedulerConfig::new(
            vec![
                LrSchedulerConfig::Linear(rise),
                LrSchedulerConfig::Linear(fall),
            ],
            vec![rising],
        ))
    }
}
