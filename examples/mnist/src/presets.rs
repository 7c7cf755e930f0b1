//! Recipes by name.

use burn_center_loss::ClassBalance;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::SplitSizes;
use crate::recipe::{CenterRule, Initialization, Loss, Optimizer, Rate, Recipe};

/// What `--preset` can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Minutes on a CPU for all three losses: Adam and a part of the data
    Quick,
    /// Adam, all of the data, and random shifts
    Full,
    /// The recipe of wangx404/Center_Loss_in_MXNet: 30 epochs of SGD, lr 0.1, a tenth of it after 10 and 20 epochs
    Mxnet,
}

impl Preset {
    pub fn recipe(self, loss: Loss) -> Recipe {
        match self {
            Self::Quick => quick(loss),
            Self::Full => full(loss),
            Self::Mxnet => mxnet(loss),
        }
    }
}

fn quick(loss: Loss) -> Recipe {
    let (epochs, train, learning_rate) = match loss {
        Loss::Softmax => (2, 7_000, 3e-3),
        // Rotating the classes apart while they are pulled together takes longer.
        Loss::Joint => (3, 8_000, 3e-3),
        Loss::Center => (1, 2_500, 5e-4),
    };
    Recipe {
        loss,
        epochs,
        batch_size: 32,
        optimizer: Optimizer::Adam,
        learning_rate,
        rate: Rate::OneCycle,
        weight_decay: 0.0,
        feature_dim: 2,
        // With a bias, nearest center stays behind the class layer: README has the figures.
        bias: false,
        initialization: Initialization::Kaiming,
        lambda: 0.05,
        lambda_warmup: 0.5,
        alpha: 0.5,
        update_rule: CenterRule::Paper,
        class_balance: ClassBalance::None,
        num_classes: None,
        shift: 0,
        sizes: SplitSizes {
            train: Some(train),
            validation: 500,
            test: Some(2_000),
        },
        seed: 1,
    }
}

fn full(loss: Loss) -> Recipe {
    let (epochs, learning_rate) = match loss {
        Loss::Softmax => (4, 3e-3),
        Loss::Joint => (8, 3e-3),
        Loss::Center => (1, 5e-4),
    };
    Recipe {
        epochs,
        learning_rate,
        batch_size: 64,
        shift: 2,
        sizes: SplitSizes {
            train: None,
            validation: 5_000,
            test: None,
        },
        ..quick(loss)
    }
}

fn mxnet(loss: Loss) -> Recipe {
    Recipe {
        loss,
        epochs: 30,
        batch_size: 128,
        optimizer: Optimizer::Sgd,
        learning_rate: 0.1,
        rate: Rate::Steps {
            epochs: 10,
            factor: 0.1,
        },
        weight_decay: 1e-4,
        feature_dim: 2,
        bias: true,
        initialization: Initialization::Xavier,
        lambda: 1.0,
        lambda_warmup: 0.0,
        alpha: 0.5,
        update_rule: CenterRule::Gradient,
        class_balance: ClassBalance::Histogram,
        num_classes: None,
        shift: 0,
        sizes: SplitSizes {
            train: None,
            validation: 5_000,
            test: None,
        },
        seed: 1,
    }
}
