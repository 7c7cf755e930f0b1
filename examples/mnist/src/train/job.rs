//! The command `train`, and the single runs that a comparison consists of.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Trained, Training, checkpoint};
use crate::cli::TrainArgs;
use crate::data::{Dataset, Source};
use crate::pictures;
use crate::recipe::{Loss, Recipe};
use crate::report::{Part, write_report};
use crate::run::{Provenance, RUN, RunDirectory, read_json};
use crate::{interrupt, terminal};

/// The content of a training run's `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingJob {
    pub provenance: Provenance,
    pub recipe: Recipe,
    /// The run whose last checkpoint this one starts from.
    pub start: Option<PathBuf>,
}

impl TrainingJob {
    /// Begins this run in `directory`.
    pub fn record(&self, directory: &RunDirectory) -> Result<()> {
        directory.write_json(RUN, self)
    }

    /// The job of the run in `directory`.
    pub fn of(directory: &RunDirectory) -> Result<Self> {
        let path = directory.path().join(RUN);
        read_json(&path).context("not a run of train; name one, such as a part of a comparison")
    }

    pub fn dataset(&self, source: &Source) -> Result<Dataset> {
        Dataset::load(source, self.recipe.num_classes, self.recipe.sizes)
    }

    /// Trains in `directory`, from where it stands, and draws the pictures.
    pub fn run(
        &self,
        dataset: &Dataset,
        device: &Device,
        directory: &RunDirectory,
    ) -> Result<Trained> {
        let start = match &self.start {
            Some(run) => {
                let checkpoint = checkpoint::last(run)?
                    .with_context(|| format!("{}: has no checkpoint", run.display()))?;
                checkpoint::state(&checkpoint)?.ensure_classes(&dataset.classes)?;
                Some(checkpoint::model_record(&checkpoint)?)
            }
            None => None,
        };
        let trained = Training {
            recipe: &self.recipe,
            dataset,
            device,
            directory,
            start,
        }
        .run()?;
        pictures::draw(self.recipe.loss.name(), &trained, directory)?;
        Ok(trained)
    }
}

/// The command `train`.
pub fn command(args: &TrainArgs) -> Result<()> {
    let chosen = args.place.device.open()?;
    let (job, directory, dataset) = match &args.resume {
        Some(path) => {
            let directory = RunDirectory::open(path)?;
            let job = TrainingJob::of(&directory)?;
            let dataset = job.dataset(&args.place.data.in_place_of(&job.provenance.data))?;
            (job, directory, dataset)
        }
        None => begin(args, &chosen.name)?,
    };
    let title = job.recipe.loss.name();
    terminal::note(format_args!(
        "{title} on {chosen}; output: {}",
        directory.path().display()
    ));
    let trained = job
        .run(&dataset, &chosen.device, &directory)
        .map_err(|error| {
            let command = args.place.resume_command(Some("train"), directory.path());
            interrupt::with_way_on(error, directory.path(), &command)
        })?;
    let part = Part {
        job: &job,
        trained: &trained,
        directory: &directory,
    };
    let report = write_report("LeNet++ on MNIST", None, &[part], &directory)?;
    if let Some(last) = trained.state.history.last() {
        terminal::print(format_args!("{title}, epoch {}: {last}", last.epoch))?;
    }
    terminal::print(format_args!("Report: {}", report.display()))
}

fn begin(args: &TrainArgs, device: &str) -> Result<(TrainingJob, RunDirectory, Dataset)> {
    let loss = args.loss.context("--loss is missing")?;
    if let Some(option) = args.recipe.without_effect(loss) {
        bail!("{option}: has no effect with --loss {}", loss.name());
    }
    let mut recipe = args.preset.recipe(loss);
    args.recipe.apply(&mut recipe)?;
    let start = match (loss, &args.from) {
        (Loss::Center, Some(from)) => Some(joint_run(from)?),
        (Loss::Center, None) => {
            bail!(
                "--loss center: needs --from DIR, the directory of a finished run with --loss joint"
            )
        }
        (_, Some(_)) => bail!("--from: only --loss center starts from another run"),
        (_, None) => None,
    };
    let job = TrainingJob {
        provenance: Provenance::of_this_run(device, args.place.data.source()),
        recipe,
        start,
    };
    // A fault of the data must come to light before anything is written.
    let dataset = job.dataset(&job.provenance.data)?;
    let directory = RunDirectory::create(args.place.out_dir.as_deref(), loss.name())?;
    job.record(&directory)?;
    Ok((job, directory, dataset))
}

/// Checks that `path` is what center loss alone can start from; returns it independent of the working directory.
fn joint_run(path: &Path) -> Result<PathBuf> {
    let job = TrainingJob::of(&RunDirectory::open(path).context("--from")?)?;
    ensure!(
        job.recipe.loss == Loss::Joint,
        "--from {}: a run with --loss {}, but --loss center starts from one with --loss joint",
        path.display(),
        job.recipe.loss.name()
    );
    path.canonicalize()
        .with_context(|| format!("--from {}", path.display()))
}
