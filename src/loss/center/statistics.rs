use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::{Int, Tensor};

use super::batch::{Batch, check_fit};
use super::samples::Samples;
use super::{CenterDistance, CenterLoss, CenterLossConfig, CenterLossError, Checking};
use crate::distance::{norms, squared_euclidean, unit_rows};

/// How tight the classes are and how far apart, for logging.
///
/// All distances are those of the [`CenterDistance`] of the loss; the radius does not enter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CenterStatistics {
    /// The mean distance of the samples to the center of their class; NaN if no sample counts.
    pub mean_distance: f64,
    /// The smallest distance between two centers; infinite if there is one class.
    pub min_center_distance: f64,
    /// `mean_distance / min_center_distance`: the smaller, the better nearest-center classification can be. At 1/2 and
    /// above, samples at the mean distance may lie nearer to another center.
    pub ratio: f64,
    /// How many samples the mean is over.
    pub samples: usize,
}

/// How many coordinate differences between centers exist at one time.
const MAX_ELEMENTS: usize = 1 << 22;

impl CenterLoss {
    /// The mean distance of a batch to its centers, the smallest distance between centers, and their ratio. Moves
    /// nothing, and reads from the device.
    ///
    /// It compares every center with every other, `O(num_classes^2 * feature_dim)`: for logging once in a while, not for
    /// every step with many classes.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`; ignored labels do not count
    ///
    /// # Errors
    ///
    /// As [`try_forward`](Self::try_forward) under [`Checking::Strict`].
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
    /// assert_eq!(statistics.mean_distance, 3.0);
    /// assert_eq!(statistics.min_center_distance, 6.0);
    /// assert_eq!(statistics.ratio, 0.5);
    /// # Ok::<(), burn_center_loss::CenterLossError>(())
    /// ```
    pub fn statistics(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<CenterStatistics, CenterLossError> {
        let distances = self.distances(features.without_autodiff(), labels)?;
        let mean_distance = distances.iter().sum::<f64>() / distances.len() as f64;
        let min_center_distance = self.min_center_distance()?;
        Ok(CenterStatistics {
            mean_distance,
            min_center_distance,
            ratio: mean_distance / min_center_distance,
            samples: distances.len(),
        })
    }

    /// The distance of every sample that counts to the center of its class.
    fn distances(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<Vec<f64>, CenterLossError> {
        let config: CenterLossConfig = (*self.config).clone().with_checking(Checking::Strict);
        let device = self.centers.device();
        check_fit(&config, &device, &features, &labels, None)?;
        let batch = Batch::new(&config, &device, labels, None);
        let centers = self.centers.constant().select(0, batch.classes.clone());
        let given = features.clone();
        let offsets = self.direction(features.cast(self.centers.dtype())) - self.direction(centers);
        let checked = batch.check(&config, offsets.clone(), &given)?;
        let distances: Vec<f64> = read(norms(offsets))?;
        let Samples::Host(host) = checked.samples else {
            unreachable!("strict checking knows the samples on the host");
        };
        Ok(distances
            .into_iter()
            .zip(&host.weights)
            .filter(|(_, weight)| **weight > 0.0)
            .map(|(distance, _)| distance)
            .collect())
    }

    fn min_center_distance(&self) -> Result<f64, CenterLossError> {
        let [num_classes, feature_dim] = self.centers.shape();
        let centers = self.direction(self.centers.constant());
        let rows = (MAX_ELEMENTS / (num_classes * feature_dim)).clamp(1, num_classes);
        let mut smallest = f64::INFINITY;
        for (piece, part) in centers.clone().split(rows, 0).into_iter().enumerate() {
            let squared = read(squared_euclidean(part, centers.clone(), MAX_ELEMENTS))?;
            for (i, squared) in squared.into_iter().enumerate() {
                let to_itself = piece * rows + i / num_classes == i % num_classes;
                if !to_itself {
                    smallest = smallest.min(squared);
                }
            }
        }
        Ok(num_traits::Float::sqrt(smallest))
    }

    fn direction(&self, rows: Tensor<2>) -> Tensor<2> {
        match self.config.distance {
            CenterDistance::Euclidean => rows,
            CenterDistance::Cosine => unit_rows(rows),
        }
    }
}

fn read(tensor: Tensor<2>) -> Result<Vec<f64>, CenterLossError> {
    let data = tensor
        .try_into_data()
        .map_err(|error| CenterLossError::Read(error.to_string()))?;
    Ok(data.iter::<f64>().collect())
}
