//! The command `train`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::cli::TrainArgs;
use crate::data::Dataset;
use crate::device::Chosen;
use crate::job::TrainingJob;
use crate::recipe::Loss;
use crate::report::{Part, write_report};
use crate::run::{Provenance, RunDirectory};
use crate::{interrupt, terminal};

pub fn command(args: &TrainArgs) -> Result<()> {
    let chosen = args.place.device.open()?;
    let (job, directory, dataset) = match &args.resume {
        Some(path) => {
            let directory = RunDirectory::open(path)?;
            let job = TrainingJob::of(&directory)?;
            let dataset = job.dataset(&args.place.data.in_place_of(&job.provenance.data))?;
            (job, directory, dataset)
        }
        None => begin(args, &chosen)?,
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

fn begin(args: &TrainArgs, chosen: &Chosen) -> Result<(TrainingJob, RunDirectory, Dataset)> {
    let loss = args.loss.context("--loss is missing")?;
    args.recipe.check(&[loss])?;
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
        provenance: Provenance::of_this_run(&chosen.name, args.place.data.source()),
        recipe,
        start,
    };
    // A fault of the data or of an option must come to light before anything is written.
    let dataset = job.dataset(&job.provenance.data)?;
    job.model(&dataset, &chosen.device)?;
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
