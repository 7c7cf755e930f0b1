//! The pictures of a training run: its feature maps and its curves.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::evaluate::Embedding;
use crate::interrupt;
use crate::plot::{Axes, Curves, FeatureMap, Projection, Series, curves, save_gif};
use crate::run::{self, RunDirectory};
use crate::train::{EpochMetrics, Snapshot, Trained};

/// The two sets of samples that have feature maps.
pub const TRAIN: &str = "train";
pub const TEST: &str = "test";

const MAPS: &str = "maps";
const CURVES: &str = "curves.png";
/// The feature maps of the test samples, epoch by epoch.
const ANIMATION: &str = "features.gif";

/// Where the feature map of `set` after `epoch` is, in the directory of a run.
pub fn map_path(run: &Path, set: &str, epoch: usize) -> PathBuf {
    run.join(MAPS).join(map_name(set, epoch))
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
                let title = format!("{title}, {set}, epoch {}", snapshot.epoch);
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
    let accuracy = embedding.accuracy(&embedding.predictions);
    FeatureMap {
        title: format!("{title}: class accuracy {accuracy:.4}"),
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
