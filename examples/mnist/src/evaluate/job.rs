//! The command `evaluate`.

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use clap::ValueEnum;

use super::confusion::Confusion;
use super::{DEFAULT_K, Embedding};
use crate::cli::{EvaluateArgs, Method};
use crate::plot::confusion_matrix;
use crate::results::Select;
use crate::run::{self, RunDirectory};
use crate::terminal;
use crate::train::job::TrainingJob;
use crate::train::{self, checkpoint};

pub fn command(args: &EvaluateArgs) -> Result<()> {
    ensure!(
        args.k.is_none() || args.method == Method::Knn,
        "--k: has no effect without --method knn"
    );
    let directory = RunDirectory::open(&args.run).context("--run")?;
    let job = TrainingJob::of(&directory).context("--run")?;
    let chosen = args.device.open()?;
    let device = &chosen.device;
    let dataset = job.dataset(&args.data.in_place_of(&job.provenance.data))?;

    let run = directory.path();
    let last = checkpoint::last(run)?
        .with_context(|| format!("--run {}: has no checkpoint", run.display()))?;
    let state = checkpoint::state(&last)?;
    let classes = &dataset.classes;
    state.ensure_classes(classes)?;
    let (epoch, path) = match args.select {
        Select::Last => (state.epoch, last),
        Select::Validation => {
            let epoch = state.best_epoch();
            (epoch, checkpoint::of_epoch(run, epoch))
        }
    };
    let image_size = dataset.train.image_size();
    let model = train::untrained(&job.recipe, image_size, classes.len(), 1, device)?;
    let model = train::load(model, checkpoint::model_record(&path)?)?.valid();

    let test = Embedding::of(&dataset.test, &model.network, device)?;
    let (method, predictions) = match args.method {
        Method::Class => ("class layer".to_owned(), test.predictions.clone()),
        Method::NearestCenter => {
            let center_loss = model.center_loss.as_ref().context(
                "--method nearest-center: this run was trained without center loss and has no centers; use class or knn",
            )?;
            let predictions = test.by_nearest_center(&center_loss.nearest_center()?, device)?;
            ("nearest center".to_owned(), predictions)
        }
        Method::Knn => {
            let references = Embedding::of(&dataset.train, &model.network, device)?;
            let k = args.k.unwrap_or(DEFAULT_K.min(references.labels.len()));
            let predictions = test
                .by_neighbors(&references, k, device)
                .with_context(|| format!("--k {k}"))?;
            let count = references.labels.len();
            (
                format!("{k} nearest of {count} training samples"),
                predictions,
            )
        }
    };
    let confusion = Confusion::of(&test.labels, &predictions, classes);
    let columns = usize::from(console::Term::stdout().size().1);
    terminal::print(format_args!(
        "{}, epoch {epoch}, by {method}: accuracy {:.4} on {} test samples\n\n{}\n",
        job.recipe.loss.name(),
        test.accuracy(&predictions),
        test.labels.len(),
        confusion.text(columns)
    ))?;
    let file = |ending: &str| {
        let method = args.method.to_possible_value();
        let method = method.expect("no method is hidden").get_name().to_owned();
        run.join(format!("confusion-{method}.{ending}"))
    };
    run::write(&file("csv"), confusion.csv().as_bytes())?;
    let names: Vec<&str> = classes.names().collect();
    confusion_matrix(confusion.counts(), &names)?.save_png(&file("png"))?;
    terminal::print(format_args!(
        "The whole matrix: {}, {}",
        file("csv").display(),
        file("png").display()
    ))
}
