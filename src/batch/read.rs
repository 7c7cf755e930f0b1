//! Values read back from a device.

use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::Tensor;

use super::error::BatchError;

/// The values of a tensor on the host, in the order of its rows.
pub(crate) fn read_values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, BatchError> {
    let data = tensor
        .try_into_data()
        .map_err(|error| BatchError::Read(error.to_string()))?;
    Ok(data.iter::<f64>().collect())
}
