//! The pictures of a training run: its feature maps and its curves.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn_center_loss::KnnMetric;

use crate::evaluate::Embedding;
use crate::interrupt;
use crate::plot::{Axes, Chart, FeatureMap, Projection, Series, charts, save_gif};
use crate::results::Row;
use crate::run::RunDirectory;
use crate::train::{EpochMetrics, Snapshot, Trained};

/// The two sets of samples that have feature maps.
pub const TRAIN: &str = "train";
pub const TEST: &str = "test";

/// The two kinds of ROC curves.
pub const VERIFICATION: &str = "verification";
pub const OPEN_SET: &str = "open-set";

const MAPS: &str = "maps";
/// The curves of a run, which are drawn last.
pub const CURVES: &str = "curves.png";

/// Where the feature map of `set` after `epoch` is, in the directory of a run.
pub fn map_path(run: &Path, set: &str, epoch: usize) -> PathBuf {
    run.join(MAPS).join(format!("{set}-{epoch:03}.png"))
}

/// Where the ROC curves of `kind` are, in the directory of a run that was evaluated.
pub fn roc_path(run: &Path, kind: &str) -> PathBuf {
    run.join(format!("roc-{kind}.png"))
}

/// Draws everything there is to see of a run, called `title` in the pictures, into its directory.
pub fn draw(title: &str, trained: &Trained, directory: &RunDirectory) -> Result<()> {
    let names: Vec<String> = trained.state.classes.names().map(str::to_owned).collect();
    let Some(last) = trained.snapshots.last() else {
        return Ok(());
    };
    // One view for all epochs: the one that shows the last of them best. And the same axes.
    let projection = Projection::fit(&last.train.features, last.train.feature_dim);
    let mut maps = Vec::new();
    for snapshot in &trained.snapshots {
        for (set, embedding) in [(TRAIN, &snapshot.train), (TEST, &snapshot.test)] {
            let accuracy = embedding.accuracy(&embedding.predictions);
            let epoch = snapshot.epoch;
            let title = format!("{title}, {set}, epoch {epoch}: class accuracy {accuracy:.4}");
            let map = feature_map(title, embedding, &names, snapshot, &projection);
            maps.push((set, epoch, map));
        }
    }
    let axes = Axes::around(maps.iter().map(|(_, _, map)| map));
    directory.folder(MAPS)?;
    let mut frames = Vec::new();
    for (set, epoch, map) in &maps {
        interrupt::check()?;
        let picture = map.draw(&axes)?;
        picture.save_png(&map_path(directory.path(), set, *epoch))?;
        if *set == TEST {
            frames.push(picture);
        }
    }
    save_gif(&frames, &directory.path().join("features.gif"))?;
    let picture = charts(&curves_of(&trained.state.history), (480, 360))?;
    picture.save_png(&directory.path().join(CURVES))
}

pub fn feature_map(
    title: String,
    embedding: &Embedding,
    names: &[String],
    snapshot: &Snapshot,
    projection: &Projection,
) -> FeatureMap {
    let points = |rows: &[f32]| {
        let rows = rows.chunks_exact(embedding.feature_dim);
        rows.map(|row| projection.point(row)).collect()
    };
    let is_angular = matches!(embedding.metric, KnnMetric::Cosine);
    let centers = snapshot.centers.as_deref().unwrap_or_default();
    let axes = match embedding.feature_dim {
        1 => ["feature".to_owned(), String::new()],
        2 => ["first", "second"].map(|which| format!("{which} feature")),
        n => {
            ["first", "second"].map(|which| format!("{which} principal component of {n} features"))
        }
    };
    FeatureMap {
        title,
        axes,
        points: points(&embedding.features),
        labels: embedding.labels.clone(),
        names: names.to_vec(),
        // Directions do not survive a projection.
        centers: match is_angular && embedding.feature_dim != 2 {
            true => Vec::new(),
            false => points(centers),
        },
        is_angular,
    }
}

/// The curves of a run: its losses and its accuracies.
pub fn curves_of(history: &[EpochMetrics]) -> [Chart; 2] {
    let series = |name: &str, value: fn(&EpochMetrics) -> Option<f64>| Series {
        name: name.to_owned(),
        points: history
            .iter()
            .filter_map(|it| Some((it.epoch as f64, value(it)?)))
            .collect(),
    };
    let losses = vec![series("train", |epoch| Some(epoch.train_loss))];
    let mut accuracies = vec![
        series("train, class", |epoch| Some(epoch.train_accuracy)),
        series("validation, class", |epoch| Some(epoch.validation.class)),
        series("test, class", |epoch| Some(epoch.test.class)),
        series("test, nearest center", |epoch| epoch.test.nearest_center),
    ];
    accuracies.retain(|series| !series.points.is_empty());
    [("loss", losses), ("accuracy", accuracies)].map(|(title, series)| Chart {
        title: title.to_owned(),
        axes: ["epoch", title].map(str::to_owned),
        series,
        is_roc: false,
    })
}

/// The lines below the map of a loss in a gallery.
pub fn gallery_lines(row: &Row) -> Vec<String> {
    let class = row.cell(4, |run| Some(run.scores.class));
    let center = row.cell(4, |run| run.scores.nearest_center);
    let neighbors = row.cell(4, |run| Some(run.scores.neighbors));
    let precision = row.cell(4, |run| run.separation.r_precision);
    let ratio = row.cell(1, |run| run.separation.ratio());
    vec![
        format!("class {class}"),
        format!("nearest center {center}, k-NN {neighbors}"),
        format!("R-precision {precision}, between/within {ratio}"),
    ]
}

/// Draws ROC curves of `kind` into the directory of a run, and says where they are.
pub fn draw_roc(kind: &str, series: Vec<Series>, directory: &RunDirectory) -> Result<PathBuf> {
    let (across, up) = match kind {
        OPEN_SET => ("unknown samples", "known samples"),
        _ => ("pairs of two classes", "pairs of one class"),
    };
    let taken_for = if kind == OPEN_SET { "known" } else { "one" };
    let path = roc_path(directory.path(), kind);
    let chart = Chart {
        title: String::new(),
        axes: [across, up].map(|what| format!("{what} taken for {taken_for}")),
        series,
        is_roc: true,
    };
    charts(&[chart], (520, 540))?.save_png(&path)?;
    Ok(path)
}
