//! The main job: a run that shows within minutes what the program is about.

use anyhow::Result;
use serde::Serialize;

use crate::cli::Cli;
use crate::data::{Dataset, SplitSizes};
use crate::pictures;
use crate::recipe::{Initialization, Optimizer, Rate, Recipe};
use crate::run::{Provenance, RunDirectory};
use crate::train::Training;

#[derive(Serialize)]
struct Record<'a> {
    provenance: Provenance,
    recipe: &'a Recipe,
    sizes: SplitSizes,
}

fn recipe() -> Recipe {
    Recipe {
        epochs: 3,
        batch_size: 32,
        optimizer: Optimizer::Adam,
        learning_rate: 3e-3,
        rate: Rate::OneCycle,
        weight_decay: 0.0,
        feature_dim: 2,
        bias: false,
        initialization: Initialization::Kaiming,
        num_classes: None,
        sizes: SplitSizes {
            train: 10_000,
            validation: 500,
            test: 2_000,
        },
        seed: 1,
    }
}

pub fn run(cli: &Cli) -> Result<()> {
    let mut recipe = recipe();
    cli.recipe.apply(&mut recipe);
    recipe.validate()?;
    let chosen = cli.place.device.open()?;
    let dataset = Dataset::load(cli.place.data_dir(), recipe.num_classes, recipe.sizes)?;
    let directory = RunDirectory::create(cli.place.out_dir.as_deref(), "quick")?;
    directory.write_json(
        "run.json",
        &Record {
            provenance: Provenance::of_this_run(&chosen.name, cli.place.data_dir()),
            recipe: &recipe,
            sizes: dataset.sizes(),
        },
    )?;
    let trained = Training {
        title: "softmax",
        recipe: &recipe,
        dataset: &dataset,
        device: &chosen.device,
        directory: &directory,
    }
    .run()?;
    pictures::draw("softmax", &trained, &directory)?;
    if let Some(last) = trained.history.last() {
        println!("softmax: test accuracy {:.4}", last.test_accuracy);
    }
    println!("pictures and metrics: {}", directory.path().display());
    Ok(())
}
