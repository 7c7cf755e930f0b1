//! The options of a recipe.

use burn_center_loss::ClassBalance;
use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use super::rules;

/// Configuration of one training run, each field with its option of the command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Args)]
#[command(next_help_heading = "Recipe")]
pub struct Recipe {
    #[arg(skip)]
    pub loss: Loss,
    /// How often training goes through the samples
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub epochs: usize,
    /// The number of samples of a training step
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub batch_size: usize,
    /// What changes the network
    #[arg(long, value_enum)]
    pub optimizer: Optimizer,
    /// The learning rate, or its peak where it rises and falls
    #[arg(long, value_name = "RATE", value_parser = rules::rate)]
    pub lr: f64,
    /// What the learning rate is multiplied by for the vectors of the classes: those of the class layer, centers under
    /// distance-softmax, and proxies
    #[arg(long, value_name = "FACTOR", value_parser = rules::positive)]
    #[serde(default = "one")]
    pub class_rate: f64,
    /// Lower the learning rate, and alpha with it, every so many epochs; otherwise it rises for a fifth of the steps and
    /// then falls to zero
    #[arg(long, value_name = "EPOCHS", value_parser = rules::count)]
    pub lr_step: Option<usize>,
    /// What `--lr-step` multiplies the learning rate by
    #[arg(long, value_name = "FACTOR", value_parser = rules::rate)]
    pub lr_factor: f64,
    /// Shorten the gradient of a layer's weights to this length where it is longer; that of the loss over angles grows
    /// without bound as a feature comes near the origin
    #[arg(long, value_name = "LENGTH", value_parser = rules::positive)]
    #[serde(default)]
    pub clip: Option<f64>,
    /// How strongly the weights of the network are pulled to zero
    #[arg(long, value_name = "PENALTY", value_parser = rules::penalty)]
    pub weight_decay: f64,
    /// The weight of the center loss
    #[arg(long, value_name = "WEIGHT", value_parser = rules::not_negative)]
    pub lambda: f64,
    /// The part of all steps, from 0 to 1, in which the weight of the center loss rises, beside softmax
    #[arg(long, value_name = "PART", value_parser = rules::part)]
    pub lambda_warmup: f64,
    /// The rate of the centers beside softmax: of a direct rule, or of their optimizer under the gradient rule
    #[arg(long, value_name = "RATE", value_parser = rules::not_negative)]
    pub alpha: f64,
    /// How the centers follow the features, beside softmax
    #[arg(long, value_enum)]
    pub update_rule: CenterRule,
    /// Whether the loss of a sample is divided by the number of samples of its class in the batch; the softmax beside
    /// the center loss is not
    #[arg(long, value_parser = rules::class_balance())]
    pub class_balance: ClassBalance,
    /// What cosines are multiplied by
    #[arg(long, value_name = "SCALE", value_parser = rules::positive)]
    pub scale: Option<f64>,
    /// How much more is asked of the target class: a part of the cosine for cosface and proxy-anchor, an angle in radians
    /// for arcface, a factor for sphereface, the first two together for adaface
    #[arg(long, value_name = "MARGIN", value_parser = rules::not_negative)]
    pub margin: Option<f64>,
    /// The part of all steps, from 0 to 1, in which the margin rises
    #[arg(long, value_name = "PART", value_parser = rules::part)]
    pub margin_warmup: Option<f64>,
    /// The part of all steps, from 0 to 1, in which a loss over angles is at first softmax over the same class vectors with
    /// their lengths; scale and margin begin behind it
    #[arg(long, value_name = "PART", value_parser = rules::part)]
    #[serde(default)]
    pub softmax_start: f64,
    /// The number of features; two can be drawn as they are, more are drawn along their principal components
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub feature_dim: usize,
    /// The distribution that the initial weights are drawn from
    #[arg(long, value_enum)]
    pub initialization: Initialization,
    /// Whether the feature layer and the class layer have a bias
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub bias: bool,
    /// Whether the features are brought to mean 0 and variance 1 by batch normalisation
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub feature_norm: bool,
    /// The number of classes, labelled from 0 on, with samples or without [default: a class for each label that occurs]
    #[arg(long, value_name = "N", value_parser = rules::classes)]
    pub num_classes: Option<usize>,
    /// The labels of classes to leave out of training, with a comma between
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    pub unknown_classes: Vec<u8>,
    /// Make the images smaller, as far as 8 pixels a side are left: each pixel is the mean of a square of so many pixels a
    /// side; 2 is about four times as fast
    #[arg(long, value_name = "PIXELS", value_parser = rules::side)]
    pub shrink: usize,
    /// Move every training image at random by up to so many pixels in each direction
    #[arg(long, value_name = "PIXELS", value_parser = rules::pixels)]
    pub shift: usize,
    /// Train with at most this many samples
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub train_size: Option<usize>,
    /// Set at most this many of the training files' samples apart for validation
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub validation_size: usize,
    /// Test with at most this many samples
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub test_size: Option<usize>,
    /// Decides the initial weights and the order of the samples
    #[arg(long, value_name = "N")]
    pub seed: u64,
}

/// The class rate of runs that were recorded before there was one.
fn one() -> f64 {
    1.0
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

/// The distribution that the weights are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// Burn's default: uniform, as wide as the inputs of a layer ask for
    Kaiming,
    /// Uniform, as in the MXNet programs
    Xavier,
}
