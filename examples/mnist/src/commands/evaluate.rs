//! The command `evaluate`.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use burn_center_loss::evaluation::{RetrievalConfig, RetrievalSet, RocCurve, RocPoint};
use clap::ValueEnum;

use crate::cli::{EvaluateArgs, Method};
use crate::data::{Dataset, Samples};
use crate::evaluate::{Confusion, DEFAULT_K, Embedding, detections, pairs, verification_lines};
use crate::job::TrainingJob;
use crate::network::Model;
use crate::pictures::{OPEN_SET, VERIFICATION, draw_roc, is_drawn};
use crate::plot::{Roc, confusion_matrix};
use crate::report::{Part, write_report};
use crate::run::{self, RunDirectory};
use crate::terminal;

/// At most how many test samples are paired: 2000 make two million pairs.
const PAIRED_SAMPLES: usize = 2000;

/// A run to be evaluated.
struct Evaluation<'a> {
    args: &'a EvaluateArgs,
    directory: RunDirectory,
    job: TrainingJob,
    dataset: Dataset,
    device: Device,
    epoch: usize,
    model: Model,
}

pub fn command(args: &EvaluateArgs) -> Result<()> {
    ensure!(
        args.k.is_none()
            || matches!(
                args.method,
                Method::Knn | Method::Retrieval | Method::OpenSet
            ),
        "--k: has no effect without --method knn, retrieval or open-set"
    );
    ensure!(
        args.unknown_data.is_none() || args.method == Method::OpenSet,
        "--unknown-data: has no effect without --method open-set"
    );
    let directory = RunDirectory::open(&args.run).context("--run")?;
    let job = TrainingJob::of(&directory).context("--run")?;
    let device = args.device.open()?.device;
    let dataset = job.dataset(&args.data.in_place_of(&job.provenance.data))?;
    let (epoch, model) = job
        .trained_model(&dataset, directory.path(), args.select, &device)
        .context("--run")?;
    let evaluation = Evaluation {
        args,
        directory,
        job,
        dataset,
        device,
        epoch,
        model,
    };
    let lines = match args.method {
        Method::Class | Method::NearestCenter | Method::Knn => evaluation.accuracy()?,
        Method::Retrieval => evaluation.retrieval()?,
        Method::Verification => evaluation.verification()?,
        Method::OpenSet => evaluation.open_set()?,
    };
    terminal::print(lines.join("\n"))
}

impl Evaluation<'_> {
    fn embedding(&self, samples: &Samples) -> Result<Embedding> {
        Embedding::of(samples, &self.model, &self.device)
    }

    /// The beginning of what is printed.
    fn title(&self) -> String {
        format!("{}, epoch {}", self.job.recipe.loss.name(), self.epoch)
    }

    fn accuracy(&self) -> Result<Vec<String>> {
        let test = self.embedding(&self.dataset.test)?;
        let (method, predictions) = match self.args.method {
            Method::NearestCenter => {
                let centers = self.model.objective.nearest_center()?.context(
                    "--method nearest-center: this run was trained without center loss and has no centers; use class or knn",
                )?;
                let predictions = test.by_nearest_center(&centers, &self.device)?;
                ("nearest center".to_owned(), predictions)
            }
            Method::Knn => {
                let references = self.embedding(&self.dataset.train)?;
                let count = references.labels.len();
                let k = self.args.k.unwrap_or(DEFAULT_K.min(count));
                let predictions = test
                    .by_neighbors(&references, k, &self.device)
                    .with_context(|| format!("--k {k}"))?;
                (
                    format!("{k} nearest of {count} training samples"),
                    predictions,
                )
            }
            _ => ("class layer".to_owned(), test.predictions.clone()),
        };
        let result = format!(
            "{}, by {method}: accuracy {:.4} on {} test samples",
            self.title(),
            test.accuracy(&predictions),
            test.labels.len()
        );
        let confusion = Confusion::of(&test.labels, &predictions, &self.dataset.classes);
        let columns = usize::from(console::Term::stdout().size().1);
        let files = self.save(&confusion)?;
        Ok(vec![
            result,
            String::new(),
            confusion.text(columns),
            String::new(),
            files,
        ])
    }

    /// Writes the whole confusion matrix into the directory of the run, and says where it is.
    fn save(&self, confusion: &Confusion) -> Result<String> {
        let method = self.args.method.to_possible_value();
        let method = method.expect("no method is hidden").get_name().to_owned();
        let file = |ending: &str| {
            let name = format!("confusion-{method}.{ending}");
            self.directory.path().join(name)
        };
        let (text, picture) = (file("csv"), file("png"));
        run::write(&text, confusion.csv().as_bytes())?;
        let names: Vec<&str> = self.dataset.classes.names().collect();
        confusion_matrix(confusion.counts(), &names)?.save_png(&picture)?;
        Ok(format!(
            "The whole matrix: {}, {}",
            text.display(),
            picture.display()
        ))
    }

    fn retrieval(&self) -> Result<Vec<String>> {
        let test = self.embedding(&self.dataset.test)?;
        let set = RetrievalSet::new(test.features_on(&self.device), test.labels_on(&self.device));
        let count = test.labels.len();
        ensure!(
            count > 1,
            "--method retrieval: compares test samples with each other, but there is only one"
        );
        let k = self.args.k.unwrap_or(DEFAULT_K.min(count - 1));
        let report = RetrievalConfig::new()
            .with_metric(test.metric)
            .with_ks(vec![1, k])
            .evaluate(&set)
            .with_context(|| format!("--k {k}"))?;
        ensure!(
            report.queries_with_match() > 0,
            "--method retrieval: no class has two test samples"
        );
        Ok(vec![
            format!(
                "{}: each of {count} test samples against the others, by {} distance",
                self.title(),
                test.metric_name()
            ),
            // One value a line.
            report.to_string().replace(", ", "\n"),
        ])
    }

    fn verification(&self) -> Result<Vec<String>> {
        let test = self.embedding(&self.dataset.test.first(PAIRED_SAMPLES))?;
        let curve = pairs(&test, &self.device).context("--method verification")?;
        let mut lines = vec![format!(
            "{}: all pairs of {} test samples, {} of one class and {} of different classes, by {} distance",
            self.title(),
            test.labels.len(),
            curve.genuine(),
            curve.impostors(),
            test.metric_name()
        )];
        lines.push(verification_lines(&curve)?);
        lines.extend(self.show(VERIFICATION, &[roc("pairs of test samples", &curve)])?);
        Ok(lines)
    }

    fn open_set(&self) -> Result<Vec<String>> {
        let dataset = &self.dataset;
        let unknown = match &self.args.unknown_data {
            Some(directory) => Samples::of_test_files(
                directory,
                self.job.recipe.shrink,
                dataset.train.image_size(),
                self.job.recipe.test_size,
            )
            .context("--unknown-data")?,
            None if dataset.unknown.len() == 0 => bail!(
                "--method open-set: this run left no class out; name unknown samples with --unknown-data, or train with \
                 --unknown-classes"
            ),
            None => dataset.unknown.clone(),
        };
        let [known, unknown, references] =
            [&dataset.test, &unknown, &dataset.train].map(|samples| self.embedding(samples));
        let (known, unknown, references) = (known?, unknown?, references?);
        let k = self.args.k;
        let found = detections(&self.model, &known, &unknown, &references, k, &self.device)
            .with_context(|| match k {
                Some(k) => format!("--k {k}"),
                None => "--method open-set".to_owned(),
            })?;
        let mut lines = vec![format!(
            "{}: {} test samples of {} known classes and {} unknown samples",
            self.title(),
            known.labels.len(),
            dataset.classes.len(),
            unknown.labels.len()
        )];
        let [score, auroc, open_auc, fpr] = ["known by", "AUROC", "OpenAUC", "FPR@95TPR"];
        lines.push(format!("{score:<20} {auroc:>7} {open_auc:>7} {fpr:>9}"));
        for detection in &found {
            let result = &detection.result;
            lines.push(format!(
                "{:<20} {:>7.4} {:>7.4} {:>9.4}",
                detection.score,
                result.auroc(),
                result.open_auc(),
                result.fpr_at_tpr(0.95)?
            ));
        }
        let curves: Vec<Roc> = found
            .iter()
            .map(|detection| roc(detection.score, detection.result.detection()))
            .collect();
        lines.extend(self.show(OPEN_SET, &curves)?);
        Ok(lines)
    }

    /// Draws `curves` into the directory of the run, writes its report anew, and says where both are.
    fn show(&self, kind: &str, curves: &[Roc]) -> Result<Vec<String>> {
        let path = draw_roc(kind, curves, &self.directory)?;
        let mut lines = vec![format!("Curve: {}", path.display())];
        if is_drawn(self.directory.path()) {
            let part = Part {
                job: &self.job,
                trained: &self.job.trained(&self.dataset, &self.directory)?,
                directory: &self.directory,
            };
            let report = write_report("LeNet++ on MNIST", None, &[part], &self.directory)?;
            lines.push(format!("Report: {}", report.display()));
        }
        Ok(lines)
    }
}

fn roc(name: &str, curve: &RocCurve) -> Roc {
    let point = |point: RocPoint| (point.false_accept_rate, point.true_accept_rate);
    Roc {
        name: format!("{name}, AUC {:.4}", curve.auc()),
        points: curve.points().map(point).collect(),
    }
}
