//! Values of a tensor, read back from its device.

use super::error::KnnError;
use crate::device::is_host;
use alloc::string::ToString;
use alloc::vec::Vec;
#[cfg(feature = "flex")]
use burn::backend::Flex;
use burn::tensor::Tensor;

/// The values of an `f32` or `f64` tensor outside of any autodiff graph, row after row. The error calls it `name`.
pub(crate) fn widened(tensor: Tensor<2>, name: &'static str) -> Result<Vec<f64>, KnnError> {
    if is_host(&tensor.device())
        && let Some(values) = widened_in_place(&tensor)
    {
        return Ok(values);
    }
    let data = tensor.try_into_data().map_err(|error| KnnError::Read {
        name,
        reason: error.to_string(),
    })?;
    Ok(match data.as_slice::<f32>() {
        Ok(values) => widen(values),
        Err(_) => data.iter::<f64>().collect(),
    })
}

/// The values of an `f32` tensor whose memory the host can read where it is; `None` for any other tensor.
///
/// This saves a copy of the tensor, for which the system would hand out new memory at every call.
fn widened_in_place(_tensor: &Tensor<2>) -> Option<Vec<f64>> {
    #[cfg(feature = "flex")]
    if let Ok(primitive) = _tensor.clone().try_into_primitive::<Flex>() {
        return primitive.as_slice::<f32>().map(widen);
    }
    None
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}
