//! Clusters without a random start.

use crate::evaluation::error::EvaluationError;
use crate::evaluation::features::label_values;
use crate::neighbors::NearestCenter;
use alloc::vec::Vec;
use burn::tensor::Tensor;

/// The number of the nearest center for each feature, as clusters for [`Contingency::new`](super::Contingency::new).
///
/// The usual protocol runs k-means, whose result depends on its random start. Centers that were learned, or the means of
/// the classes, give the same clusters every time.
///
/// # Shapes
///
/// - features: `[num_samples, feature_dim]`
///
/// # Errors
///
/// As [`NearestCenter::predict`].
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::NearestCenter;
/// use burn_center_loss::evaluation::{Contingency, EvaluationError, clusters_by_nearest_center};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let device = Device::flex();
/// let centers = Tensor::<2>::from_floats([[0.0, 0.0], [4.0, 0.0]], &device);
/// let features = Tensor::<2>::from_floats([[1.0, 0.0], [3.0, 1.0], [0.0, 1.0]], &device);
/// let clusters = clusters_by_nearest_center(&NearestCenter::from_centers(centers)?, features)?;
/// assert_eq!(clusters, [0, 1, 0]);
/// assert_eq!(Contingency::new(&["a", "b", "a"], &clusters)?.adjusted_rand_index(), 1.0);
/// # Ok(())
/// # }
/// ```
pub fn clusters_by_nearest_center(
    centers: &NearestCenter,
    features: Tensor<2>,
) -> Result<Vec<i128>, EvaluationError> {
    label_values(centers.predict(features)?)
}
