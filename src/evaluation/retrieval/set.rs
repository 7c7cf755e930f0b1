//! Labelled features that take part in a retrieval.

use burn::tensor::{Int, Tensor};

/// Features, their labels and, where there is one, a second key.
///
/// A reference with the label and the key of a query is left out for this query. In re-identification the key is the
/// camera: to find a person again in the same camera's next picture is no achievement.
///
/// # Shapes
///
/// - features: `[num_samples, feature_dim]`
/// - labels, keys: `[num_samples]`, any integers of any integer type
#[derive(Clone, Debug)]
pub struct RetrievalSet {
    pub(super) features: Tensor<2>,
    pub(super) labels: Tensor<1, Int>,
    pub(super) keys: Option<Tensor<1, Int>>,
}

impl RetrievalSet {
    /// Features and their labels.
    pub fn new(features: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        Self {
            features,
            labels,
            keys: None,
        }
    }

    /// The same with a second key for each feature.
    pub fn with_keys(mut self, keys: Tensor<1, Int>) -> Self {
        self.keys = Some(keys);
        self
    }
}
