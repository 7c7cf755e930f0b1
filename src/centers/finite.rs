use alloc::format;
use burn::tensor::Tensor;

use super::error::CentersError;
use crate::reduce::sum_dim;

/// Names the first center with a value that is not finite. Reads one number per center.
pub(crate) fn check_finite(centers: &Tensor<2>) -> Result<(), CentersError> {
    let [_, feature_dim] = centers.dims();
    // Half of the mean, so that finite values of any size have finite sums.
    let magnitudes = centers.clone().abs().mul_scalar(0.5 / feature_dim as f64);
    let magnitudes = sum_dim(magnitudes, 1)
        .try_into_data()
        .map_err(|error| CentersError::Read(format!("{error}")))?;
    let class = magnitudes
        .iter::<f64>()
        .position(|magnitude| !magnitude.is_finite());
    match class {
        Some(class) => Err(CentersError::NotFinite { class }),
        None => Ok(()),
    }
}
