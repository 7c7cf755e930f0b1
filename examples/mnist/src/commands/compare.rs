//! The commands that train several networks and show them side by side: the main job, `compare`, and `open-set`, the
//! standard protocol in which classes drawn at random are left out of training.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::cli::{CompareArgs, JobArgs, OpenSetArgs};
use crate::data::{Dataset, Source, random_unknown_classes};
use crate::evaluate::{DEFAULT_K, Separation, detections};
use crate::recipe::{Loss, Preset, Recipe, with_joint};
use crate::report::{Part, draw_gallery, write_report};
use crate::results::{Outcome, Table};
use crate::run::{Provenance, RunDirectory, write_json};
use crate::train::{TRAIN, TrainingJob};
use crate::{pictures, terminal};

const OPEN_SET: &str = "mnist open-set";

/// The content of a comparison's `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Comparison {
    provenance: Provenance,
    image_size: [usize; 2],
    /// Of all runs, in the order in which they are trained.
    recipes: Vec<Recipe>,
}

/// The main job.
pub fn main_job(args: &JobArgs) -> Result<()> {
    run("mnist", args, |_| {
        let losses = [Loss::Softmax, Loss::Joint, Loss::Center];
        recipes(Preset::Quick, &losses, args, 1)
    })
}

/// The command `compare`.
pub fn compare(args: &CompareArgs) -> Result<()> {
    run("mnist compare", &args.job, |_| {
        let losses = with_joint(&args.losses);
        recipes(args.preset, &losses, &args.job, args.seeds)
    })
}

/// The command `open-set`.
pub fn open_set(args: &OpenSetArgs) -> Result<()> {
    run(OPEN_SET, &args.job, |source| {
        for (option, name, way_out) in [
            ("feature_dim", "--feature-dim", "--feature-dims"),
            ("unknown_classes", "--unknown-classes", "--known"),
        ] {
            ensure!(
                !args.job.recipe.is_given(option),
                "{name}: has no effect in this command; use {way_out}"
            );
        }
        let losses = with_joint(&args.losses);
        let splits = recipes(args.preset, &losses, &args.job, args.splits)?;
        let classes = Dataset::load(source, &splits[0])?.classes;
        let (known, count) = (args.known, classes.len());
        ensure!(
            known < count,
            "--known is {known}: it must be below the number of classes, {count}"
        );
        let on_split = |recipe: &Recipe, feature_dim| Recipe {
            feature_dim,
            unknown_classes: random_unknown_classes(&classes, known, recipe.seed),
            ..recipe.clone()
        };
        let mut recipes = Vec::new();
        for split in splits.chunks(losses.len()) {
            for &feature_dim in &args.feature_dims {
                recipes.extend(split.iter().map(|recipe| on_split(recipe, feature_dim)));
            }
        }
        Ok(recipes)
    })
}

/// The recipes of `losses` for `seeds` seeds, from the recipe's own on.
fn recipes(preset: Preset, losses: &[Loss], args: &JobArgs, seeds: usize) -> Result<Vec<Recipe>> {
    args.recipe.check(losses)?;
    let mut recipes = Vec::new();
    for index in 0..seeds as u64 {
        for &loss in losses {
            let mut recipe = preset.recipe(loss);
            args.recipe.apply(&mut recipe)?;
            recipe.seed = recipe.seed.wrapping_add(index);
            recipes.push(recipe);
        }
    }
    Ok(recipes)
}

/// Begins with the `recipes` for the data, or goes on, as `command` does.
fn run(
    command: &'static str,
    args: &JobArgs,
    recipes: impl FnOnce(&Source) -> Result<Vec<Recipe>>,
) -> Result<()> {
    let chosen = args.device.open()?;
    let (comparison, directory): (Comparison, _) = match &args.resume {
        Some(path) => {
            ensure!(
                !args.recipe.is_given("epochs"),
                "--epochs: only a single run, of `{TRAIN}`, can get more epochs"
            );
            let directory = RunDirectory::resume(path)?;
            (directory.job(command)?, directory)
        }
        None => {
            let source = args.data.source()?;
            let recipes = recipes(&source)?;
            let comparison = Comparison {
                image_size: tried(&recipes, &source, &chosen.device)?,
                provenance: Provenance::of_this_run(command, &chosen.name, source),
                recipes,
            };
            let kind = command.strip_prefix("mnist ").unwrap_or("quick");
            let directory = RunDirectory::create(args.out_dir.as_deref(), kind)?;
            directory.record(&comparison)?;
            (comparison, directory)
        }
    };
    let output = directory.path().display();
    terminal::note(format_args!("device: {}; output: {output}", chosen.name));
    let trained = comparison.train(args, &chosen.device, &directory);
    trained.map_err(|error| args.with_way_on(error, command, directory.path()))
}

/// The size of the images, after all that the runs need was read and made once: faults of the data and of options must
/// come to light before anything is written.
fn tried(recipes: &[Recipe], source: &Source, device: &Device) -> Result<[usize; 2]> {
    let mut image_size = [0; 2];
    // Recipes of equal classes follow each other.
    for recipes in recipes.chunk_by(|one, next| one.unknown_classes == next.unknown_classes) {
        let dataset = Dataset::load(source, &recipes[0])?;
        image_size = dataset.train.image_size();
        for recipe in recipes {
            recipe.model(image_size, dataset.classes.len(), 1, device)?;
        }
    }
    Ok(image_size)
}

impl Comparison {
    /// Trains all that is still to be trained, and shows what came of it.
    fn train(&self, args: &JobArgs, device: &Device, directory: &RunDirectory) -> Result<()> {
        let source = args.data.in_place_of(&self.provenance.data)?;
        let open_set = self.provenance.command == OPEN_SET;
        let mut table = Table {
            open_set,
            ..Default::default()
        };
        let mut shown: Vec<Part> = Vec::new();
        for (recipe, number) in self.recipes.iter().zip(1..) {
            let features = match open_set {
                true => format!("-{}-features", recipe.feature_dim),
                false => String::new(),
            };
            let name = |loss: Loss| format!("{}{features}-seed-{}", loss.name(), recipe.seed);
            let (title, joint) = (name(recipe.loss), name(Loss::Joint));
            let part = directory.run(&title)?;
            let job = TrainingJob {
                provenance: Provenance {
                    command: TRAIN.to_owned(),
                    ..self.provenance.clone()
                },
                recipe: recipe.clone(),
                image_size: self.image_size,
                start: match recipe.loss {
                    Loss::Center => Some(directory.path().join(joint).canonicalize()?),
                    _ => None,
                },
            };
            part.record(&job)?;
            let count = self.recipes.len();
            terminal::note(format_args!("run {number} of {count}: {title}"));
            let dataset = job.dataset(&source)?;
            let trained = job.train(&dataset, device, &part)?;
            let maps = pictures::maps(&recipe.loss.name(), &trained)?;
            pictures::draw(&maps, &part)?;
            if let (Some(metrics), Some(snapshot)) =
                (trained.state.history.last(), trained.snapshots.last())
            {
                table.classes = trained.state.classes.clone();
                table.test_samples = trained.test_samples;
                table.references = snapshot.train.labels.len();
                let outcome = Outcome {
                    seed: recipe.seed,
                    images: metrics.epoch * trained.train_samples,
                    scores: metrics.test,
                    separation: Separation::of(&snapshot.test, device)?,
                    auroc: match open_set {
                        true => auroc(&job, &dataset, &part, device)?,
                        false => BTreeMap::new(),
                    },
                };
                table.add(recipe.loss, recipe.feature_dim, outcome);
            }
            // Further seeds look alike; their pictures are in their own directories.
            if recipe.seed == self.recipes[0].seed && !open_set {
                let run = part.path().to_owned();
                shown.push(Part {
                    job,
                    trained,
                    maps,
                    run,
                });
            }
        }
        write_json(&directory.path().join("results.json"), &table)?;
        terminal::print(&table)?;
        if open_set {
            return Ok(());
        }
        draw_gallery(&table, &shown, directory)?;
        let report = write_report(&source, Some(&table), &shown, directory)?;
        terminal::print(format_args!("Report: {}", report.display()))
    }
}

/// How well the trained run in `part` tells known from unknown test samples, by each score.
fn auroc(
    job: &TrainingJob,
    dataset: &Dataset,
    part: &RunDirectory,
    device: &Device,
) -> Result<BTreeMap<&'static str, f64>> {
    let (_, model) = job.trained_model(dataset, part.path(), device)?;
    let sets = [&dataset.test, &dataset.unknown, &dataset.train];
    let found = detections(&model, sets, DEFAULT_K.min(sets[2].len()), device)?;
    let auroc = found.iter().map(|(score, result)| (*score, result.auroc()));
    let auroc = BTreeMap::from_iter(auroc);
    let unknown = &job.recipe.unknown_classes;
    terminal::note(format_args!(
        "unknown classes {unknown:?}, AUROC {auroc:.4?}"
    ));
    Ok(auroc)
}
