//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::data::Source;
use crate::device::DeviceChoice;
use crate::recipe::{Changes, Loss, Preset, rules};
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
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out_dir", "Recipe"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub recipe: Changes,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train with one loss
    Train(TrainArgs),
    /// Evaluate a training run on the test samples
    Evaluate(EvaluateArgs),
    /// The standard protocol for open sets: leave random classes out of training, then tell them from the others
    OpenSet(OpenSetArgs),
    /// Train with several losses, for one or several seeds, and show them side by side
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
        conflicts_with_all = ["loss", "from", "preset", "out_dir", "Recipe"]
    )]
    pub resume: Option<PathBuf>,
    /// The recipe to start from
    #[arg(long, value_enum, default_value = "full")]
    pub preset: Preset,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub recipe: Changes,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct CompareArgs {
    /// The recipes to start from
    #[arg(long, value_enum, default_value = "full")]
    pub preset: Preset,
    /// The losses to compare in a gallery, with a comma between: the same network, with batch normalisation behind it for
    /// losses over angles, and the same number of images; center goes on from joint [default: softmax,joint,center, each with its own recipe, beside the
    /// published figures]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LOSSES")]
    pub losses: Vec<Loss>,
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
        conflicts_with_all = ["preset", "losses", "seeds", "select", "out_dir", "Recipe"]
    )]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub recipe: Changes,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct OpenSetArgs {
    /// The losses, with a comma between; center goes on from joint
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LOSSES", default_values = ["softmax", "joint", "center"])]
    pub losses: Vec<Loss>,
    /// The numbers of features, with a comma between
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", default_values = ["2", "32"], value_parser = rules::count)]
    pub feature_dims: Vec<usize>,
    /// The number of random splits of the classes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub splits: u64,
    /// The number of classes that are trained
    #[arg(long, value_name = "N", default_value = "6", value_parser = rules::classes)]
    pub known: usize,
    /// The recipes to start from
    #[arg(long, value_enum, default_value = "quick")]
    pub preset: Preset,
    /// Go on with the job that this directory is of
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["losses", "feature_dims", "splits", "known", "preset", "out_dir", "Recipe"]
    )]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub recipe: Changes,
}

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The directory of a run of `train`, or of one part of a comparison
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// What is measured
    #[arg(long, value_enum, default_value = "class")]
    pub method: Method,
    /// The number of neighbors: that vote, that precision and recall look at, or of which the last one tells known from
    /// unknown [default: 5]
    #[arg(long, value_name = "N", value_parser = rules::count)]
    pub k: Option<usize>,
    /// A directory whose test files are the unknown samples of `--method open-set` [default: the test samples of the
    /// classes that `--unknown-classes` left out of training]
    #[arg(long, value_name = "DIR")]
    pub unknown_data: Option<PathBuf>,
    /// Which epoch of the run is evaluated
    #[arg(long, value_enum, default_value = "last")]
    pub select: Select,
    #[command(flatten)]
    pub data: DataArgs,
    /// The device to compute on
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Accuracy of the class layer, or of the largest cosine for losses over angles
    Class,
    /// Accuracy of the nearest of the centers
    NearestCenter,
    /// Accuracy of a vote of the nearest training samples
    Knn,
    /// Whether the nearest test samples of a test sample are of its class
    Retrieval,
    /// Whether two test samples are of one class; writes a ROC curve
    Verification,
    /// Whether a sample is of a class that was trained; writes ROC curves
    OpenSet,
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
