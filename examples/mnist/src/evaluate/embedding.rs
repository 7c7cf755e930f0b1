//! The features of a set of samples, and what is predicted from them.

use std::fmt;

use anyhow::{Result, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_center_loss::{KnnClassifier, KnnClassifierConfig, KnnMetric, NearestCenter};
use serde::{Deserialize, Serialize};

use crate::data::Samples;
use crate::interrupt;
use crate::network::Model;

/// Neighbors that vote, where the number was not asked for; fewer where there are fewer references.
pub const DEFAULT_K: usize = 5;

/// Large enough to keep a GPU busy, small enough for the maps of the first block to stay in a few dozen megabytes.
const BATCH_SIZE: usize = 200;

/// The features of a set of samples, and the classes that the class layer predicts from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Row by row, `[len, feature_dim]`.
    pub features: Vec<f32>,
    pub feature_dim: usize,
    /// How features of this loss are compared.
    pub metric: KnnMetric,
    pub labels: Vec<u8>,
    pub predictions: Vec<usize>,
}

impl Embedding {
    /// `model` and `device` are not in autodiff mode.
    pub fn of(samples: &Samples, model: &Model, device: &Device) -> Result<Self> {
        let mut embedding = Self {
            features: Vec::new(),
            feature_dim: 0,
            metric: model.objective.metric(),
            labels: samples.labels.clone(),
            predictions: Vec::with_capacity(samples.len()),
        };
        let indices = Vec::from_iter(0..samples.len());
        for batch in indices.chunks(BATCH_SIZE) {
            interrupt::check()?;
            let features = model.network.forward(samples.images_at(batch, device));
            let logits = model.objective.logits(features.clone())?;
            let predictions = classes(logits.argmax(1).flatten(0, 1))?;
            embedding.predictions.extend(predictions);
            embedding.feature_dim = features.dims()[1];
            embedding
                .features
                .extend(features.try_into_vec_as::<f32>()?);
        }
        ensure!(
            embedding.features.iter().all(|value| value.is_finite()),
            "the network's features are not finite: its training diverged; try a smaller --lr"
        );
        Ok(embedding)
    }

    /// What features are compared by, for people.
    pub fn metric_name(&self) -> &'static str {
        match self.metric {
            KnnMetric::Cosine => "cosine",
            _ => "Euclidean",
        }
    }

    pub fn features_on(&self, device: &Device) -> Tensor<2> {
        let shape = [self.labels.len(), self.feature_dim];
        Tensor::from_data(TensorData::new(self.features.clone(), shape), device)
    }

    pub fn labels_on(&self, device: &Device) -> Tensor<1, Int> {
        let labels: Vec<i32> = self.labels.iter().map(|&label| i32::from(label)).collect();
        Tensor::from_data(labels.as_slice(), device)
    }

    /// The classifier by the `k` nearest of these samples.
    pub fn classifier(&self, k: usize, device: &Device) -> Result<KnnClassifier> {
        let config = KnnClassifierConfig::new(k).with_metric(self.metric);
        Ok(config.fit(self.features_on(device), self.labels_on(device))?)
    }

    /// The part of `predictions` that is right.
    pub fn accuracy(&self, predictions: &[usize]) -> f64 {
        let hits = self.hits(predictions);
        hits.iter().filter(|&&hit| hit).count() as f64 / hits.len() as f64
    }

    /// Which of `predictions` are right.
    pub fn hits(&self, predictions: &[usize]) -> Vec<bool> {
        let labels = self.labels.iter().map(|&label| usize::from(label));
        let pairs = labels.zip(predictions);
        pairs.map(|(label, &class)| label == class).collect()
    }

    /// The accuracies of all methods, with neighbors among `references`.
    pub fn scores(
        &self,
        centers: Option<&NearestCenter>,
        references: &Self,
        device: &Device,
    ) -> Result<Scores> {
        let (features, labels) = (self.features_on(device), self.labels_on(device));
        let neighbors = references.classifier(DEFAULT_K.min(references.labels.len()), device)?;
        let nearest_center = |by: &NearestCenter| by.score(features.clone(), labels.clone());
        let nearest_center = centers.map(nearest_center).transpose()?;
        Ok(Scores {
            class: self.accuracy(&self.predictions),
            nearest_center,
            neighbors: neighbors.score(features, labels)?,
        })
    }

    /// The first `count` samples, or all if there are fewer.
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.labels.len());
        Self {
            features: self.features[..count * self.feature_dim].to_vec(),
            labels: self.labels[..count].to_vec(),
            predictions: self.predictions[..count].to_vec(),
            ..*self
        }
    }
}

/// The predictions of a classifier on the host.
pub fn classes(predictions: Tensor<1, Int>) -> Result<Vec<usize>> {
    let classes = predictions.try_into_vec_as::<i64>()?.into_iter();
    Ok(classes.map(|class| class as usize).collect())
}

/// The accuracies on a set of samples, by method.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    pub class: f64,
    /// `None` without centers.
    pub nearest_center: Option<f64>,
    pub neighbors: f64,
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {:.4}", self.class)?;
        match self.nearest_center {
            Some(nearest_center) => write!(f, ", nearest center {nearest_center:.4}"),
            None => Ok(()),
        }
    }
}
