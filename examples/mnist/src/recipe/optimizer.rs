//! The optimizer of a recipe and its learning rate.

use anyhow::{Result, anyhow};
use burn::module::ParamGroup;
use burn::optim::grad_clipping::GradientClippingConfig;
use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn_center_loss::CenterLoss;

use super::options::Recipe;
use crate::network::{CENTER_LOSS, CLASS_VECTORS};

/// The part of all steps in which the learning rate rises.
const RISE: f64 = 0.2;

impl Recipe {
    /// Adam, and plain gradient steps for centers under the gradient rule.
    pub fn optimizer(&self) -> ModuleOptimizer {
        let clipping = |length| GradientClippingConfig::Norm(length as f32);
        let centers = CenterLoss::centers_param_group(CENTER_LOSS);
        AdamConfig::new()
            .with_grad_clipping(self.clip.map(clipping))
            .init()
            .with_group(centers, SgdConfig::new().build(), None)
    }

    pub fn scheduler(&self, steps_per_epoch: usize) -> Result<ModuleLrScheduler> {
        let steps = self.epochs * steps_per_epoch;
        let classes = rise_and_fall((self.lr * self.class_rate).min(1.0), steps);
        let centers = LrSchedulerConfig::Constant(self.alpha);
        ModuleLrSchedulerConfig::new(rise_and_fall(self.lr, steps))
            .with_group(ParamGroup::from_paths(CLASS_VECTORS.to_vec()), classes)
            .with_group(CenterLoss::centers_param_group(CENTER_LOSS), centers)
            .init()
            .map_err(|message| anyhow!("--lr: {message}"))
    }
}

fn rise_and_fall(peak: f64, steps: usize) -> LrSchedulerConfig {
    let rising = ((steps as f64 * RISE) as usize).max(1);
    let falling = steps.saturating_sub(rising).max(1);
    let rise = LinearLrSchedulerConfig::new(peak / rising as f64, peak, rising);
    let fall = LinearLrSchedulerConfig::new(peak, 0.0, falling);
    let phases = [rise, fall].map(LrSchedulerConfig::Linear);
    LrSchedulerConfig::Sequential(SequentialLrSchedulerConfig::new(
        phases.to_vec(),
        vec![rising],
    ))
}
