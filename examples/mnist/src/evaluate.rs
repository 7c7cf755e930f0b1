//! What a trained network makes of a set of samples, and how much of it is right.

use anyhow::{Result, ensure};
use burn::tensor::Device;

use crate::data::Samples;
use crate::model::LeNetPlusPlus;

/// Large enough to keep a GPU busy, small enough for the maps of the first block to stay in a few dozen megabytes.
const BATCH_SIZE: usize = 200;

/// The features of a set of samples, and the classes that the class layer predicts from them.
pub struct Embedding {
    /// Row by row, `[len, feature_dim]`.
    pub features: Vec<f32>,
    pub feature_dim: usize,
    pub labels: Vec<u8>,
    pub predictions: Vec<usize>,
}

impl Embedding {
    /// `network` and `device` are not in autodiff mode.
    pub fn of(samples: &Samples, network: &LeNetPlusPlus, device: &Device) -> Result<Self> {
        let mut embedding = Self {
            features: Vec::new(),
            feature_dim: 0,
            labels: samples.labels().to_vec(),
            predictions: Vec::with_capacity(samples.len()),
        };
        let indices = Vec::from_iter(0..samples.len());
        for batch in indices.chunks(BATCH_SIZE) {
            let output = network.forward(samples.images_at(batch, device));
            let [_, feature_dim] = output.features.dims();
            embedding.feature_dim = feature_dim;
            let predictions = output.logits.argmax(1).try_into_vec_as::<i64>()?;
            embedding
                .predictions
                .extend(predictions.into_iter().map(|class| class as usize));
            embedding
                .features
                .extend(output.features.try_into_vec_as::<f32>()?);
        }
        ensure!(
            embedding.features.iter().all(|value| value.is_finite()),
            "the network's features are not finite: its training diverged; try a smaller --lr"
        );
        Ok(embedding)
    }

    /// The features, sample by sample.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.features.chunks_exact(self.feature_dim)
    }

    /// The accuracy of the class layer.
    pub fn class_accuracy(&self) -> f64 {
        accuracy(&self.labels, &self.predictions)
    }
}

/// The part of `predictions` that equals `labels`.
pub fn accuracy(labels: &[u8], predictions: &[usize]) -> f64 {
    let right = labels
        .iter()
        .zip(predictions)
        .filter(|&(&label, &prediction)| usize::from(label) == prediction)
        .count();
    right as f64 / labels.len() as f64
}
