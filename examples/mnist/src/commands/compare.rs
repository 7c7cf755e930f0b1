//! The command `compare` and the main job: all losses, for one or several seeds, side by side.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cli::{CompareArgs, PlaceArgs};
use crate::job::TrainingJob;
use crate::pictures::draw_gallery;
use crate::recipe::{Changes, Loss, Preset, Recipe, with_joint};
use crate::report::{Part, write_report};
use crate::results::{Kind, Select, Table};
use crate::run::{Provenance, RUN, RunDirectory, read_json};
use crate::train::Trained;
use crate::{interrupt, terminal};

/// What the directories of the main job are called.
const MAIN_JOB: &str = "quick";

/// The content of a comparison's `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Comparison {
    provenance: Provenance,
    preset: Preset,
    /// Of all seeds and losses, in the order in which they are trained.
    recipes: Vec<Recipe>,
    select: Select,
    kind: Kind,
}

/// The command `compare`.
pub fn command(args: &CompareArgs) -> Result<()> {
    let comparison = |device: &str| {
        let kind = match args.losses.is_empty() {
            false => Kind::Gallery,
            true if args.preset == Preset::Quick => Kind::Plain,
            true => Kind::Published,
        };
        Ok(Comparison {
            provenance: Provenance::of_this_run(device, args.place.data.source()),
            preset: args.preset,
            recipes: match kind {
                Kind::Gallery => {
                    let recipe = |loss| args.preset.gallery_recipe(loss);
                    recipes(&with_joint(&args.losses), recipe, &args.recipe, args.seeds)?
                }
                Kind::Plain | Kind::Published => {
                    let recipe = |loss| args.preset.recipe(loss);
                    recipes(&Loss::PUBLISHED, recipe, &args.recipe, args.seeds)?
                }
            },
            select: args.select,
            kind,
        })
    };
    let resume = args.resume.as_deref();
    run(&args.place, resume, Some("compare"), comparison)
}

/// The main job.
pub fn main_job(place: &PlaceArgs, changes: &Changes, resume: Option<&Path>) -> Result<()> {
    let comparison = |device: &str| {
        Ok(Comparison {
            provenance: Provenance::of_this_run(device, place.data.source()),
            preset: Preset::Quick,
            recipes: recipes(
                &Loss::PUBLISHED,
                |loss| Preset::Quick.recipe(loss),
                changes,
                1,
            )?,
            select: Select::Last,
            kind: Kind::Plain,
        })
    };
    run(place, resume, None, comparison)
}

/// The recipes of `losses` for `seeds` seeds, from the recipe's own on.
fn recipes(
    losses: &[Loss],
    recipe: impl Fn(Loss) -> Recipe,
    changes: &Changes,
    seeds: u64,
) -> Result<Vec<Recipe>> {
    changes.check(losses)?;
    let mut recipes = Vec::new();
    for index in 0..seeds {
        for &loss in losses {
            let mut recipe = recipe(loss);
            changes.apply(&mut recipe)?;
            recipe.seed = recipe.seed.wrapping_add(index);
            recipes.push(recipe);
        }
    }
    Ok(recipes)
}

/// Begins what `comparison` says for a device, or goes on in the directory `resume`. The main job has no `subcommand`.
fn run(
    place: &PlaceArgs,
    resume: Option<&Path>,
    subcommand: Option<&str>,
    comparison: impl FnOnce(&str) -> Result<Comparison>,
) -> Result<()> {
    let chosen = place.device.open()?;
    let (comparison, directory) = match resume {
        Some(path) => {
            let directory = RunDirectory::open(path)?;
            let comparison: Comparison = read_json(&directory.path().join(RUN)).context(
                "--resume: not a comparison; `train --resume` goes on with a single run",
            )?;
            (comparison, directory)
        }
        None => {
            let comparison = comparison(&chosen.name)?;
            // A fault of the data must come to light before anything is written.
            if let Some(recipe) = comparison.recipes.first() {
                job(&comparison, recipe, None).dataset(&comparison.provenance.data)?;
            }
            let directory =
                RunDirectory::create(place.out_dir.as_deref(), subcommand.unwrap_or(MAIN_JOB))?;
            directory.write_json(RUN, &comparison)?;
            (comparison, directory)
        }
    };
    terminal::note(format_args!(
        "device: {chosen}; output: {}",
        directory.path().display()
    ));

    let mut runs: Vec<(TrainingJob, Trained, RunDirectory)> = Vec::new();
    for recipe in &comparison.recipes {
        let joint = directory
            .path()
            .join(part_name(Loss::Joint, recipe.seed))
            .canonicalize()
            .ok();
        let part = directory.part(&part_name(recipe.loss, recipe.seed))?;
        let start = joint.filter(|_| recipe.loss == Loss::Center);
        let job = job(&comparison, recipe, start);
        job.record(&part)?;
        let dataset = job.dataset(&place.data.in_place_of(&job.provenance.data))?;
        let trained = job.run(&dataset, &chosen.device, &part).map_err(|error| {
            let command = place.resume_command(subcommand, directory.path());
            interrupt::with_way_on(error, directory.path(), &command)
        })?;
        runs.push((job, trained, part));
    }
    let results: Vec<(Loss, &Trained)> = runs
        .iter()
        .map(|(job, trained, _)| (job.recipe.loss, trained))
        .collect();
    let table = Table::of(&results, comparison.select, comparison.kind, &chosen.device)?;
    directory.write_json("results.json", &table)?;
    if comparison.kind == Kind::Gallery {
        draw_gallery(&table, &results, &directory)?;
    }
    let parts: Vec<Part<'_>> = runs
        .iter()
        // Further seeds look alike; their pictures are beside the report.
        .filter(|(job, ..)| job.recipe.seed == runs[0].0.recipe.seed)
        .map(|(job, trained, directory)| Part {
            job,
            trained,
            directory,
        })
        .collect();
    let report = write_report("LeNet++ on MNIST", Some(&table), &parts, &directory)?;
    terminal::print(format_args!("{table}\nReport: {}", report.display()))
}

fn job(comparison: &Comparison, recipe: &Recipe, start: Option<PathBuf>) -> TrainingJob {
    TrainingJob {
        provenance: comparison.provenance.clone(),
        recipe: recipe.clone(),
        start,
    }
}

fn part_name(loss: Loss, seed: u64) -> String {
    format!("{}-seed-{seed}", loss.name())
}
