use alloc::vec;

use super::error::CenterLossError;
use crate::centers::Pulls;

/// What a batch would do to the centers, as a value.
///
/// Updates that were measured against the same centers [merge](Self::merge) into the update of the
/// whole batch, up to the order of float additions, with sample weights and ignored labels too. An
/// update holds `O(batch_size * feature_dim)` values however many classes there are, and none of them
/// belongs to an autodiff graph.
///
/// This is the low-level way. For gradient accumulation and several devices, choose
/// [`UpdateTiming::OnStep`](crate::UpdateTiming::OnStep) and
/// [`CenterLoss::apply_pending`](crate::CenterLoss::apply_pending).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor, Tolerance};
/// use burn_center_loss::CenterLossConfig;
///
/// let device = Device::flex();
/// let features = Tensor::<2>::from_data([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [5.0, 5.0]], &device);
/// let labels = Tensor::from_data([0, 0, 1, 0], &device);
/// let config = CenterLossConfig::new(3, 2);
///
/// let whole = config.init_with_centers(Tensor::zeros([3, 2], &device))?;
/// let (_, update) = whole.measure((features.clone(), labels.clone()))?;
/// whole.apply(update)?;
///
/// let parts = config.init_with_centers(Tensor::zeros([3, 2], &device))?;
/// let (_, first) = parts.measure((features.clone().slice(0..2), labels.clone().slice(0..2)))?;
/// let (_, second) = parts.measure((features.slice(2..4), labels.slice(2..4)))?;
/// parts.apply(first.merge(second)?)?;
///
/// let tolerance = Tolerance::<f32>::default();
/// parts.centers().into_data().assert_approx_eq(&whole.centers().into_data(), tolerance);
/// # Ok::<(), burn_center_loss::CenterLossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CenterUpdate {
    pub(super) pulls: Pulls,
}

impl CenterUpdate {
    /// The width of the features that it was measured on.
    pub fn feature_dim(&self) -> usize {
        self.pulls.feature_dim()
    }

    /// The number of classes of the loss that measured it: an upper bound of the classes it names.
    pub fn num_classes(&self) -> usize {
        self.pulls.num_classes
    }

    /// The update of both batches together, on the device of this one.
    ///
    /// Under strict checking the result has at most one entry per class. Under deferred checking it
    /// grows with every batch.
    ///
    /// # Errors
    ///
    /// [`CentersError`](crate::CentersError) if the two differ in feature dimension or data type.
    pub fn merge(self, other: Self) -> Result<Self, CenterLossError> {
        let merged = Pulls::merge(vec![self.pulls, other.pulls])?;
        Ok(Self {
            pulls: merged.expect("two updates merge into one"),
        })
    }
}
