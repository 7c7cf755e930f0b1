//! The command `open-set`: the standard protocol. Classes drawn at random are left out of training; how well are they
//! told from the others, over several draws?

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::cli::OpenSetArgs;
use crate::data::{Dataset, random_unknown_classes};
use crate::device::Chosen;
use crate::evaluate::{Embedding, detections};
use crate::job::TrainingJob;
use crate::open_set_table::{Measured, OpenSetTable};
use crate::recipe::{Loss, Recipe, with_joint};
use crate::results::Select;
use crate::run::{Provenance, RUN, RunDirectory, read_json};
use crate::{interrupt, terminal};

/// The content of the job's `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Protocol {
    provenance: Provenance,
    /// Of all splits, numbers of features and losses, in the order in which they are trained.
    recipes: Vec<Recipe>,
}

pub fn command(args: &OpenSetArgs) -> Result<()> {
    let chosen = args.place.device.open()?;
    let (protocol, directory) = match &args.resume {
        Some(path) => {
            let directory = RunDirectory::open(path)?;
            let protocol = read_json(&directory.path().join(RUN))
                .context("--resume: not a job of open-set")?;
            (protocol, directory)
        }
        None => begin(args, &chosen)?,
    };
    terminal::note(format_args!(
        "device: {chosen}; output: {}",
        directory.path().display()
    ));

    let mut table = OpenSetTable::default();
    for recipe in &protocol.recipes {
        let joint = directory.path().join(part_name(Loss::Joint, recipe));
        let start = joint.canonicalize().ok();
        let job = TrainingJob {
            provenance: protocol.provenance.clone(),
            recipe: recipe.clone(),
            start: start.filter(|_| recipe.loss == Loss::Center),
        };
        let part = directory.part(&part_name(recipe.loss, recipe))?;
        job.record(&part)?;
        let source = args.place.data.in_place_of(&protocol.provenance.data);
        let dataset = job.dataset(&source)?;
        job.run(&dataset, &chosen.device, &part).map_err(|error| {
            let command = args
                .place
                .resume_command(Some("open-set"), directory.path());
            interrupt::with_way_on(error, directory.path(), &command)
        })?;
        let measured = measure(&job, &dataset, &part, &chosen.device)?;
        terminal::note(format_args!(
            "unknown classes {:?}: {measured}",
            recipe.unknown_classes
        ));
        table.add(recipe.loss, recipe.feature_dim, measured);
    }
    directory.write_json("results.json", &table)?;
    terminal::print(table)
}

fn begin(args: &OpenSetArgs, chosen: &Chosen) -> Result<(Protocol, RunDirectory)> {
    for (option, way_out) in [
        ("feature_dim", "--feature-dims"),
        ("unknown_classes", "--known"),
    ] {
        ensure!(
            !args.recipe.is_given(option),
            "--{}: has no effect in this command; use {way_out}",
            option.replace('_', "-")
        );
    }
    let losses = with_joint(&args.losses);
    args.recipe.check(&losses)?;
    let source = args.place.data.source();
    let mut first = args.preset.recipe(Loss::Softmax);
    args.recipe.apply(&mut first)?;
    // A fault of the data must come to light before anything is written.
    let dataset = Dataset::load(&source, first.num_classes, &[], first.shrink, first.sizes())?;
    let classes = &dataset.classes;
    let num_classes = classes.len();
    ensure!(
        args.known < num_classes,
        "--known is {}: it must be below the number of classes, {num_classes}",
        args.known
    );

    let mut recipes = Vec::new();
    for split in 0..args.splits {
        for &feature_dim in &args.feature_dims {
            for &loss in &losses {
                let mut recipe = args.preset.recipe(loss);
                args.recipe.apply(&mut recipe)?;
                recipe.feature_dim = feature_dim;
                recipe.seed = recipe.seed.wrapping_add(split);
                recipe.unknown_classes = random_unknown_classes(classes, args.known, recipe.seed);
                recipes.push(recipe);
            }
        }
    }
    let protocol = Protocol {
        provenance: Provenance::of_this_run(&chosen.name, source),
        recipes,
    };
    let directory = RunDirectory::create(args.place.out_dir.as_deref(), "open-set")?;
    directory.write_json(RUN, &protocol)?;
    Ok((protocol, directory))
}

/// How well the trained run in `part` tells known from unknown test samples after its last epoch.
fn measure(
    job: &TrainingJob,
    dataset: &Dataset,
    part: &RunDirectory,
    device: &Device,
) -> Result<Measured> {
    let (_, model) = job.trained_model(dataset, part.path(), Select::Last, device)?;
    let embedding = |samples| Embedding::of(samples, &model, device);
    let known = embedding(&dataset.test)?;
    let unknown = embedding(&dataset.unknown)?;
    let references = embedding(&dataset.train)?;
    let found = detections(&model, &known, &unknown, &references, None, device)?;
    Ok(Measured {
        accuracy: known.accuracy(&known.predictions),
        auroc: found
            .iter()
            .map(|detection| (detection.score.to_owned(), detection.result.auroc()))
            .collect(),
    })
}

fn part_name(loss: Loss, recipe: &Recipe) -> String {
    let Recipe {
        feature_dim, seed, ..
    } = recipe;
    format!("{}-{feature_dim}-features-seed-{seed}", loss.name())
}
