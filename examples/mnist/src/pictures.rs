//! The pictures of a training run: its feature maps.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use burn_center_loss::KnnMetric;
use resvg::tiny_skia::Pixmap;

use crate::data::Classes;
use crate::evaluate::Embedding;
use crate::interrupt;
use crate::plot::{Axes, FeatureMap, Projection, pixmap};
use crate::results::Row;
use crate::run::{RunDirectory, before_write};
use crate::train::{Snapshot, Trained};

/// The set of samples that is shown first.
const TEST: &str = "test";

/// Feature maps as SVG, with their sets and epochs.
pub type Maps = Vec<(&'static str, usize, String)>;

/// The feature maps of a run, called `title`.
pub fn maps(title: &str, trained: &Trained) -> Result<Maps> {
    // One view for all epochs: the one that shows the last of them best. And the same axes.
    let last = trained.snapshots.last().context("no epoch was trained")?;
    let projection = Projection::fit(&last.train.features, last.train.feature_dim);
    let (mut maps, classes) = (Vec::new(), &trained.state.classes);
    for set in [TEST, "train"] {
        for snapshot in &trained.snapshots {
            let embedding = if set == TEST {
                &snapshot.test
            } else {
                &snapshot.train
            };
            let (epoch, accuracy) = (snapshot.epoch, embedding.accuracy(&embedding.predictions));
            let title = format!("{title}, {set}, epoch {epoch}: class accuracy {accuracy:.4}");
            let map = feature_map(title, embedding, classes, snapshot, &projection);
            maps.push((set, epoch, map));
        }
    }
    let axes = Axes::around(maps.iter().map(|(_, _, map)| map));
    let draw = |(set, epoch, map): &(_, _, FeatureMap)| Ok((*set, *epoch, map.draw(&axes)?));
    maps.iter().map(draw).collect()
}

/// Draws the feature maps of a run into its directory.
pub fn draw(maps: &Maps, directory: &RunDirectory) -> Result<()> {
    let folder = directory.folder("maps")?;
    let mut frames = Vec::new();
    for (set, epoch, map) in maps {
        interrupt::check()?;
        let picture = save_png(map, &folder.join(format!("{set}-{epoch:03}.png")))?;
        if *set == TEST {
            frames.push(picture);
        }
    }
    save(&directory.path().join("features.gif"), &animation(frames)?)
}

/// The map of the test samples of one snapshot, with axes of its own, as a panel of a gallery.
pub fn panel(row: &Row, classes: &Classes, snapshot: &Snapshot) -> (FeatureMap, Vec<String>) {
    let projection = Projection::fit(&snapshot.train.features, snapshot.train.feature_dim);
    let map = feature_map(
        row.loss.name(),
        &snapshot.test,
        classes,
        snapshot,
        &projection,
    );
    (map, gallery_lines(row).to_vec())
}

/// The lines below the map of a loss.
pub fn gallery_lines(row: &Row) -> [String; 3] {
    let class = row.cell(4, |run| Some(run.scores.class));
    let center = row.cell(4, |run| run.scores.nearest_center);
    let neighbors = row.cell(4, |run| Some(run.scores.neighbors));
    let precision = row.cell(4, |run| run.separation.r_precision);
    let ratio = row.cell(1, |run| run.separation.ratio());
    [
        format!("class {class}"),
        format!("nearest center {center}, k-NN {neighbors}"),
        format!("R-precision {precision}, between/within {ratio}"),
    ]
}

fn feature_map(
    title: String,
    embedding: &Embedding,
    classes: &Classes,
    snapshot: &Snapshot,
    projection: &Projection,
) -> FeatureMap {
    let points = |rows: &[f32]| {
        let rows = rows.chunks_exact(embedding.feature_dim);
        rows.map(|row| projection.point(row)).collect()
    };
    let is_angular = matches!(embedding.metric, KnnMetric::Cosine);
    let axis = |which: &str| match embedding.feature_dim {
        2 => format!("{which} feature"),
        n => format!("{which} principal component of {n} features"),
    };
    FeatureMap {
        title,
        axes: match embedding.feature_dim {
            1 => ["feature", ""].map(str::to_owned),
            _ => ["first", "second"].map(axis),
        },
        points: points(&embedding.features),
        labels: embedding.labels.clone(),
        names: classes.names().map(str::to_owned).collect(),
        // Directions do not survive a projection.
        centers: match is_angular && embedding.feature_dim != 2 {
            true => Vec::new(),
            false => points(snapshot.centers.as_deref().unwrap_or_default()),
        },
        is_angular,
    }
}

/// A GIF that shows `frames` of one size, at least one, one after the other, the last one longest, over and over.
fn animation(frames: Vec<Pixmap>) -> Result<Vec<u8>> {
    /// In hundredths of a second.
    const DELAY: u16 = 60;
    const LAST_DELAY: u16 = 240;
    /// Of the choice of a frame's colours: 1 is best and slowest, 30 fastest.
    const SPEED: i32 = 10;

    let (width, height) = (frames[0].width() as u16, frames[0].height() as u16);
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[])?;
    encoder.set_repeat(gif::Repeat::Infinite)?;
    let last = frames.len() - 1;
    for (index, mut picture) in frames.into_iter().enumerate() {
        let mut frame = gif::Frame::from_rgba_speed(width, height, picture.data_mut(), SPEED);
        frame.delay = if index == last { LAST_DELAY } else { DELAY };
        encoder.write_frame(&frame)?;
    }
    drop(encoder);
    Ok(bytes)
}

/// Draws `svg` into the file `path`.
pub fn save_png(svg: &str, path: &Path) -> Result<Pixmap> {
    let picture = pixmap(svg)?;
    save(path, &picture.encode_png()?)?;
    Ok(picture)
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    before_write();
    fs::write(path, bytes).with_context(|| format!("{}: cannot be written", path.display()))
}
