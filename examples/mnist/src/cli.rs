//! The command line.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::data::{BUNDLED, Source};
use crate::device::DeviceChoice;
use crate::recipe::{Changes, Loss, Preset, rules};
use crate::results::Select;
use crate::terminal;

/// LeNet++ on MNIST: what center loss does to the features of a network.
///
/// Without a command, trains with softmax, with softmax and center loss, and with center loss alone, on a part of the
/// data, which takes minutes on a CPU; compares them, draws the features of every epoch, and says where all this is.
#[derive(Debug, Parser)]
#[command(
    version,
    allow_negative_numbers = true,
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
    allow_negative_numbers = true,
    after_help = "Examples:\n  mnist train --loss joint --preset quick\n  mnist train --loss center --from mnist-runs/joint-1 --preset quick\n  mnist train --resume mnist-runs/joint-1 --epochs 5"
)]
pub struct TrainArgs {
    /// What is minimized
    #[arg(
        long,
        value_enum,
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    pub loss: Option<Loss>,
    /// The directory of a finished run with `--loss joint` that `--loss center` starts from
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub from: Option<PathBuf>,
    /// The recipe to start from
    #[arg(long, value_enum, default_value = "full", conflicts_with = "resume")]
    pub preset: Preset,
    #[command(flatten)]
    pub job: JobArgs,
}

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  mnist compare --preset quick --seeds 3\n  mnist compare --preset quick --losses softmax,joint,arcface --shrink 2"
)]
pub struct CompareArgs {
    /// The recipes to start from
    #[arg(long, value_enum, default_value = "full", conflicts_with = "resume")]
    pub preset: Preset,
    /// The losses to compare in a gallery, with a comma between: the same network and the same number of
    /// images; center goes on from joint [default: softmax,joint,center, each with its own recipe, beside the published figures]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LOSSES",
        conflicts_with = "resume"
    )]
    pub losses: Vec<Loss>,
    /// The number of seeds, from `--seed` on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "resume")]
    pub seeds: u64,
    /// Which epoch of each run is reported; never the one that is best on the test samples
    #[arg(long, value_enum, default_value = "last", conflicts_with = "resume")]
    pub select: Select,
    #[command(flatten)]
    pub job: JobArgs,
}

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Example:\n  mnist open-set --feature-dims 2 --shrink 2 --train-size 4000 --epochs 2"
)]
pub struct OpenSetArgs {
    /// The losses, with a comma between; center goes on from joint
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LOSSES", default_values = ["softmax", "joint", "center"], conflicts_with = "resume")]
    pub losses: Vec<Loss>,
    /// The numbers of features, with a comma between
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", default_values = ["2", "32"], value_parser = rules::count, conflicts_with = "resume")]
    pub feature_dims: Vec<usize>,
    /// The number of random splits of the classes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "resume")]
    pub splits: u64,
    /// The number of classes that are trained
    #[arg(long, value_name = "N", default_value = "6", value_parser = rules::classes, conflicts_with = "resume")]
    pub known: usize,
    /// The recipes to start from
    #[arg(long, value_enum, default_value = "quick", conflicts_with = "resume")]
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

/// Where a job begins or goes on, and what is changed about its recipes.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Go on with the run or the job that this directory is of, from its last checkpoints
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// A new or empty directory for all that is written [default: the next free one below mnist-runs]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
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
    Cli::try_parse().unwrap_or_else(|mut error| {
        if error.kind() == ErrorKind::DisplayHelp {
            let help = error.render();
            let help = match std::io::stdout().is_terminal() {
                true => help.ansi().to_string(),
                false => help.to_string(),
            };
            let width = usize::from(console::Term::stdout().size().1).clamp(40, 100);
            let _ = terminal::print(wrapped(&help, width).trim_end());
            std::process::exit(0);
        }
        // What sounds alike may be an option of another kind.
        if error.kind() == ErrorKind::UnknownArgument {
            error.remove(ContextKind::Usage);
            if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
                && let Some(tip) = owners(option)
            {
                let tip = ContextValue::StyledStrs(vec![tip.into()]);
                error.remove(ContextKind::SuggestedArg);
                error.insert(ContextKind::Suggested, tip);
            }
        }
        error.exit()
    })
}

/// The lines of `text` in lines of at most `width` columns, which go on below the last column of the text.
fn wrapped(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let plain: String = console::strip_ansi_codes(line).chars().take(30).collect();
        let indent = plain.rfind("  ").map_or(0, |gap| gap + 2);
        let mut column = 0;
        for (index, word) in line.split(' ').enumerate() {
            let length = console::measure_text_width(word);
            if index > 0 && column > indent && column + 1 + length > width {
                wrapped.extend(["\n", &" ".repeat(indent)]);
                column = indent;
            } else if index > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += length;
        }
        wrapped.push('\n');
    }
    wrapped
}

/// The commands that have `option`.
fn owners(option: &str) -> Option<String> {
    let command = Cli::command();
    let has = |command: &&clap::Command| {
        let mut names = command.get_arguments().filter_map(|arg| arg.get_long());
        names.any(|name| option.strip_prefix("--") == Some(name))
    };
    let owners = command.get_subcommands().filter(has);
    let owners = owners.map(|command| format!("'mnist {}'", command.get_name()));
    let owners = Vec::from_iter(owners).join(", ");
    (!owners.is_empty()).then(|| format!("{option} is an option of {owners}"))
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
    /// The command that goes on with the run of `command` in `directory`, for a shell.
    pub fn resume_command(&self, command: &str, directory: &Path) -> String {
        let program = std::env::args().next().unwrap_or_default();
        let (directory, device) = (directory.display().to_string(), self.device.option());
        let command = command.split(' ').skip(1);
        let mut words = Vec::from_iter([program.as_str()].into_iter().chain(command));
        words.extend(["--resume", &directory]);
        if self.device != DeviceChoice::Auto {
            words.extend(["--device", &device]);
        }
        if let Some(data) = self.data.data_dir.as_deref().and_then(Path::to_str) {
            words.extend(["--data-dir", data]);
        }
        shlex::try_join(words).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_the_terminal() {
        let help = "Options:\n    --lr <RATE>\n  a:  one two three four\n\nend\n";
        let expected =
            "Options:\n    --lr\n    <RATE>\n  a:  one two\n      three\n      four\n\nend\n";
        assert_eq!(wrapped(help, 14), expected);
        assert_eq!(wrapped(help, 40), help);
    }

    #[test]
    fn an_option_of_other_commands_is_named_with_them() {
        assert_eq!(
            owners("--seeds").unwrap(),
            "--seeds is an option of 'mnist compare'"
        );
        assert_eq!(owners("--no-such-option"), None);
    }
}
