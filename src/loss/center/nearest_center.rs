//! Classification by the centers of a center loss.

use super::{CenterDistance, CenterLoss};
use crate::neighbors::{KnnError, NearestCenter};

impl CenterLoss {
    /// A classifier by the nearest of the centers as they are now: by position, or by direction if the loss measures the
    /// [cosine distance](CenterDistance::Cosine). Reads the centers back from the device once.
    ///
    /// # Errors
    ///
    /// As [`NearestCenter::from_centers`].
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{CenterLossConfig, KnnError};
    ///
    /// # fn main() -> Result<(), KnnError> {
    /// let loss = CenterLossConfig::new(10, 2).init(&Device::flex());
    /// let classifier = loss.nearest_center()?;
    /// let predictions = classifier.predict(loss.centers())?;
    /// assert_eq!(predictions.to_data_as::<i64>().to_vec::<i64>().unwrap(), (0..10).collect::<Vec<_>>());
    /// # Ok(())
    /// # }
    /// ```
    pub fn nearest_center(&self) -> Result<NearestCenter, KnnError> {
        match self.config().distance {
            CenterDistance::Euclidean => NearestCenter::from_centers(self.centers()),
            CenterDistance::Cosine => NearestCenter::from_directions(self.centers()),
        }
    }
}
