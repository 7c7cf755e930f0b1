//! The commands that train several networks and show them side by side: the main job, `compare`, and `open-set`, the
//! standard protocol in which classes drawn at random are left out of training.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::cli::{CompareArgs, JobArgs, OpenSetArgs};
use crate::data::{Dataset, Source, random_unknown_classes};
use crate::evaluate::{DEFAULT_K, Separation, detections};
use crate::job::{TRAIN, TrainingJob};
use crate::recipe::{Changes, Loss, Preset, Recipe, with_joint};
use crate::report::{Part, draw_gallery, write_report};
use crate::results::{Kind, Outcome, Select, Table};
use crate::run::{Provenance, RunDirectory, write_json};
use crate::{interrupt, terminal};

/// How it is shown, which epochs are reported, and the recipes of all runs, in the order in which they are trained.
type Plan = (Kind, Select, Vec<Recipe>);

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
        let recipes = recipes(&Loss::PUBLISHED, recipe, &args.recipe, 1)?;
        Ok((Kind::Plain, Select::Last, recipes))
    })
}

/// The command `compare`.
pub fn compare(args: &CompareArgs) -> Result<()> {
    run("mnist compare", &args.job, |source| {
        let recipes = |losses: &[Loss], recipe: fn(Preset, Loss) -> Recipe| {
            let recipe = |loss| recipe(args.preset, loss);
            recipes(losses, recipe, &args.job.recipe, args.seeds)
        };
        if !args.losses.is_empty() {
            let recipes = recipes(&with_joint(&args.losses), Preset::gallery_recipe)?;
            return Ok((Kind::Gallery, args.select, recipes));
        }
        let recipes = recipes(&Loss::PUBLISHED, Preset::recipe)?;
        let kind = match recipes.iter().all(|recipe| is_published(source, recipe)) {
            true => Kind::Published,
            false => Kind::Plain,
        };
        Ok((kind, args.select, recipes))
    })
}

/// Whether the published figures are of the data that `recipe` is trained and tested with.
fn is_published(source: &Source, recipe: &Recipe) -> bool {
    let sizes = [recipe.train_size, recipe.test_size, recipe.num_classes];
    let is_whole = recipe.unknown_classes.is_empty() && sizes == [None; 3];
    source.is_bundled() && recipe.shrink == 1 && is_whole
}

/// The command `open-set`.
pub fn open_set(args: &OpenSetArgs) -> Result<()> {
    run("mnist open-set", &args.job, |source| {
        let (changes, known) = (&args.job.recipe, args.known);
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
        let recipe = |loss| args.preset.recipe(loss);
        let splits = recipes(&losses, recipe, changes, args.splits)?;
        let classes = Dataset::load(source, &splits[0])?.classes;
        let count = classes.len();
        ensure!(
            known < count,
            "--known is {known}: it must be below the number of classes, {count}"
        );
        let mut recipes = Vec::new();
        for split in splits.chunks(losses.len()) {
            for &feature_dim in &args.feature_dims {
                recipes.extend(split.iter().map(|recipe| Recipe {
                    feature_dim,
                    unknown_classes: random_unknown_classes(&classes, known, recipe.seed),
                    ..recipe.clone()
                }));
            }
        }
        Ok((Kind::OpenSet, Select::Last, recipes))
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
            let way_out = "; only a single run can get more epochs";
            args.recipe.refuse("", way_out)?;
            let directory = RunDirectory::resume(path)?;
            (directory.job(command)?, directory)
        }
        None => {
            let source = args.data.source()?;
            let plan = plan(&source)?;
            let comparison = Comparison {
                image_size: tried(&plan.2, &source, &chosen.device)?,
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
    terminal::note(format_args!("device: {}; output: {output}", chosen.name));
    let trained = comparison.train(args, &chosen.device, &directory);
    trained.map_err(|error| {
        let command = args.resume_command(command, directory.path());
        interrupt::with_way_on(error, directory.path(), &command)
    })
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
        let &(kind, select, ref recipes) = &self.plan;
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
            let name = self.part_name(recipe.loss, recipe);
            let part = directory.run(&name)?;
            let joint = directory.path().join(self.part_name(Loss::Joint, recipe));
            let job = TrainingJob {
                provenance: Provenance {
                    command: TRAIN.to_owned(),
                    ..self.provenance.clone()
                },
                recipe: recipe.clone(),
                image_size: self.image_size,
                start: match recipe.loss {
                    Loss::Center => Some(joint.canonicalize()?),
                    _ => None,
                },
            };
            part.record(&job)?;
            terminal::note(format_args!("run {number} of {}: {name}", recipes.len()));
            let dataset = job.dataset(&source)?;
            let trained = job.run(&dataset, device, &part)?;
            if let Some((metrics, snapshot)) = select.of(&trained) {
                let auroc = match kind {
                    Kind::OpenSet => self.auroc(&job, &dataset, part.path(), device)?,
                    _ => BTreeMap::new(),
                };
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
        match self.plan.0 {
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
        let (_, model) = job.trained_model(dataset, part, self.plan.1, device)?;
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
