//! The command `train`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::cli::TrainArgs;
use crate::data::Dataset;
use crate::device::Chosen;
use crate::job::{TRAIN, TrainingJob};
use crate::recipe::{Loss, Recipe};
use crate::report::{Part, write_report};
use crate::run::{Provenance, RunDirectory};
use crate::train::checkpoint;
use crate::{interrupt, terminal};

pub fn command(args: &TrainArgs) -> Result<()> {
    let chosen = args.job.device.open()?;
    let (job, directory, dataset) = match &args.job.resume {
        Some(path) => resume(args, path)?,
        None => begin(args, &chosen)?,
    };
    let title = job.recipe.loss.name();
    let output = directory.path().display();
    terminal::note(format_args!("{title} on {}; output: {output}", chosen.name));
    let work = || -> Result<()> {
        let trained = job.run(&dataset, &chosen.device, &directory)?;
        let (job, run) = (job.clone(), directory.path().to_owned());
        let part = [Part { job, trained, run }];
        let report = write_report(&part[0].job.provenance.data, None, &part, &directory)?;
        let last = part[0].trained.state.history.last();
        if let Some(last) = last.filter(|_| !terminal::is_one_screen()) {
            terminal::print(format_args!("{title}, epoch {}: {last}", last.epoch))?;
        }
        terminal::print(format_args!("Report: {}", report.display()))
    };
    work().map_err(|error| {
        let command = args.job.resume_command(TRAIN, directory.path());
        interrupt::with_way_on(error, directory.path(), &command)
    })
}

/// The run in the directory `path`, perhaps with more epochs than before.
fn resume(args: &TrainArgs, path: &Path) -> Result<(TrainingJob, RunDirectory, Dataset)> {
    args.job.recipe.refuse("epochs", ", but for --epochs")?;
    let directory = RunDirectory::resume(path)?;
    let mut job: TrainingJob = directory.job(TRAIN)?;
    let source = args.job.data.in_place_of(&job.provenance.data)?;
    let dataset = job.dataset(&source)?;
    if args.job.recipe.is_given("epochs") {
        let before = job.recipe.epochs;
        args.job.recipe.apply(&mut job.recipe)?;
        let last = checkpoint::last(path)?;
        let state = last.map(|last| checkpoint::state(&last)).transpose()?;
        let done = state.map_or(0, |state| state.epoch);
        ensure!(
            job.recipe.epochs >= done,
            "--epochs {}: the run has gone through {done} of its {before} epochs",
            job.recipe.epochs
        );
        directory.record(&job)?;
    }
    Ok((job, directory, dataset))
}

fn begin(args: &TrainArgs, chosen: &Chosen) -> Result<(TrainingJob, RunDirectory, Dataset)> {
    let loss = args.loss.context("--loss is missing")?;
    args.job.recipe.check(&[loss])?;
    let mut recipe = args.preset.recipe(loss);
    let joint = match (loss, &args.from) {
        (Loss::Center, Some(from)) => Some((from, joint_run(from)?)),
        (Loss::Center, None) => bail!(
            "--loss center: needs --from DIR, the directory of a finished run with --loss joint"
        ),
        (_, Some(_)) => bail!("--from: only --loss center starts from another run"),
        (_, None) => None,
    };
    let mut source = args.job.data.source()?;
    if let Some((_, joint)) = &joint {
        recipe = on_network_of(recipe, &joint.recipe);
        source = args.job.data.in_place_of(&joint.provenance.data)?;
    }
    args.job.recipe.apply(&mut recipe)?;
    let dataset = Dataset::load(&source, &recipe)?;
    let image_size = dataset.train.image_size();
    if let Some((from, joint)) = &joint {
        ensure!(
            on_network_of(recipe.clone(), &joint.recipe) == recipe
                && image_size == joint.image_size,
            "--from {}: a network of other settings or images does not fit; bias, feature dimension and norm, classes and \
             shrink need not be given, they are taken from that run",
            from.display()
        );
    }
    let start = joint.map(|(from, _)| from.canonicalize()).transpose()?;
    let job = TrainingJob {
        provenance: Provenance::of_this_run(TRAIN, &chosen.name, source),
        recipe,
        image_size,
        start,
    };
    // A fault of an option or of the other run must come to light before anything is written.
    let model = job.model(&dataset, &chosen.device)?;
    if let Some(record) = job.start_record(&dataset).context("--from")? {
        model.load(record).context("--from")?;
    }
    let directory = RunDirectory::create(args.job.out_dir.as_deref(), loss.name())?;
    directory.record(&job)?;
    Ok((job, directory, dataset))
}

/// The run at `path`, which center loss alone can start from.
fn joint_run(path: &Path) -> Result<TrainingJob> {
    let run = RunDirectory::open(path).context("--from")?;
    let job: TrainingJob = run.job(TRAIN).context("--from")?;
    ensure!(
        job.recipe.loss == Loss::Joint,
        "--from {}: a run with --loss {}, but --loss center starts from one with --loss joint",
        path.display(),
        job.recipe.loss.name()
    );
    Ok(job)
}

/// `recipe` with all that the network of `joint` has decided.
fn on_network_of(recipe: Recipe, joint: &Recipe) -> Recipe {
    Recipe {
        bias: joint.bias,
        feature_dim: joint.feature_dim,
        feature_norm: joint.feature_norm,
        num_classes: joint.num_classes,
        unknown_classes: joint.unknown_classes.clone(),
        shrink: joint.shrink,
        ..recipe
    }
}
