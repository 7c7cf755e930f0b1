//! The command `train`.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::cli::TrainArgs;
use crate::data::Dataset;
use crate::device::Chosen;
use crate::recipe::{Loss, Recipe};
use crate::report::{Part, write_report};
use crate::run::{Provenance, RunDirectory};
use crate::train::{Checkpoint, TRAIN, TrainingJob};
use crate::{pictures, terminal};

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
        let trained = job.train(&dataset, &chosen.device, &directory)?;
        let maps = pictures::maps(&title, &trained)?;
        pictures::draw(&maps, &directory)?;
        let (job, run) = (job.clone(), directory.path().to_owned());
        let part = [Part {
            job,
            trained,
            maps,
            run,
        }];
        let report = write_report(&part[0].job.provenance.data, None, &part, &directory)?;
        let last = part[0].trained.state.history.last();
        if let Some(last) = last.filter(|_| !terminal::is_one_screen()) {
            terminal::print(format_args!("{title}, epoch {}: {last}", last.epoch))?;
        }
        terminal::print(format_args!("Report: {}", report.display()))
    };
    work().map_err(|error| args.job.with_way_on(error, TRAIN, directory.path()))
}

/// The run in the directory `path`, perhaps with more epochs than before.
fn resume(args: &TrainArgs, path: &Path) -> Result<(TrainingJob, RunDirectory, Dataset)> {
    let directory = RunDirectory::resume(path)?;
    let mut job: TrainingJob = directory.job(TRAIN)?;
    let source = args.job.data.in_place_of(&job.provenance.data)?;
    let dataset = job.dataset(&source)?;
    args.job.recipe.apply(&mut job.recipe)?;
    let epochs = job.recipe.epochs;
    if let Some(last) = Checkpoint::last(path)? {
        let done = last.state(&dataset.classes)?.epoch;
        ensure!(
            epochs >= done,
            "--epochs {epochs}: the run has gone through {done} already"
        );
    }
    if args.job.recipe.is_given("epochs") {
        directory.record(&job)?;
    }
    Ok((job, directory, dataset))
}

fn begin(args: &TrainArgs, chosen: &Chosen) -> Result<(TrainingJob, RunDirectory, Dataset)> {
    let loss = args.loss.context("--loss is missing")?;
    args.job.recipe.check(&[loss])?;
    ensure!(
        args.from.is_some() == (loss == Loss::Center),
        "--loss center needs --from DIR, the directory of a finished run with --loss joint, and no other loss takes it"
    );
    let mut recipe = args.preset.recipe(loss);
    let mut source = args.job.data.source();
    let from = args.from.as_deref();
    let joint = from.map(joint_run).transpose().context("--from")?;
    if let Some(joint) = &joint {
        recipe = on_network_of(recipe, &joint.recipe);
        source = args.job.data.in_place_of(&joint.provenance.data);
    }
    let source = source?;
    args.job.recipe.apply(&mut recipe)?;
    let dataset = Dataset::load(&source, &recipe)?;
    let image_size = dataset.train.image_size();
    if let Some(joint) = &joint {
        ensure!(
            on_network_of(recipe.clone(), &joint.recipe) == recipe
                && image_size == joint.image_size,
            "--from: a network of other settings or images does not fit; bias, feature dimension and norm, classes and \
             shrink need not be given, they are taken from that run"
        );
    }
    let job = TrainingJob {
        provenance: Provenance::of_this_run(TRAIN, &chosen.name, source),
        recipe,
        image_size,
        start: from.map(Path::canonicalize).transpose()?,
    };
    // A fault of an option or of the other run must come to light before anything is written.
    let model = job.model(&dataset, &chosen.device)?;
    if let Some(record) = job.start_record(&dataset).context("--from")? {
        model.load(record).context("--from")?;
    }
    let directory = RunDirectory::create(args.job.out_dir.as_deref(), &loss.name())?;
    directory.record(&job)?;
    Ok((job, directory, dataset))
}

/// The run at `path`, which center loss alone can start from.
fn joint_run(path: &Path) -> Result<TrainingJob> {
    let job: TrainingJob = RunDirectory::open(path)?.job(TRAIN)?;
    ensure!(
        job.recipe.loss == Loss::Joint,
        "{}: a run with --loss {}, but --loss center starts from one with --loss joint",
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
        unknown_classes: joint.unknown_classes.clone(),
        shrink: joint.shrink,
        ..recipe
    }
}
