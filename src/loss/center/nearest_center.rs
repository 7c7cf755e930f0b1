use super::center_loss::CenterLoss;
use crate::distance::CenterDistance;
use crate::neighbors::{KnnError, NearestCenter};

impl CenterLoss {
    /// A classifier of the centers as they are now: by position, or by direction if the loss measures
    /// the [cosine distance](CenterDistance::Cosine). Reads the centers back from the device once.
    ///
    /// # Errors
    ///
    /// [`KnnError`] if a center is not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{CenterLossConfig, KnnError};
    ///
    /// # fn main() -> Result<(), KnnError> {
    /// let loss = CenterLossConfig::new(10, 2).init(&Device::flex());
    /// let predictions = loss.nearest_center()?.predict(loss.centers())?;
    /// let expected: Vec<i64> = (0..10).collect();
    /// assert_eq!(predictions.to_data_as::<i64>().to_vec::<i64>().unwrap(), expected);
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
