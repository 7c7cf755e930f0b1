//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use burn_center_loss::ClassBalance;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::data::Source;
use crate::device::DeviceChoice;
use crate::presets::Preset;
use crate::recipe::{CenterRule, Initialization, Loss, Optimizer, Rate, Recipe};
use crate::results::Select;

/// LeNet++ on MNIST: what center loss does to the features of a network.
///
/// Without a command, trains with softmax, with softmax and center loss, and with center loss alone, on a part of the
/// data, which takes minutes on a CPU; compares them, draws the features of every epoch, and says where all this is.
#[derive(Debug, Parser)]
#[command(
    version,
    allow_negative_numbers = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Go on with the main job that this directory is of
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out_dir", "RecipeArgs"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train with one loss
    Train(TrainArgs),
    /// Evaluate a training run on the test samples
    Evaluate(EvaluateArgs),
    /// Train with all losses, for one or several seeds, and compare them with the published figures
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct TrainArgs {
    /// What is minimized
    #[arg(long, value_enum, required_unless_present = "resume")]
    pub loss: Option<Loss>,
    /// The directory of a finished run with `--loss joint` that `--loss center` starts from
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Go on with the run that this directory is of, from its last checkpoint
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["loss", "from", "preset", "out_dir", "RecipeArgs"]
    )]
    pub resume: Option<PathBuf>,
    /// The recipe to start from
    #[arg(long, value_enum, default_value = "full")]
    pub preset: Preset,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct CompareArgs {
    /// The recipes to start from
    #[arg(long, value_enum, default_value = "full")]
    pub preset: Preset,
    /// The number of seeds, from `--seed` on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Which epoch of each run is reported; never the one that is best on the test samples
    #[arg(long, value_enum, default_value = "last")]
    pub select: Select,
    /// Go on with the comparison that this directory is of
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["preset", "seeds", "select", "out_dir", "RecipeArgs"]
    )]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The directory of a run of `train`, or of one part of a comparison
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// How features become classes
    #[arg(long, value_enum, default_value = "class")]
    pub method: Method,
    /// The number of neighbors that vote [default: 5]
    #[arg(long, value_name = "N")]
    pub k: Option<usize>,
    /// Which epoch of the run is evaluated
    #[arg(long, value_enum, default_value = "last")]
    pub select: Select,
    #[command(flatten)]
    pub data: DataArgs,
    /// The device to compute on
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
}

/// How features become classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// By the class layer
    Class,
    /// By the nearest of the centers
    NearestCenter,
    /// By a vote of the nearest training samples
    Knn,
}

/// Where a run reads, computes and writes.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// A new or empty directory for all that is written [default: the next free one below mnist-runs]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
    /// The device to compute on
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Which data is read.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// A directory with the four IDX files of MNIST, Fashion-MNIST, KMNIST or EMNIST, as they are distributed, gzipped
    /// or not [default: MNIST, which comes with the program]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Which files, if the directory has several splits: `letters` for emnist-letters-train-images-idx3-ubyte and so on
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Exchange rows and columns of the images, or not [default: for files of EMNIST, which are stored so]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    transpose: Option<bool>,
}

impl DataArgs {
    /// The data of a new run.
    pub fn source(&self) -> Source {
        self.in_place_of(&Source {
            directory: concat!(env!("CARGO_MANIFEST_DIR"), "/data").into(),
            split: None,
            transpose: None,
        })
    }

    /// What was given, and the rest as in `recorded`.
    pub fn in_place_of(&self, recorded: &Source) -> Source {
        Source {
            directory: self
                .data_dir
                .as_ref()
                .unwrap_or(&recorded.directory)
                .clone(),
            split: self.split.as_ref().or(recorded.split.as_ref()).cloned(),
            transpose: self.transpose.or(recorded.transpose),
        }
    }

    /// What was given, as words of a command line.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(directory) = &self.data_dir {
            words.extend(["--data-dir".to_owned(), directory.display().to_string()]);
        }
        if let Some(split) = &self.split {
            words.push(format!("--split={split}"));
        }
        words.extend(self.transpose.map(|given| format!("--transpose={given}")));
        words
    }
}

impl PlaceArgs {
    /// The command that goes on with the run of `subcommand` in `directory` as this one did, for a shell.
    pub fn resume_command(&self, subcommand: Option<&str>, directory: &Path) -> String {
        let mut words: Vec<String> = std::env::args().take(1).collect();
        words.extend(subcommand.map(str::to_owned));
        words.extend(["--resume".to_owned(), directory.display().to_string()]);
        words.extend(self.data.words());
        if self.device != DeviceChoice::Auto {
            words.extend(["--device".to_owned(), self.device.option()]);
        }
        let quoted = words
            .iter()
            .map(|word| shlex::try_quote(word).unwrap_or(word.into()));
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// Departures from a recipe.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// How often training goes through the samples
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// The number of samples of a training step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// What changes the network
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// The learning rate, or its peak where it rises and falls
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Lower the learning rate, and alpha with it, every so many epochs, in place of letting it rise and fall
    #[arg(long, value_name = "EPOCHS")]
    lr_step: Option<usize>,
    /// What `--lr-step` multiplies the learning rate by [default: 0.1]
    #[arg(long, value_name = "FACTOR")]
    lr_factor: Option<f64>,
    /// How strongly the weights of the network are pulled to zero
    #[arg(long, value_name = "PENALTY")]
    weight_decay: Option<f64>,
    /// The weight of the center loss
    #[arg(long, value_name = "WEIGHT")]
    lambda: Option<f64>,
    /// The part of all steps, from 0 to 1, in which the weight of the center loss rises, beside softmax
    #[arg(long, value_name = "PART")]
    lambda_warmup: Option<f64>,
    /// The rate of the centers
    #[arg(long, value_name = "RATE")]
    alpha: Option<f64>,
    /// How the centers follow the features, beside softmax
    #[arg(long, value_enum)]
    update_rule: Option<CenterRule>,
    /// Whether the center loss of a sample is divided by the number of samples of its class in the batch
    #[arg(long, value_parser = class_balance())]
    class_balance: Option<ClassBalance>,
    /// The number of features; two can be drawn as they are, more are drawn along their principal components
    #[arg(long, value_name = "N")]
    feature_dim: Option<usize>,
    /// The distribution that the initial weights are drawn from
    #[arg(long, value_enum)]
    initialization: Option<Initialization>,
    /// Leave the bias out of the feature layer and the class layer
    #[arg(long, conflicts_with = "bias")]
    no_bias: bool,
    /// Give the feature layer and the class layer a bias
    #[arg(long)]
    bias: bool,
    /// The number of classes, labelled from 0 on, with samples or without [default: a class for each label that occurs]
    #[arg(long, value_name = "N")]
    num_classes: Option<usize>,
    /// Move every training image at random by up to so many pixels in each direction
    #[arg(long, value_name = "PIXELS")]
    shift: Option<usize>,
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

const CLASS_BALANCES: [(&str, ClassBalance); 2] = [
    ("none", ClassBalance::None),
    ("histogram", ClassBalance::Histogram),
];

/// The library's choices by name. The library knows nothing of command lines.
fn class_balance() -> impl TypedValueParser<Value = ClassBalance> {
    PossibleValuesParser::new(CLASS_BALANCES.map(|(name, _)| name)).map(|given| {
        let choice = CLASS_BALANCES.iter().find(|(name, _)| *name == given);
        choice.expect("the parser knows the same names").1
    })
}

impl RecipeArgs {
    /// The first option given that changes nothing about training with `loss`.
    pub fn without_effect(&self, loss: Loss) -> Option<&'static str> {
        let of_the_loss = [
            ("--lambda", self.lambda.is_some()),
            ("--class-balance", self.class_balance.is_some()),
        ];
        let of_moving_centers = [
            ("--lambda-warmup", self.lambda_warmup.is_some()),
            ("--alpha", self.alpha.is_some()),
            ("--update-rule", self.update_rule.is_some()),
        ];
        let idle: Vec<_> = match loss {
            Loss::Softmax => of_the_loss.into_iter().chain(of_moving_centers).collect(),
            Loss::Joint => Vec::new(),
            Loss::Center => of_moving_centers.into(),
        };
        idle.into_iter()
            .find_map(|(option, given)| given.then_some(option))
    }

    /// Puts what was given in place of what `recipe` says, and says what is wrong with the outcome.
    pub fn apply(&self, recipe: &mut Recipe) -> Result<()> {
        fn replace<T: Copy>(value: &mut T, given: Option<T>) {
            *value = given.unwrap_or(*value);
        }
        replace(&mut recipe.epochs, self.epochs);
        replace(&mut recipe.batch_size, self.batch_size);
        replace(&mut recipe.optimizer, self.optimizer);
        replace(&mut recipe.learning_rate, self.lr);
        if let Rate::Steps { epochs, factor } = &mut recipe.rate {
            replace(epochs, self.lr_step);
            replace(factor, self.lr_factor);
        } else if let Some(epochs) = self.lr_step {
            let factor = self.lr_factor.unwrap_or(0.1);
            recipe.rate = Rate::Steps { epochs, factor };
        } else {
            ensure!(
                self.lr_factor.is_none(),
                "--lr-factor: has no effect without --lr-step"
            );
        }
        replace(&mut recipe.weight_decay, self.weight_decay);
        replace(&mut recipe.lambda, self.lambda);
        replace(&mut recipe.lambda_warmup, self.lambda_warmup);
        replace(&mut recipe.alpha, self.alpha);
        replace(&mut recipe.update_rule, self.update_rule);
        replace(&mut recipe.class_balance, self.class_balance);
        replace(&mut recipe.feature_dim, self.feature_dim);
        replace(&mut recipe.initialization, self.initialization);
        recipe.bias = (recipe.bias || self.bias) && !self.no_bias;
        recipe.num_classes = self.num_classes.or(recipe.num_classes);
        replace(&mut recipe.shift, self.shift);
        recipe.sizes.train = self.train_size.or(recipe.sizes.train);
        replace(&mut recipe.sizes.validation, self.validation_size);
        recipe.sizes.test = self.test_size.or(recipe.sizes.test);
        replace(&mut recipe.seed, self.seed);
        recipe.validate()
    }
}
