//! The pictures of a training run: its feature maps and its curves.

use anyhow::Result;

use crate::evaluate::Embedding;
use crate::plot::{Axes, FeatureMap, Projection, Series, curves};
use crate::run::RunDirectory;
use crate::train::{EpochMetrics, Snapshot, Trained};

/// Draws everything there is to see of a run, called `title` in the pictures, into its directory.
pub fn draw(title: &str, trained: &Trained, directory: &RunDirectory) -> Result<()> {
    draw_maps(title, &trained.snapshots, directory)?;
    draw_curves(&trained.state.history, directory)
}

/// One feature map for each epoch and set of samples, all with the same axes.
fn draw_maps(title: &str, snapshots: &[Snapshot], directory: &RunDirectory) -> Result<()> {
    let Some(last) = snapshots.last() else {
        return Ok(());
    };
    // One view for all epochs: the one that shows the last of them best.
    let projection = Projection::fit(&last.train.features, last.train.feature_dim);
    let maps: Vec<(String, FeatureMap)> = snapshots
        .iter()
        .flat_map(|snapshot| {
            [("train", &snapshot.train), ("test", &snapshot.test)].map(|(set, embedding)| {
                let name = format!("{set}-{:03}.png", snapshot.epoch);
                let title = format!("{title}, {set}, epoch {}", snapshot.epoch);
                let centers = snapshot.centers.as_deref().unwrap_or_default();
                (name, feature_map(title, embedding, centers, &projection))
            })
        })
        .collect();
    let axes = Axes::around(maps.iter().map(|(_, map)| map));
    let maps_directory = directory.part("maps")?;
    for (name, map) in &maps {
        map.draw(&axes)?
            .save_png(&maps_directory.path().join(name))?;
    }
    Ok(())
}

fn feature_map(
    title: String,
    embedding: &Embedding,
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
        centers: points(centers),
    }
}

fn draw_curves(history: &[EpochMetrics], directory: &RunDirectory) -> Result<()> {
    let series = |name: &str, value: fn(&EpochMetrics) -> f64| Series {
        name: name.to_owned(),
        values: history.iter().map(value).collect(),
    };
    let losses = [series("train", |epoch| epoch.train_loss)];
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
    curves(&losses, &accuracies)?.save_png(&directory.path().join("curves.png"))
}
