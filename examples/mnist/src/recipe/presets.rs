//! Recipes by name.

use burn_center_loss::{CenterLossConfig, ClassBalance};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use super::options::{CenterRule, Initialization, Optimizer, Recipe};

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

    /// The recipe with which a gallery is made: as many images for every loss as for a joint run, except for `center`,
    /// which goes on from one.
    pub fn gallery_recipe(self, loss: Loss) -> Recipe {
        let recipe = self.recipe(loss);
        if loss == Loss::Center {
            return recipe;
        }
        let joint = self.recipe(Loss::Joint);
        Recipe {
            epochs: joint.epochs,
            train_size: joint.train_size,
            ..recipe
        }
    }
}

fn quick(loss: Loss) -> Recipe {
    let (epochs, train_size, lr) = match loss {
        Loss::Softmax => (2, 14_000, 3e-3),
        Loss::Center => (1, 5_000, 5e-4),
        // Proxies start anywhere, and features cannot pass each other through the origin: a larger rate gets them around.
        Loss::ProxyAnchor => (3, 16_000, 1e-2),
        // Moving the classes apart while they are pulled together takes longer.
        _ => (3, 16_000, 3e-3),
    };
    let (scale, margin) = on_a_circle(loss);
    let starts_as_softmax = loss.has("softmax_start");
    Recipe {
        loss,
        epochs,
        batch_size: 32,
        optimizer: Optimizer::Adam,
        lr,
        lr_step: None,
        lr_factor: 0.1,
        // The few numbers of a class layer do not get where the classes go at the rate of the network. Directions, which
        // start evenly, had better stay.
        class_rate: if loss.is_angular() { 1.0 } else { 10.0 },
        // The gradient of an angle is one by the length of the feature: the few near the origin would decide everything.
        clip: starts_as_softmax.then_some(0.1),
        weight_decay: 0.0,
        feature_dim: 2,
        // With a bias, nearest center stays behind the class layer.
        bias: false,
        // At first all images have features of nearly the same direction. Over angles alone a network hardly gets away
        // from there.
        feature_norm: loss.is_angular() && !starts_as_softmax,
        initialization: Initialization::Kaiming,
        lambda: 0.1,
        lambda_warmup: 0.5,
        alpha: 0.5,
        update_rule: CenterRule::Paper,
        class_balance: ClassBalance::None,
        scale,
        margin,
        margin_warmup: loss.has("margin_warmup").then_some(0.5),
        softmax_start: if starts_as_softmax { 0.5 } else { 0.0 },
        num_classes: None,
        unknown_classes: Vec::new(),
        // Four times as many images in the same time, which is worth more than the pixels.
        shrink: 2,
        shift: 0,
        train_size: Some(train_size),
        validation_size: 500,
        test_size: Some(2_000),
        seed: 1,
    }
}

/// Scale and margin for two features and ten classes, which are 36 degrees apart then: a margin that is usual for
/// hundreds of features asks for more than there is.
fn on_a_circle(loss: Loss) -> (Option<f64>, Option<f64>) {
    match loss {
        Loss::Softmax | Loss::Joint | Loss::Center => (None, None),
        Loss::DistanceSoftmax => (Some(0.5), Some(0.0)),
        Loss::NormalizedSoftmax => (Some(8.0), None),
        Loss::CosFace => (Some(24.0), Some(0.1)),
        Loss::ArcFace => (Some(28.0), Some(0.1)),
        Loss::SphereFace => (Some(2.0), Some(2.0)),
        Loss::AdaFace => (Some(24.0), Some(0.1)),
        Loss::ProxyAnchor => (Some(8.0), Some(0.1)),
    }
}

fn full(loss: Loss) -> Recipe {
    let (epochs, lr) = match loss {
        Loss::Softmax => (4, 3e-3),
        Loss::Center => (1, 5e-4),
        Loss::ProxyAnchor => (8, 1e-2),
        _ => (8, 3e-3),
    };
    Recipe {
        epochs,
        lr,
        batch_size: 64,
        shrink: 1,
        shift: 2,
        train_size: None,
        validation_size: 5_000,
        test_size: None,
        ..quick(loss)
    }
}

fn mxnet(loss: Loss) -> Recipe {
    // The sizes change nothing about what is read from it.
    let library = CenterLossConfig::mxnet(1, 1);
    Recipe {
        epochs: 30,
        batch_size: 128,
        optimizer: Optimizer::Sgd,
        lr: 0.1,
        lr_step: Some(10),
        lr_factor: 0.1,
        class_rate: 1.0,
        clip: None,
        weight_decay: 1e-4,
        bias: true,
        initialization: Initialization::Xavier,
        lambda: library.lambda,
        lambda_warmup: 0.0,
        alpha: 0.5,
        update_rule: CenterRule::Gradient,
        class_balance: library.class_balance,
        shift: 0,
        ..full(loss)
    }
}
