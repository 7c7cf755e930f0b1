use burn::nn::loss::Reduction;
use burn::tensor::{Int, Tensor};

use super::center_loss::CenterLoss;
use super::error::CenterLossError;
#[cfg(doc)]
use crate::batch::BatchError;
use crate::batch::{Batch, Checking, ClassBalance, Weighing, read_values};
#[cfg(doc)]
use crate::centers::CentersError;
use crate::centers::check_finite;
use crate::distance::{CenterDistance, squared_euclidean, unit_rows};
use crate::engine::{self, Problem, Wants};

/// How tight the classes are and how far apart, for logging.
///
/// All distances are those of the [`CenterDistance`] of the loss; the radius does not enter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CenterStatistics {
    /// The mean distance of the samples to the center of their class; `None` if no sample counts.
    pub mean_distance: Option<f64>,
    /// The smallest distance between two centers, infinite if its square overflows; `None` if there is
    /// one class.
    pub min_center_distance: Option<f64>,
    /// `mean_distance / min_center_distance`: the smaller, the better nearest-center classification can
    /// be. At 1/2 and above, samples at the mean distance may lie nearer to another center. `None` if one
    /// of the two is, and if two centers are equal.
    pub ratio: Option<f64>,
    /// How many samples the mean is over.
    pub samples: usize,
}

impl CenterStatistics {
    fn new(distances: &[f64], min_center_distance: Option<f64>) -> Self {
        let samples = distances.len();
        // Divided before they are summed, so that the mean of finite distances is finite.
        let mean = || {
            distances
                .iter()
                .map(|distance| distance / samples as f64)
                .sum()
        };
        let mean_distance = (samples > 0).then(mean);
        let ratio = match (mean_distance, min_center_distance) {
            (Some(mean), Some(min)) if min > 0.0 => Some(mean / min),
            _ => None,
        };
        Self {
            mean_distance,
            min_center_distance,
            ratio,
            samples,
        }
    }
}

/// How many coordinate differences between centers exist at one time.
const MAX_ELEMENTS: usize = 1 << 22;

impl CenterLoss {
    /// The mean distance of a batch to its centers, the smallest distance between centers, and their
    /// ratio. Moves nothing, and reads from the device.
    ///
    /// It compares every center with every other, `O(num_classes^2 * feature_dim)`: for logging once in
    /// a while, not for every step with many classes.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`; ignored labels do not count
    ///
    /// # Errors
    ///
    /// The [`BatchError`]s of [`try_forward`](Self::try_forward) under [`Checking::Strict`], and
    /// [`CentersError`] if a center is not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::CenterLossConfig;
    ///
    /// let device = Device::flex();
    /// let centers = Tensor::from_data([[0.0, 0.0], [0.0, 8.0], [6.0, 0.0]], &device);
    /// let loss = CenterLossConfig::new(3, 2).init_with_centers(centers)?;
    /// let features = Tensor::from_data([[0.0, 1.0], [3.0, 4.0]], &device);
    /// let statistics = loss.statistics(features, Tensor::from_data([0, 1], &device))?;
    /// assert_eq!(statistics.mean_distance, Some(3.0));
    /// assert_eq!(statistics.min_center_distance, Some(6.0));
    /// assert_eq!(statistics.ratio, Some(0.5));
    /// # Ok::<(), burn_center_loss::CenterLossError>(())
    /// ```
    pub fn statistics(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<CenterStatistics, CenterLossError> {
        let batch = self.fit(Batch::new(features.without_autodiff(), labels))?;
        let distances = engine::distances(&Problem {
            batch,
            centers: self.centers.constant(),
            tracked: false,
            rules: &self.rules(Checking::Strict),
            weighing: Weighing {
                lambda: 1.0,
                reduction: Some(&Reduction::Mean),
                class_balance: ClassBalance::None,
                class_weights: None,
            },
            distance: self.config.distance,
            radius: 0.0,
            wants: Wants::Nothing,
        })?;
        Ok(CenterStatistics::new(
            &distances,
            self.min_center_distance()?,
        ))
    }

    fn min_center_distance(&self) -> Result<Option<f64>, CenterLossError> {
        let [num_classes, feature_dim] = self.centers.shape();
        let centers = match self.config.distance {
            CenterDistance::Euclidean => self.centers.constant(),
            CenterDistance::Cosine => unit_rows(self.centers.constant()),
        };
        let rows = (MAX_ELEMENTS / (num_classes * feature_dim)).clamp(1, num_classes);
        check_finite(&self.centers.constant())?;
        let mut smallest: Option<f64> = None;
        for (piece, part) in centers.clone().split(rows, 0).into_iter().enumerate() {
            let squared = read_values(squared_euclidean(part, centers.clone(), MAX_ELEMENTS))?;
            for (i, squared) in squared.into_iter().enumerate() {
                let class = piece * rows + i / num_classes;
                let is_other = class != i % num_classes;
                if is_other && smallest.is_none_or(|smallest| squared < smallest) {
                    smallest = Some(squared);
                }
            }
        }
        Ok(smallest.map(num_traits::Float::sqrt))
    }
}
