//! The commands that train several networks and show them side by side: the main job, `compare`, and `open-set`, the
//! standard protocol in which classes drawn at random are left out of training.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::cli::{CompareArgs, JobArgs, OpenSetArgs};
use crate::data::{Dataset, Source, random_unknown_classes};
use crate::evaluate::{Embedding, Separation, detections};
use crate::job::{TRAIN, TrainingJob};
use crate::pictures::draw_gallery;
use crate::recipe::{Changes, Loss, Preset, Recipe, with_joint};
use crate::report::{Part, write_report};
use crate::results::{Kind, Outcome, Select, Table};
use crate::run::{Provenance, RunDirectory, write_json};
use crate::{interrupt, terminal};

/// What is trained and how it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plan {
    kind: Kind,
    select: Select,
    /// Of all runs, in the order in which they are trained.
    recipes: Vec<Recipe>,
}

/// The content of a comparison's `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Comparison {
    provenance: Provenance,
    image_size: [usize; 2],
    plan: Plan,
}

/// The main job.
pub fn main_job(args: &JobArgs) -> Result<()> {
    run("mnist", args, |_| {
        let recipe = |loss| Preset::Quick.recipe(loss);
        Ok(Plan {
            kind: Kind::Plain,
            select: Select::Last,
            recipes: recipes(&Loss::PUBLISHED, recipe, &args.recipe, 1)?,
        })
    })
}

/// The command `compare`.
pub fn compare(args: &CompareArgs) -> Result<()> {
    run("mnist compare", &args.job, |source| {
        let (preset, changes, seeds) = (args.preset, &args.job.recipe, args.seeds);
        let (kind, recipes) = match args.losses.is_empty() {
            true => {
                let recipe = |loss| preset.recipe(loss);
                let recipes = recipes(&Loss::PUBLISHED, recipe, changes, seeds)?;
                let is_published = recipes.iter().all(|recipe| is_published(source, recipe));
                (
                    if is_published {
                        Kind::Published
                    } else {
                        Kind::Plain
                    },
                    recipes,
                )
            }
            false => {
                let recipe = |loss| preset.gallery_recipe(loss);
                let losses = with_joint(&args.losses);
                (Kind::Gallery, recipes(&losses, recipe, changes, seeds)?)
            }
        };
        let select = args.select;
        Ok(Plan {
            kind,
            select,
            recipes,
        })
    })
}

/// Whether the published figures are of the data that `recipe` is trained and tested with.
fn is_published(source: &Source, recipe: &Recipe) -> bool {
    let sizes = [recipe.train_size, recipe.test_size, recipe.num_classes];
    source.is_bundled()
        && recipe.shrink == 1
        && recipe.unknown_classes.is_empty()
        && sizes == [None; 3]
}

/// The command `open-set`.
pub fn open_set(args: &OpenSetArgs) -> Result<()> {
    run("mnist open-set", &args.job, |source| {
        let changes = &args.job.recipe;
        for (option, name, way_out) in [
            ("feature_dim", "--feature-dim", "--feature-dims"),
            ("unknown_classes", "--unknown-classes", "--known"),
        ] {
            ensure!(
                !changes.is_given(option),
                "{name}: has no effect in this command; use {way_out}"
            );
        }
        let losses = with_joint(&args.losses);
        let splits = recipes(
            &losses,
            |loss| args.preset.recipe(loss),
            changes,
            args.splits,
        )?;
        let classes = Dataset::load(source, &splits[0])?.classes;
        ensure!(
            args.known < classes.len(),
            "--known is {}: it must be below the number of classes, {}",
            args.known,
            classes.len()
        );
        let of_split = |split: &[Recipe]| {
            let mut recipes = Vec::new();
            for &feature_dim in &args.feature_dims {
                recipes.extend(split.iter().map(|recipe| Recipe {
                    feature_dim,
                    unknown_classes: random_unknown_classes(&classes, args.known, recipe.seed),
                    ..recipe.clone()
                }));
            }
            recipes
        };
        Ok(Plan {
            kind: Kind::OpenSet,
            select: Select::Last,
            recipes: splits.chunks(losses.len()).flat_map(of_split).collect(),
        })
    })
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

/// Begins what `plan` says for the data, or goes on, as `command` does.
fn run(
    command: &'static str,
    args: &JobArgs,
    plan: impl FnOnce(&Source) -> Result<Plan>,
) -> Result<()> {
    let chosen = args.device.open()?;
    let (comparison, directory): (Comparison, _) = match &args.resume {
        Some(path) => {
            args.recipe
                .refuse("", "; only a single run can get more epochs")?;
            let directory = RunDirectory::resume(path)?;
            (directory.job(command)?, directory)
        }
        None => {
            let source = args.data.source()?;
            let plan = plan(&source)?;
            let comparison = Comparison {
                image_size: tried(&plan, &source, &chosen.device)?,
                provenance: Provenance::of_this_run(command, &chosen.name, source),
                plan,
            };
            let kind = command.strip_prefix("mnist ").unwrap_or("quick");
            let directory = RunDirectory::create(args.out_dir.as_deref(), kind)?;
            directory.record(&comparison)?;
            (comparison, directory)
        }
    };
    let output = directory.path().display();
    terminal::note(format_args!("device: {chosen}; output: {output}"));
    comparison
        .train(args, &chosen.device, &directory)
        .map_err(|error| {
            let command = args.resume_command(command, directory.path());
            interrupt::with_way_on(error, directory.path(), &command)
        })
}

/// The size of the images, after all that `plan` needs was read and made once: faults of the data and of options must
/// come to light before anything is written.
fn tried(plan: &Plan, source: &Source, device: &Device) -> Result<[usize; 2]> {
    let mut image_size = [0; 2];
    // Recipes of equal classes follow each other.
    for recipes in plan
        .recipes
        .chunk_by(|one, next| one.unknown_classes == next.unknown_classes)
    {
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
        let (kind, select, recipes) = (self.plan.kind, self.plan.select, &self.plan.recipes);
        let source = args.data.in_place_of(&self.provenance.data)?;
        let mut table = Table {
            rows: Vec::new(),
            classes: Default::default(),
            select,
            test_samples: 0,
            references: 0,
            kind,
        };
        let mut shown: Vec<Part> = Vec::new();
        for (recipe, number) in recipes.iter().zip(1..) {
            let part = directory.run(&self.part_name(recipe.loss, recipe))?;
            let joint = directory.path().join(self.part_name(Loss::Joint, recipe));
            let joint = joint
                .canonicalize()
                .ok()
                .filter(|_| recipe.loss == Loss::Center);
            let mut provenance = self.provenance.clone();
            provenance.command = TRAIN.to_owned();
            let job = TrainingJob {
                provenance,
                recipe: recipe.clone(),
                image_size: self.image_size,
                start: joint,
            };
            part.record(&job)?;
            let name = part.path().file_name().unwrap_or_default().display();
            terminal::note(format_args!("run {number} of {}: {name}", recipes.len()));
            let dataset = job.dataset(&source)?;
            let trained = job.run(&dataset, device, &part)?;
            if let Some((metrics, snapshot)) = select.of(&trained) {
                let auroc = match kind {
                    Kind::OpenSet => self.auroc(&job, &dataset, part.path(), device)?,
                    _ => BTreeMap::new(),
                };
                if kind == Kind::OpenSet {
                    let scores = auroc
                        .iter()
                        .map(|(score, auroc)| format!("{score} {auroc:.4}"));
                    let scores = Vec::from_iter(scores).join(", ");
                    let unknown = &recipe.unknown_classes;
                    terminal::note(format_args!(
                        "unknown classes {unknown:?}, AUROC by {scores}"
                    ));
                }
                table.classes = trained.state.classes.clone();
                table.test_samples = trained.test_samples;
                table.references = snapshot.train.labels.len();
                let outcome = Outcome {
                    seed: recipe.seed,
                    images: metrics.epoch * trained.train_samples,
                    scores: metrics.test,
                    separation: Separation::of(&snapshot.test, device)?,
                    auroc,
                };
                table.add(recipe.loss, recipe.feature_dim, outcome);
            }
            // Further seeds look alike; their pictures are in their own directories.
            if recipe.seed == recipes[0].seed && kind != Kind::OpenSet {
                let run = part.path().to_owned();
                shown.push(Part { job, trained, run });
            }
        }
        write_json(&directory.path().join("results.json"), &table)?;
        terminal::print(&table)?;
        if shown.is_empty() {
            return Ok(());
        }
        draw_gallery(&table, &shown, directory)?;
        let report = write_report(&source, Some(&table), &shown, directory)?;
        terminal::print(format_args!("Report: {}", report.display()))
    }

    fn part_name(&self, loss: Loss, recipe: &Recipe) -> String {
        let (loss, seed) = (loss.name(), recipe.seed);
        match self.plan.kind {
            Kind::OpenSet => format!("{loss}-{}-features-seed-{seed}", recipe.feature_dim),
            _ => format!("{loss}-seed-{seed}"),
        }
    }

    /// How well the trained run in `part` tells known from unknown test samples.
    fn auroc(
        &self,
        job: &TrainingJob,
        dataset: &Dataset,
        part: &Path,
        device: &Device,
    ) -> Result<BTreeMap<&'static str, f64>> {
        let (_, model) = job.trained_model(dataset, part, self.plan.select, device)?;
        let sets = [&dataset.test, &dataset.unknown, &dataset.train];
        let [known, unknown, references] = sets.map(|set| Embedding::of(set, &model, device));
        let found = detections(&model, &known?, &unknown?, &references?, None, device)?;
        let auroc = found.iter().map(|(score, result)| (*score, result.auroc()));
        Ok(auroc.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BUNDLED;

    #[test]
    fn figures_are_compared_with_the_published_ones_on_the_same_data_alone() {
        let source = |directory: &str| Source {
            directory: Path::new(directory).canonicalize().unwrap_or_default(),
            split: None,
            transpose: None,
        };
        let full = Preset::Full.recipe(Loss::Joint);
        assert!(is_published(&source(BUNDLED), &full));
        assert!(!is_published(
            &source(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
            &full
        ));
        let shrunk = Recipe { shrink: 2, ..full };
        assert!(!is_published(&source(BUNDLED), &shrunk));
    }
}
