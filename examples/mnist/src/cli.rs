//! The command line.

use std::io::Error as IoError;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::data::{BUNDLED, Source};
use crate::device::DeviceChoice;
use crate::interrupt;
use crate::recipe::{Changes, Loss, Preset, rules};
use crate::terminal::complaint;

/// What a job that goes on may be told anew.
const BESIDE_RESUME: [&str; 6] = [
    "resume",
    "device",
    "data_dir",
    "split",
    "transpose",
    "epochs",
];

/// LeNet++ on MNIST: what center loss does to the features of a network.
///
/// Without a command, trains with softmax, with softmax and center loss, and with center loss alone, on a part of the
/// data, which takes minutes on a CPU; compares them, draws the features of every epoch, and says where all this is.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  mnist\n  mnist --shrink 2 --out-dir /tmp/first\n  mnist train --help"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub job: JobArgs,
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
#[command(
    after_help = "Examples:\n  mnist train --loss joint --preset quick\n  mnist train --loss center --from mnist-runs/joint-1 --preset quick\n  mnist train --resume mnist-runs/joint-1 --epochs 5"
)]
pub struct TrainArgs {
    /// What is minimized
    #[arg(long, value_enum, required_unless_present = "resume")]
    pub loss: Option<Loss>,
    /// The directory of a finished run with `--loss joint` that `--loss center` starts from
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// The recipe to start from
    #[arg(long, value_enum, default_value = "full")]
    pub preset: Preset,
    #[command(flatten)]
    pub job: JobArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mnist compare --preset quick --seeds 3\n  mnist compare --preset quick --losses softmax,joint,arcface --shrink 2"
)]
pub struct CompareArgs {
    /// The recipes to start from
    #[arg(long, value_enum, default_value = "full")]
    pub preset: Preset,
    /// The losses, with a comma between: the same network and the same number of images; center goes on from joint
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LOSSES", default_values = ["softmax", "joint", "center"])]
    pub losses: Vec<Loss>,
    /// The number of seeds, from `--seed` on
    #[arg(long, value_name = "N", default_value = "1", value_parser = rules::count)]
    pub seeds: usize,
    #[command(flatten)]
    pub job: JobArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mnist open-set --feature-dims 2 --shrink 2 --train-size 4000 --epochs 2"
)]
pub struct OpenSetArgs {
    /// The losses, with a comma between; center goes on from joint
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LOSSES", default_values = ["softmax", "joint", "center"])]
    pub losses: Vec<Loss>,
    /// The numbers of features, with a comma between
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", default_values = ["2", "32"], value_parser = rules::count)]
    pub feature_dims: Vec<usize>,
    /// The number of random splits of the classes
    #[arg(long, value_name = "N", default_value = "5", value_parser = rules::count)]
    pub splits: usize,
    /// The number of classes that are trained
    #[arg(long, value_name = "N", default_value = "6", value_parser = rules::classes)]
    pub known: usize,
    /// The recipes to start from
    #[arg(long, value_enum, default_value = "quick")]
    pub preset: Preset,
    #[command(flatten)]
    pub job: JobArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mnist evaluate --run mnist-runs/joint-1 --method knn\n  mnist evaluate --run mnist-runs/quick-1/joint-seed-1 --method verification"
)]
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
    /// A directory whose test files are the unknown samples of `--method open-set`; `--split` and `--transpose` are about
    /// them then [default: the test samples of the classes that `--unknown-classes` left out of training]
    #[arg(long, value_name = "DIR")]
    pub unknown_data: Option<PathBuf>,
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
    /// Whether two test samples are of one class; adds a ROC curve to the report
    Verification,
    /// Whether a sample is of a class that was trained; adds ROC curves to the report
    OpenSet,
}

/// Where a job begins or goes on, and what is changed about its recipes.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Go on with the run or the job that this directory is of, with its own recipe, from its last checkpoints
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// A new or empty directory for all that is written [default: the next free one below mnist-runs]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
    /// The device to compute on
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub recipe: Changes,
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
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    transpose: Option<bool>,
}

/// Reads the command line, or says what is wrong with it, or the help, and ends the program.
pub fn parse() -> Cli {
    let matches = prepared(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// `command` and its subcommands, which take negative numbers for what they are, and with `--resume` nothing that is
/// recorded.
fn prepared(command: clap::Command) -> clap::Command {
    let resumes = command.get_arguments().any(|arg| arg.get_id() == "resume");
    command
        .allow_negative_numbers(true)
        .mut_args(
            |arg| match resumes && !BESIDE_RESUME.contains(&arg.get_id().as_str()) {
                true => arg.conflicts_with("resume"),
                false => arg,
            },
        )
        .mut_subcommands(prepared)
}

impl DataArgs {
    /// The data of a new run.
    pub fn source(&self) -> Result<Source> {
        self.moved(&self.at(Path::new(BUNDLED)))
    }

    /// What was given, and the rest as in `recorded`.
    pub fn in_place_of(&self, recorded: &Source) -> Result<Source> {
        let given = self.at(&recorded.directory);
        self.moved(&Source {
            split: given.split.or(recorded.split.clone()),
            transpose: given.transpose.or(recorded.transpose),
            ..given
        })
    }

    /// `source` in the directory that was given, by a path that every working directory knows.
    pub fn moved(&self, source: &Source) -> Result<Source> {
        let directory = self.data_dir.as_ref().unwrap_or(&source.directory);
        let absolute = directory.canonicalize();
        Ok(Source {
            directory: absolute.with_context(|| format!("--data-dir {}", directory.display()))?,
            ..source.clone()
        })
    }

    /// The data in `directory`, read as was asked for.
    pub fn at(&self, directory: &Path) -> Source {
        Source {
            directory: directory.to_owned(),
            split: self.split.clone(),
            transpose: self.transpose,
        }
    }
}

impl JobArgs {
    /// Adds to an error from outside, Ctrl-C or a file, how the run of `command` in `directory` goes on.
    pub fn with_way_on(&self, error: Error, command: &str, directory: &Path) -> Error {
        let from_files = error
            .chain()
            .any(|cause| cause.is::<IoError>() || cause.to_string().contains("os error"));
        let once = match interrupt::pressed() {
            true => "; ",
            false if from_files => "\nOnce this is put right, go on: ",
            false => return error,
        };
        let (complaint, place) = (complaint(&error), directory.display());
        let command = self.resume_command(command, directory);
        anyhow!(
            "{complaint}{once}the state after the last whole epoch is in {place}; this command goes on from there:\n\
             {command}"
        )
    }

    /// The command that goes on with the run of `command` in `directory`, for a shell.
    fn resume_command(&self, command: &str, directory: &Path) -> String {
        let mut words = Vec::from_iter(command.split(' ').map(str::to_owned));
        words[0] = std::env::args().next().unwrap_or_default();
        words.extend(["--resume".to_owned(), directory.display().to_string()]);
        if self.device != DeviceChoice::Auto {
            words.extend(["--device".to_owned(), self.device.option()]);
        }
        if let Some(data) = &self.data.data_dir {
            words.extend(["--data-dir".to_owned(), data.display().to_string()]);
        }
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        prepared(Cli::command()).debug_assert();
    }
}
