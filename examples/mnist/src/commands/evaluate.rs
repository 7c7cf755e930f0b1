//! The command `evaluate`.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use burn_center_loss::evaluation::{OpenSet, RetrievalConfig, RetrievalSet, RocCurve, RocPoint};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::{EvaluateArgs, Method};
use crate::data::{Dataset, Samples, unknown_samples};
use crate::evaluate::{
    Confusion, DEFAULT_K, Embedding, classes, detections, pairs, verification_lines,
};
use crate::network::Model;
use crate::pictures;
use crate::report::{OPEN_SET, Part, VERIFICATION, roc_path, write_report};
use crate::run::{self, RunDirectory};
use crate::terminal::{columns, print};
use crate::train::{TRAIN, TrainingJob};

/// At most how many test samples are paired: 2000 make two million pairs.
const PAIRED_SAMPLES: usize = 2000;

/// ROC points nearer to the last one than this part of both axes are left out.
const RESOLUTION: f64 = 1e-3;

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
    let takes_k = [Method::Knn, Method::Retrieval, Method::OpenSet].contains(&args.method);
    ensure!(
        args.k.is_none() || takes_k,
        "--k: has no effect without --method knn, retrieval or open-set"
    );
    ensure!(
        args.unknown_data.is_none() || args.method == Method::OpenSet,
        "--unknown-data: has no effect without --method open-set"
    );
    let directory = RunDirectory::open(&args.run).context("--run")?;
    let job: TrainingJob = directory.job(TRAIN).context("--run")?;
    let device = args.device.open()?.device;
    // Beside `--unknown-data`, `--split` and `--transpose` are about it.
    let source = match args.unknown_data {
        Some(_) => args.data.moved(&job.provenance.data)?,
        None => args.data.in_place_of(&job.provenance.data)?,
    };
    let dataset = job.dataset(&source)?;
    let (epoch, model) = job
        .trained_model(&dataset, directory.path(), &device)
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
    match args.method {
        Method::Class | Method::NearestCenter | Method::Knn => evaluation.accuracy(),
        Method::Retrieval => evaluation.retrieval(),
        Method::Verification => evaluation.verification(),
        Method::OpenSet => evaluation.open_set(),
    }
}

impl Evaluation<'_> {
    fn embedding(&self, samples: &Samples) -> Result<Embedding> {
        Embedding::of(samples, &self.model, &self.device)
    }

    /// The beginning of what is printed.
    fn title(&self) -> String {
        format!("{}, epoch {}", self.job.recipe.loss.name(), self.epoch)
    }

    fn accuracy(&self) -> Result<()> {
        let test = self.embedding(&self.dataset.test)?;
        let (method, predictions) = match self.args.method {
            Method::NearestCenter => {
                let centers = self.model.objective.nearest_center()?.context(
                    "--method nearest-center: this run was trained without center loss and has no centers; use class or knn",
                )?;
                let predictions = centers.predict(test.features_on(&self.device))?;
                ("nearest center".to_owned(), classes(predictions)?)
            }
            Method::Knn => {
                let references = self.embedding(&self.dataset.train)?;
                let count = references.labels.len();
                let k = self.args.k.unwrap_or(DEFAULT_K.min(count));
                let classifier = references.classifier(k, &self.device);
                let classifier = classifier.with_context(|| format!("--k {k}"))?;
                let predictions = classifier.predict(test.features_on(&self.device))?;
                let method = format!("{k} nearest of {count} training samples");
                (method, classes(predictions)?)
            }
            _ => ("class layer".to_owned(), test.predictions.clone()),
        };
        let confusion = Confusion::of(&test.labels, &predictions, &self.dataset.classes);
        print(format_args!(
            "{}, by {method}: accuracy {:.4} on {} test samples\n\n{}\n",
            self.title(),
            test.accuracy(&predictions),
            test.labels.len(),
            confusion.text()
        ))?;

        let method = self.args.method.to_possible_value();
        let method = method.expect("no method is hidden").get_name().to_owned();
        let name = format!("confusion-{method}.csv");
        let path = self.directory.path().join(name);
        run::write(&path, confusion.csv().as_bytes())?;
        print(format_args!("The whole matrix: {}", path.display()))
    }

    fn retrieval(&self) -> Result<()> {
        let test = self.embedding(&self.dataset.test)?;
        let set = RetrievalSet::new(test.features_on(&self.device), test.labels_on(&self.device));
        let count = test.labels.len();
        ensure!(
            count > 1,
            "--method retrieval: there is only one test sample"
        );
        let k = self.args.k.unwrap_or(DEFAULT_K.min(count - 1));
        let report = RetrievalConfig::new()
            .with_metric(test.metric)
            .with_ks(vec![1, k])
            .evaluate(&set)
            .with_context(|| format!("--k {k}"))?;
        let matched = report.queries_with_match();
        ensure!(
            matched > 0,
            "--method retrieval: no class has two test samples"
        );
        print(format_args!(
            "{}: each of {count} test samples against the others, by {} distance\n{}",
            self.title(),
            test.metric_name(),
            // One value a line.
            report.to_string().replace(", ", "\n")
        ))
    }

    fn verification(&self) -> Result<()> {
        let test = self.embedding(&self.dataset.test.first(PAIRED_SAMPLES))?;
        let curve = pairs(&test, &self.device).context("--method verification")?;
        print(format_args!(
            "{}: all pairs of {} test samples, {} of one class and {} of different classes, by {} distance\n{}",
            self.title(),
            test.labels.len(),
            curve.genuine(),
            curve.impostors(),
            test.metric_name(),
            verification_lines(&curve)?
        ))?;
        let chart = json!({
            "title": "Verification: are two test samples of one class?",
            "axes": ["pairs of two classes taken for one", "pairs of one class taken for one"],
            "series": [roc("pairs of test samples", &curve)],
        });
        self.show(VERIFICATION, &chart)
    }

    fn open_set(&self) -> Result<()> {
        let dataset = &self.dataset;
        let unknown = match &self.args.unknown_data {
            Some(directory) => {
                let source = self.args.data.at(directory);
                unknown_samples(&source, &self.job.recipe, self.job.image_size)
                    .context("--unknown-data")?
            }
            None if dataset.unknown.len() == 0 => bail!(
                "--method open-set: this run left no class out; name unknown samples with --unknown-data, or train with \
                 --unknown-classes"
            ),
            None => dataset.unknown.clone(),
        };
        let sets = [&dataset.test, &unknown, &dataset.train];
        let k = self.args.k.unwrap_or(DEFAULT_K.min(sets[2].len()));
        let found = detections(&self.model, sets, k, &self.device)
            .with_context(|| format!("--method open-set --k {k}"))?;
        let head = ["known by", "AUROC", "OpenAUC", "FPR@95TPR"];
        let mut cells = vec![head.map(str::to_owned).to_vec()];
        for (score, result) in &found {
            let values = [result.auroc(), result.open_auc(), result.fpr_at_tpr(0.95)?];
            let values = values.map(|value| format!("{value:.4}"));
            cells.push([vec![(*score).to_owned()], values.to_vec()].concat());
        }
        print(format_args!(
            "{}: {} test samples of {} known classes and {} unknown samples\n{}",
            self.title(),
            dataset.test.len(),
            dataset.classes.len(),
            unknown.len(),
            columns(&cells)
        ))?;
        let curve = |(score, result): &(&str, OpenSet)| roc(score, result.detection());
        let chart = json!({
            "title": "Open set: is a sample of a class that was trained?",
            "axes": ["unknown samples taken for known", "known samples taken for known"],
            "series": Vec::from_iter(found.iter().map(curve)),
        });
        self.show(OPEN_SET, &chart)
    }

    /// Adds the ROC curves of `kind` to the run and its report, and says where that is.
    fn show(&self, kind: &str, chart: &Value) -> Result<()> {
        let run = self.directory.path().to_owned();
        run::write_json(&roc_path(&run, kind), chart)?;
        let trained = self.job.trained(&self.dataset, &self.directory)?;
        let part = Part {
            job: self.job.clone(),
            maps: pictures::maps(&self.job.recipe.loss.name(), &trained)?,
            trained,
            run,
        };
        let report = write_report(&self.job.provenance.data, None, &[part], &self.directory)?;
        print(format_args!("Report: {}", report.display()))
    }
}

/// The curve as a line of a chart, with the points that can be told apart, and the last one.
fn roc(name: &str, curve: &RocCurve) -> Value {
    let point = |point: RocPoint| [point.false_accept_rate, point.true_accept_rate];
    let all = Vec::from_iter(curve.points().map(point));
    let mut points = all.clone();
    points.dedup_by(|next, last| (0..2).all(|axis| (next[axis] - last[axis]).abs() < RESOLUTION));
    points.extend(all.last());
    json!({ "name": format!("{name}, AUC {:.4}", curve.auc()), "points": points })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends() {
        let scores = Vec::from_iter((0..20_000).map(f64::from));
        let same = Vec::from_iter((0..20_000).map(|index| index % 2 == 0));
        let line = roc("pairs", &RocCurve::new(&scores, &same).unwrap());
        let points = line["points"].as_array().unwrap();
        assert!(points.len() < 1200, "{}", points.len());
        let ends = [&points[0], &points[points.len() - 1]];
        assert_eq!(ends, [&json!([0.0, 0.0]), &json!([1.0, 1.0])]);
    }
}
