use super::margin_softmax::MarginSoftmax;
use crate::neighbors::{KnnError, NearestCenter};

impl MarginSoftmax {
    /// A classifier of the class vectors as they are now, by direction: the class with the largest cosine, as
    /// [`logits`](Self::logits) order them. Of several sub-centers of a class the nearest one counts. Reads the
    /// class vectors back from the device once.
    ///
    /// # Errors
    ///
    /// [`KnnError`] if a class vector is not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::MarginSoftmaxConfig;
    ///
    /// let device = Device::flex();
    /// let vectors = Tensor::from_data([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], &device);
    /// let loss = MarginSoftmaxConfig::new(2, 2).with_sub_centers(2).init_with_centers(vectors)?;
    /// let classes = loss.nearest_center()?.predict(Tensor::from_data([[-3.0, 0.1], [0.2, -1.0]], &device))?;
    /// assert_eq!(classes.to_data_as::<i64>().to_vec::<i64>().unwrap(), [0, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nearest_center(&self) -> Result<NearestCenter, KnnError> {
        NearestCenter::from_sub_directions(self.centers(), self.config().sub_centers)
    }
}
