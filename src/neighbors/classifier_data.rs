//! What is stored of a k-NN classifier.

use super::config::KnnClassifierConfig;
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};

/// All that makes up a [`KnnClassifier`](crate::KnnClassifier), to be stored in any format of serde.
///
/// [`KnnClassifier::to_data`](crate::KnnClassifier::to_data) makes it,
/// [`KnnClassifier::from_data`](crate::KnnClassifier::from_data) takes it. It holds the configuration, the references
/// as the metric compares them, and the labels in their integer type. The search structure is not stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnnClassifierData {
    pub(crate) config: KnnClassifierConfig,
    /// `[num_references, feature_dim]`: rows of unit length under `Cosine`.
    pub(crate) references: TensorData,
    /// `[num_references]`
    pub(crate) labels: TensorData,
}
