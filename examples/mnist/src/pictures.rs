//! The pictures of a training run, its feature maps and its curves, and the gallery of a comparison.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::evaluate::{Embedding, Separation};
use crate::interrupt;
use crate::plot::{
    Axes, Curves, FeatureMap, Panel, Projection, Roc, Series, curves, gallery, roc, save_gif,
};
use crate::recipe::Loss;
use crate::results::Table;
use crate::run::{self, RunDirectory};
use crate::train::{EpochMetrics, Snapshot, Trained};

/// The two sets of samples that have feature maps.
pub const TRAIN: &str = "train";
pub const TEST: &str = "test";

const MAPS: &str = "maps";
const CURVES: &str = "curves.png";
/// The feature maps of the test samples, epoch by epoch.
const ANIMATION: &str = "features.gif";

/// The two kinds of ROC curves.
pub const VERIFICATION: &str = "verification";
pub const OPEN_SET: &str = "open-set";

/// The feature maps of a gallery, side by side.
const GALLERY: &str = "gallery.png";

/// Where the gallery is, in the directory of a comparison.
pub fn gallery_path(run: &Path) -> PathBuf {
    run.join(GALLERY)
}

/// Where the feature map of `set` after `epoch` is, in the directory of a run.
pub fn map_path(run: &Path, set: &str, epoch: usize) -> PathBuf {
    run.join(MAPS).join(map_name(set, epoch))
}

/// Where the ROC curves of `kind` are, in the directory of a run that was evaluated.
pub fn roc_path(run: &Path, kind: &str) -> PathBuf {
    run.join(format!("roc-{kind}.png"))
}

/// Whether the pictures of the run in `run` are there: the curves come last.
pub fn is_drawn(run: &Path) -> bool {
    run.join(CURVES).exists()
}

fn map_name(set: &str, epoch: usize) -> String {
    format!("{set}-{epoch:03}.png")
}

/// Draws everything there is to see of a run, called `title` in the pictures, into its directory.
pub fn draw(title: &str, trained: &Trained, directory: &RunDirectory) -> Result<()> {
    let names: Vec<String> = trained.state.classes.names().map(str::to_owned).collect();
    draw_maps(title, &trained.snapshots, &names, directory)?;
    let picture = curves(&curves_of(&trained.state.history))?;
    run::before_write();
    picture.save_png(&directory.path().join(CURVES))
}

/// One feature map for each epoch and set of samples, all with the same axes.
fn draw_maps(
    title: &str,
    snapshots: &[Snapshot],
    names: &[String],
    directory: &RunDirectory,
) -> Result<()> {
    let Some(last) = snapshots.last() else {
        return Ok(());
    };
    // One view for all epochs: the one that shows the last of them best.
    let projection = Projection::fit(&last.train.features, last.train.feature_dim);
    let maps: Vec<(&str, usize, FeatureMap)> = snapshots
        .iter()
        .flat_map(|snapshot| {
            [(TRAIN, &snapshot.train), (TEST, &snapshot.test)].map(|(set, embedding)| {
                let accuracy = embedding.accuracy(&embedding.predictions);
                let epoch = snapshot.epoch;
                let title = format!("{title}, {set}, epoch {epoch}: class accuracy {accuracy:.4}");
                let centers = snapshot.centers.as_deref().unwrap_or_default();
                let map = feature_map(title, embedding, names, centers, &projection);
                (set, snapshot.epoch, map)
            })
        })
        .collect();
    let axes = Axes::around(maps.iter().map(|(_, _, map)| map));
    let maps_directory = directory.part(MAPS)?;
    let mut frames = Vec::new();
    for (set, epoch, map) in &maps {
        interrupt::check()?;
        let picture = map.draw(&axes)?;
        run::before_write();
        picture.save_png(&maps_directory.path().join(map_name(set, *epoch)))?;
        if *set == TEST {
            frames.push(picture);
        }
    }
    run::before_write();
    save_gif(&frames, &directory.path().join(ANIMATION))
}

fn feature_map(
    title: String,
    embedding: &Embedding,
    names: &[String],
    centers: &[f32],
    projection: &Projection,
) -> FeatureMap {
    let points = |rows: &[f32]| {
        rows.chunks_exact(embedding.feature_dim)
            .map(|row| projection.point(row))
            .collect()
    };
    FeatureMap {
        title,
        points: points(&embedding.features),
        labels: embedding.labels.clone(),
        names: names.to_vec(),
        centers: points(centers),
    }
}

/// The curves of a run: its losses and its accuracies.
pub fn curves_of(history: &[EpochMetrics]) -> [Curves; 2] {
    let series = |name: &str, value: fn(&EpochMetrics) -> f64| Series {
        name: name.to_owned(),
        values: history.iter().map(value).collect(),
    };
    let losses = vec![series("train", |epoch| epoch.train_loss)];
    let mut accuracies = vec![
        series("train, class", |epoch| epoch.train_accuracy),
        series("validation, class", |epoch| epoch.validation.class),
        series("test, class", |epoch| epoch.test.class),
    ];
    let nearest_center: Option<Vec<f64>> = history
        .iter()
        .map(|epoch| epoch.test.nearest_center)
        .collect();
    if let Some(values) = nearest_center {
        accuracies.push(Series {
            name: "test, nearest center".to_owned(),
            values,
        });
    }
    [("loss", losses), ("accuracy", accuracies)].map(|(title, series)| Curves { title, series })
}

/// Draws the test samples of the first seed of every loss, with the row of the table below each.
pub fn draw_gallery(
    table: &Table,
    runs: &[(Loss, &Trained)],
    directory: &RunDirectory,
) -> Result<()> {
    let names: Vec<String> = table.classes.names().map(str::to_owned).collect();
    let mut panels = Vec::new();
    for row in &table.rows {
        let run = runs.iter().find(|(loss, _)| *loss == row.loss);
        let Some(snapshot) = run.and_then(|(_, trained)| table.select.snapshot(trained)) else {
            continue;
        };
        let projection = Projection::fit(&snapshot.train.features, snapshot.train.feature_dim);
        let centers = snapshot.centers.as_deref().unwrap_or_default();
        let name = row.loss.name().to_owned();
        panels.push(Panel {
            map: feature_map(name, &snapshot.test, &names, centers, &projection),
            lines: vec![
                format!("class {}", row.accuracy(|scores| Some(scores.class))),
                format!(
                    "center {}, k-NN {}",
                    row.accuracy(|scores| scores.nearest_center),
                    row.accuracy(|scores| Some(scores.neighbors))
                ),
                format!(
                    "R-precision {}, between/within {}",
                    row.separation(|separation| separation.r_precision, 4),
                    row.separation(Separation::ratio, 1)
                ),
            ],
        });
    }
    let picture = gallery(&panels)?;
    run::before_write();
    picture.save_png(&gallery_path(directory.path()))
}

/// Draws ROC curves of `kind` into the directory of a run, and says where they are.
pub fn draw_roc(kind: &str, curves: &[Roc], directory: &RunDirectory) -> Result<PathBuf> {
    let [false_rate, true_rate] = match kind {
        OPEN_SET => [
            "unknown samples taken for known",
            "known samples taken for known",
        ],
        _ => [
            "pairs of two classes taken for one",
            "pairs of one class taken for one",
        ],
    };
    let path = roc_path(directory.path(), kind);
    let picture = roc(curves, false_rate, true_rate)?;
    run::before_write();
    picture.save_png(&path)?;
    Ok(path)
}
