//! Recipes by name.

use burn_center_loss::ClassBalance;
use clap::ValueEnum;

use super::loss::Loss;
use super::options::{CenterRule, Recipe};

/// What `--preset` can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A minute or two for three losses on a CPU: a part of the data, with images of half the size
    Quick,
    /// All of the data, with random shifts
    Full,
}

impl Preset {
    pub fn recipe(self, loss: Loss) -> Recipe {
        let quick = quick(loss);
        match self {
            Self::Quick => quick,
            Self::Full => Recipe {
                epochs: if loss == Loss::Center { 1 } else { 8 },
                batch_size: 64,
                shrink: 1,
                shift: 2,
                train_size: None,
                validation_size: 5_000,
                test_size: None,
                ..quick
            },
        }
    }
}

fn quick(loss: Loss) -> Recipe {
    let (epochs, train_size, lr) = match loss {
        Loss::Center => (1, 5_000, 5e-4),
        // Proxies start anywhere, and features cannot pass each other through the origin: a larger rate gets them around.
        Loss::ProxyAnchor => (3, 16_000, 1e-2),
        _ => (3, 16_000, 3e-3),
    };
    // For two features and ten classes, which are 36 degrees apart then: a margin that is usual for hundreds of features
    // asks for more than there is.
    let (scale, margin) = match loss {
        Loss::Softmax | Loss::Joint | Loss::Center => (1.0, 0.0),
        Loss::DistanceSoftmax => (0.5, 0.0),
        Loss::NormalizedSoftmax => (8.0, 0.0),
        Loss::Cosface | Loss::Adaface => (24.0, 0.1),
        Loss::Arcface => (28.0, 0.1),
        Loss::Sphereface => (2.0, 2.0),
        Loss::ProxyAnchor => (8.0, 0.1),
    };
    let starts_as_softmax = loss.has("softmax_start");
    Recipe {
        loss,
        epochs,
        batch_size: 32,
        lr,
        // The few numbers of a class layer do not get where the classes go at the rate of the network. Directions, which
        // start evenly, had better stay.
        class_rate: if loss.is_angular() { 1.0 } else { 10.0 },
        // The gradient of an angle is one by the length of the feature: the few near the origin would decide everything.
        clip: starts_as_softmax.then_some(0.1),
        lambda: 0.1,
        lambda_warmup: 0.5,
        alpha: 0.5,
        update_rule: CenterRule::Paper,
        class_balance: ClassBalance::None,
        scale,
        margin,
        margin_warmup: 0.5,
        softmax_start: 0.5,
        feature_dim: 2,
        // With a bias, nearest center stays behind the class layer.
        bias: false,
        // At first all images have features of nearly the same direction. Over angles alone a network hardly gets away
        // from there.
        feature_norm: loss.is_angular() && !starts_as_softmax,
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
