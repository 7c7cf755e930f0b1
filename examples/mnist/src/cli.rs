//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args, Parser};

use crate::device::DeviceChoice;
use crate::recipe::{Optimizer, Recipe};

/// LeNet++ on MNIST: what center loss does to the features of a network.
///
/// Trains and evaluates within minutes on a CPU, draws the features of every epoch, and says where its report is.
#[derive(Debug, Parser)]
#[command(version, allow_negative_numbers = true)]
pub struct Cli {
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// Where a run reads, computes and writes.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// A directory with the four IDX files of MNIST, Fashion-MNIST, KMNIST or EMNIST, gzipped or not [default: MNIST,
    /// which comes with the program]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A new or empty directory for all that is written [default: the next free one below mnist-runs]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
    /// The device to compute on
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
}

impl PlaceArgs {
    pub fn data_dir(&self) -> &Path {
        let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data"));
        self.data_dir.as_deref().unwrap_or(shipped)
    }
}

/// Departures from a recipe.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// The learning rate, or its peak where it rises and falls
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    #[arg(long, value_name = "PENALTY")]
    weight_decay: Option<f64>,
    /// The number of features; two can be drawn as they are, more are drawn along their principal components
    #[arg(long, value_name = "N")]
    feature_dim: Option<usize>,
    /// Leave the bias out of the feature layer and the class layer
    #[arg(long, conflicts_with = "bias")]
    no_bias: bool,
    /// Give the feature layer and the class layer a bias
    #[arg(long)]
    bias: bool,
    /// The number of classes [default: the largest training label and one]
    #[arg(long, value_name = "N")]
    num_classes: Option<usize>,
    /// Train with at most this many samples
    #[arg(long, value_name = "N")]
    train_size: Option<usize>,
    /// Set at most this many of the training files' samples apart for validation
    #[arg(long, value_name = "N")]
    validation_size: Option<usize>,
    /// Test with at most this many samples
    #[arg(long, value_name = "N")]
    test_size: Option<usize>,
    /// Decides the initial weights and the order of the samples
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl RecipeArgs {
    /// Puts what was given in place of what `recipe` says.
    pub fn apply(&self, recipe: &mut Recipe) {
        fn replace<T: Copy>(value: &mut T, given: Option<T>) {
            *value = given.unwrap_or(*value);
        }
        replace(&mut recipe.epochs, self.epochs);
        replace(&mut recipe.batch_size, self.batch_size);
        replace(&mut recipe.optimizer, self.optimizer);
        replace(&mut recipe.learning_rate, self.lr);
        replace(&mut recipe.weight_decay, self.weight_decay);
        replace(&mut recipe.feature_dim, self.feature_dim);
        recipe.bias = (recipe.bias || self.bias) && !self.no_bias;
        recipe.num_classes = self.num_classes.or(recipe.num_classes);
        replace(&mut recipe.sizes.train, self.train_size);
        replace(&mut recipe.sizes.validation, self.validation_size);
        replace(&mut recipe.sizes.test, self.test_size);
        replace(&mut recipe.seed, self.seed);
    }
}
