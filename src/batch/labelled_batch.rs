use burn::tensor::{Int, Tensor};

/// A labelled batch, with one weight per sample if there are weights.
///
/// A weight of 2 counts as having the sample twice, a weight of 0 as not having it. Every loss takes a
/// batch where it returns errors as values. A pair of features and labels converts into a batch.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - labels, weights: `[batch_size]`; labels are of any integer type
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterLossConfig, LabelledBatch};
///
/// let device = Device::flex().autodiff();
/// let loss = CenterLossConfig::new(2, 1).init_with_centers(Tensor::zeros([2, 1], &device))?;
/// let features = Tensor::<2>::from_data([[2.0], [4.0]], &device);
/// let labels = Tensor::from_data([0, 1], &device);
///
/// // (3 * 2^2 / 2 + 1 * 4^2 / 2) / (3 + 1)
/// let weights = Tensor::from_data([3.0, 1.0], &device);
/// let batch = LabelledBatch::new(features, labels).with_weights(weights);
/// assert_eq!(loss.try_forward(batch)?.into_scalar::<f32>(), 3.5);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabelledBatch {
    pub(crate) features: Tensor<2>,
    pub(crate) labels: Tensor<1, Int>,
    pub(crate) weights: Option<Tensor<1>>,
}

impl LabelledBatch {
    /// A batch in which every sample counts the same.
    pub fn new(features: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        Self {
            features,
            labels,
            weights: None,
        }
    }

    /// The same batch with one weight per sample, `[batch_size]`: 0, or in `1e-15..=1e15`.
    pub fn with_weights(self, weights: Tensor<1>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

impl From<(Tensor<2>, Tensor<1, Int>)> for LabelledBatch {
    fn from((features, labels): (Tensor<2>, Tensor<1, Int>)) -> Self {
        Self::new(features, labels)
    }
}
