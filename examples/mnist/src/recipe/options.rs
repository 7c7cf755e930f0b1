//! The options of a recipe.

use burn_center_loss::ClassBalance;
use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use super::rules;

/// Configuration of one training run, each field with its option of the command line. What a loss does not have is
/// recorded and has no effect.
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
    /// The peak of Adam's learning rate, which rises for a fifth of the steps and then falls to zero
    #[arg(long, value_name = "RATE", value_parser = rules::rate)]
    pub lr: f64,
    /// What the learning rate is multiplied by for the vectors of the classes: those of the class layer, centers under
    /// distance-softmax, and proxies
    #[arg(long, value_name = "FACTOR", value_parser = rules::positive)]
    pub class_rate: f64,
    /// Shorten the gradient of a layer's weights to this length where it is longer; that of the loss over angles grows
    /// without bound as a feature comes near the origin
    #[arg(long, value_name = "LENGTH", value_parser = rules::positive)]
    pub clip: Option<f64>,
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
    pub scale: f64,
    /// How much more is asked of the target class: a part of the cosine for cosface and proxy-anchor, an angle in radians
    /// for arcface, a factor for sphereface, the first two together for adaface
    #[arg(long, value_name = "MARGIN", value_parser = rules::not_negative)]
    pub margin: f64,
    /// The part of all steps, from 0 to 1, in which the margin rises
    #[arg(long, value_name = "PART", value_parser = rules::part)]
    pub margin_warmup: f64,
    /// The part of all steps, from 0 to 1, in which a loss over angles is at first softmax over the same class vectors with
    /// their lengths; scale and margin begin behind it
    #[arg(long, value_name = "PART", value_parser = rules::part)]
    pub softmax_start: f64,
    /// The number of features; two can be drawn as they are, more are drawn along their principal components
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub feature_dim: usize,
    /// Whether the feature layer and the class layer have a bias
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub bias: bool,
    /// Whether the features are brought to mean 0 and variance 1 by batch normalisation
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub feature_norm: bool,
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
