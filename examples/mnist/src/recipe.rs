//! How a network is trained: everything that decides the result, in one serializable place.

use anyhow::{Result, anyhow, ensure};
use burn::nn::Initializer;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::lr_scheduler::step::StepLrSchedulerConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, ClassBalance, DirectRule, Schedule, UpdateRule,
};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::SplitSizes;
use crate::model::CENTER_LOSS;

/// The part of all steps in which the one-cycle rate rises.
const RISE: f64 = 0.2;
/// Half the side of the smallest images.
const MAX_SHIFT: usize = 4;

/// Configuration of one training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub loss: Loss,
    pub epochs: usize,
    pub batch_size: usize,
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    pub rate: Rate,
    pub weight_decay: f64,
    pub feature_dim: usize,
    pub bias: bool,
    pub initialization: Initialization,
    /// The weight of the center loss.
    pub lambda: f64,
    /// The part of all steps in which the weight of the center loss rises, beside softmax.
    pub lambda_warmup: f64,
    /// The rate of the centers: of a direct rule, or of their optimizer under the gradient rule.
    pub alpha: f64,
    pub update_rule: CenterRule,
    pub class_balance: ClassBalance,
    pub num_classes: Option<usize>,
    /// The most pixels by which a training image is moved at random, in each direction.
    pub shift: usize,
    pub sizes: SplitSizes,
    pub seed: u64,
}

/// What is minimized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Softmax cross-entropy alone
    Softmax,
    /// Softmax cross-entropy and center loss
    Joint,
    /// Center loss alone, from a trained joint run on, with its centers at rest
    Center,
}

impl Loss {
    pub const ALL: [Self; 3] = [Self::Softmax, Self::Joint, Self::Center];

    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Joint => "joint",
            Self::Center => "center",
        }
    }
}

/// How the centers follow the features beside softmax: the library's rules by name, without their rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum CenterRule {
    /// The rule of the paper
    Paper,
    /// To the mean of the batch
    Mean,
    /// By the sum over the batch
    Sum,
    /// By a gradient step of an optimizer of their own
    Gradient,
    /// Not at all
    Frozen,
}

/// The optimizer of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    Adam,
    /// Without momentum
    Sgd,
}

/// How the learning rate goes on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// Rises to the learning rate for a fifth of the steps, then falls to zero, both in a straight line.
    OneCycle,
    /// Starts at the learning rate and is multiplied by `factor` every `epochs` epochs.
    Steps { epochs: usize, factor: f64 },
}

/// The distribution that the weights are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// Burn's default: uniform, as wide as the inputs of a layer ask for
    Kaiming,
    /// Uniform, of magnitude 2.24 over the mean of a layer's inputs and outputs, as in the MXNet programs
    Xavier,
}

impl Initialization {
    pub fn initializer(self) -> Initializer {
        match self {
            Self::Kaiming => Initializer::KaimingUniform {
                gain: 1.0 / 3f64.sqrt(),
                fan_out_only: false,
            },
            // MXNet's bound is sqrt(2.24 / mean of fan in and fan out), Burn's is gain * sqrt(3 / that mean).
            Self::Xavier => Initializer::XavierUniform {
                gain: (2.24f64 / 3.0).sqrt(),
            },
        }
    }
}

impl Recipe {
    /// Says what is wrong with the recipe, by the name of the option.
    pub fn validate(&self) -> Result<()> {
        for (option, value) in [
            ("--epochs", self.epochs),
            ("--batch-size", self.batch_size),
            ("--feature-dim", self.feature_dim),
            ("--train-size", self.sizes.train.unwrap_or(1)),
            ("--validation-size", self.sizes.validation),
            ("--test-size", self.sizes.test.unwrap_or(1)),
        ] {
            ensure!(value > 0, "{option} is 0, but must be at least 1");
        }
        for (option, value) in [("--lambda", self.lambda), ("--alpha", self.alpha)] {
            ensure!(
                value.is_finite() && value >= 0.0,
                "{option} is {value}, but must be a finite number from 0 on"
            );
        }
        let warmup = self.lambda_warmup;
        ensure!(
            (0.0..=1.0).contains(&warmup),
            "--lambda-warmup is {warmup}, but must be from 0 to 1"
        );
        if let Some(num_classes) = self.num_classes {
            ensure!(
                (2..=256).contains(&num_classes),
                "--num-classes is {num_classes}, but must be from 2 to 256"
            );
        }
        let shift = self.shift;
        ensure!(
            shift <= MAX_SHIFT,
            "--shift is {shift}, but must be at most {MAX_SHIFT}"
        );
        let rate = self.learning_rate;
        ensure!(
            rate > 0.0 && rate <= 1.0,
            "--lr is {rate}, but must be above 0 and at most 1"
        );
        let decay = self.weight_decay;
        ensure!(
            (0.0..1.0).contains(&decay),
            "--weight-decay is {decay}, but must be from 0 to below 1"
        );
        if let Rate::Steps { epochs, factor } = self.rate {
            ensure!(epochs > 0, "--lr-step is 0, but must be at least 1");
            ensure!(
                factor > 0.0 && factor <= 1.0,
                "--lr-factor is {factor}, but must be above 0 and at most 1"
            );
        }
        Ok(())
    }

    /// The center loss that takes part, if one does.
    pub fn center_loss(
        &self,
        num_classes: usize,
        steps_per_epoch: usize,
    ) -> Option<CenterLossConfig> {
        let config = CenterLossConfig::new(num_classes, self.feature_dim)
            .with_lambda(self.lambda)
            .with_class_balance(self.class_balance);
        let config = match self.initialization {
            Initialization::Kaiming => config,
            Initialization::Xavier => config.with_initializer(self.initialization.initializer()),
        };
        match self.loss {
            Loss::Softmax => None,
            Loss::Joint => Some(
                config
                    .with_update_rule(self.library_rule(steps_per_epoch))
                    .with_lambda_schedule(self.lambda_schedule(steps_per_epoch)),
            ),
            Loss::Center => Some(config.with_update_rule(UpdateRule::Frozen)),
        }
    }

    fn library_rule(&self, steps_per_epoch: usize) -> UpdateRule {
        let direct = match self.update_rule {
            CenterRule::Paper => DirectRule::paper(),
            CenterRule::Mean => DirectRule::mean(),
            CenterRule::Sum => DirectRule::sum(),
            CenterRule::Gradient => return UpdateRule::Gradient,
            CenterRule::Frozen => return UpdateRule::Frozen,
        };
        direct
            .with_alpha(self.alpha)
            .with_alpha_schedule(self.alpha_schedule(steps_per_epoch))
            .into()
    }

    fn alpha_schedule(&self, steps_per_epoch: usize) -> Schedule {
        match self.rate {
            Rate::OneCycle => Schedule::Constant,
            Rate::Steps { epochs, factor } => Schedule::StepDecay {
                every: (epochs * steps_per_epoch) as u64,
                factor,
            },
        }
    }

    fn lambda_schedule(&self, steps_per_epoch: usize) -> Schedule {
        let steps = (self.epochs * steps_per_epoch) as f64 * self.lambda_warmup;
        match steps as u64 {
            0 => Schedule::Constant,
            steps => Schedule::LinearWarmup { steps },
        }
    }

    pub fn optimizer(&self) -> ModuleOptimizer {
        let decay = (self.weight_decay > 0.0).then_some(WeightDecayConfig {
            penalty: self.weight_decay as f32,
        });
        let optimizer = match self.optimizer {
            Optimizer::Adam => AdamConfig::new().with_weight_decay(decay).init(),
            Optimizer::Sgd => SgdConfig::new().with_weight_decay(decay).init(),
        };
        // Only the gradient rule gives the centers gradients; weight decay must not pull them to the origin.
        let centers = CenterLoss::centers_group(CENTER_LOSS);
        optimizer.with_group(centers, SgdConfig::new().build(), None)
    }

    pub fn scheduler(&self, steps_per_epoch: usize) -> Result<ModuleLrScheduler> {
        let network = self.rate_schedule(self.learning_rate, steps_per_epoch);
        let centers = match self.rate {
            Rate::OneCycle => LrSchedulerConfig::Constant(self.alpha),
            Rate::Steps { .. } => self.rate_schedule(self.alpha, steps_per_epoch),
        };
        ModuleLrSchedulerConfig::new(network)
            .with_group(CenterLoss::centers_group(CENTER_LOSS), centers)
            .init()
            .map_err(|message| anyhow!("--lr: {message}"))
    }

    fn rate_schedule(&self, peak: f64, steps_per_epoch: usize) -> LrSchedulerConfig {
        match self.rate {
            Rate::OneCycle => {
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
            Rate::Steps { epochs, factor } => LrSchedulerConfig::Step(
                StepLrSchedulerConfig::new(peak, epochs * steps_per_epoch).with_gamma(factor),
            ),
        }
    }
}
