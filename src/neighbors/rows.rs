//! Matrices on the host, and checks of the tensors that they come from.

use super::error::KnnError;
use crate::device::{computes_in, is_host};
#[cfg(feature = "flex")]
use burn::backend::Flex;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

/// The rows of a finite matrix, in `f64`.
///
/// Every float type converts to `f64` exactly. Sums over the rows in a fixed order are therefore the same on every backend.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    values: Vec<f64>,
    columns: usize,
}

impl Rows {
    /// Takes values, row after row. There must be rows and columns, and all values must be finite. The error calls the
    /// matrix `name`.
    pub(crate) fn new(
        values: Vec<f64>,
        [rows, columns]: [usize; 2],
        name: &'static str,
    ) -> Result<Self, KnnError> {
        if rows == 0 {
            return Err(KnnError::NoRows { name });
        }
        if columns == 0 {
            return Err(KnnError::NoColumns { name });
        }
        // A fold without an early exit takes several values at a time.
        let finite = values
            .iter()
            .fold(true, |finite, value| finite & value.is_finite());
        if !finite && let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(KnnError::NonFinite {
                name,
                value: values[at],
                row: at / columns,
                column: at % columns,
            });
        }
        Ok(Self { values, columns })
    }

    /// Reads a matrix from its device.
    pub(crate) fn read(tensor: Tensor<2>, name: &'static str) -> Result<Self, KnnError> {
        let shape = tensor.dims();
        Self::new(read_values(tensor, name)?, shape, name)
    }

    /// Takes a stored matrix.
    pub(crate) fn from_data(data: &TensorData, name: &'static str) -> Result<Self, KnnError> {
        let &[rows, columns] = data.shape().as_slice() else {
            let reason = format!("with {} dimensions; it must have 2", data.rank());
            return Err(KnnError::Stored { name, reason });
        };
        check_full_precision(name, data.dtype())?;
        Self::new(data.iter().collect(), [rows, columns], name)
    }

    #[cfg(test)]
    pub(crate) fn from_values(values: Vec<f64>, columns: usize) -> Self {
        Self { values, columns }
    }

    /// These rows, in this order.
    pub(crate) fn select(&self, numbers: &[usize]) -> Self {
        let mut values = Vec::with_capacity(numbers.len() * self.columns);
        for number in numbers {
            values.extend_from_slice(self.row(*number));
        }
        Self {
            values,
            columns: self.columns,
        }
    }

    /// The values, without loss, as `f32` if that type holds them all, else as `f64`.
    pub(crate) fn to_data(&self) -> TensorData {
        let narrow = narrowed(&self.values);
        let mut pairs = self.values.iter().zip(&narrow);
        if pairs.all(|(value, narrow)| *value == f64::from(*narrow)) {
            TensorData::new(narrow, self.shape())
        } else {
            TensorData::new(self.values.clone(), self.shape())
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.columns
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.len(), self.columns]
    }

    pub(crate) fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.columns..][..self.columns]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        self.values.chunks_exact_mut(self.columns)
    }
}

/// The values of a matrix of any float type, row after row. The error calls it `name`.
pub(crate) fn read_values(tensor: Tensor<2>, name: &'static str) -> Result<Vec<f64>, KnnError> {
    let mut tensor = tensor.without_autodiff();
    if full_precision(tensor.dtype()) != tensor.dtype() {
        tensor = tensor.cast(FloatDType::F32);
    }
    if is_host(&tensor.device())
        && let Some(values) = read_in_place(&tensor)
    {
        return Ok(values);
    }
    let data = tensor.try_into_data().map_err(|error| KnnError::Read {
        name,
        reason: error.to_string(),
    })?;
    Ok(match data.as_slice::<f32>() {
        Ok(values) => widened(values),
        Err(_) => data.iter::<f64>().collect(),
    })
}

/// The values of an `f32` tensor whose memory the host can read where it is; `None` for any other tensor.
///
/// This saves a copy of the tensor. The system would hand out new memory for it at every call.
fn read_in_place(_tensor: &Tensor<2>) -> Option<Vec<f64>> {
    #[cfg(feature = "flex")]
    if let Ok(primitive) = _tensor.clone().try_into_primitive::<Flex>() {
        return primitive.as_slice::<f32>().map(widened);
    }
    None
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

fn narrowed(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// The float type that classifiers compute in for tensors of this type: `f32` for half precisions.
pub(crate) fn full_precision(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// Checks that stored values are of a type that classifiers compute in.
pub(crate) fn check_full_precision(name: &'static str, dtype: DType) -> Result<(), KnnError> {
    if dtype == full_precision(dtype) {
        return Ok(());
    }
    let reason = format!("as {dtype:?}; it must be F32 or F64");
    Err(KnnError::Stored { name, reason })
}

/// Values, row after row, as a tensor of this float type, which is `f32` or `f64`.
pub(crate) fn float_tensor(
    values: Vec<f64>,
    shape: [usize; 2],
    dtype: DType,
    device: &Device,
) -> Tensor<2> {
    let data = match dtype {
        DType::F64 => TensorData::new(values, shape),
        _ => TensorData::new(narrowed(&values), shape),
    };
    Tensor::from_data(data, (device, dtype))
}

/// Row numbers in the device's own integer type if that can count rows, else in `i32`.
pub(crate) fn index_tensor<const D: usize>(
    indices: Vec<i64>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let dtype = match DType::from(device.settings().int_dtype) {
        dtype @ (DType::I64 | DType::I32 | DType::U64 | DType::U32) => dtype,
        _ => DType::I32,
    };
    Tensor::from_data(TensorData::new(indices, shape), (device, dtype))
}

/// Checks that two tensors are on one device. An autodiff device counts as the device that it wraps.
pub(crate) fn check_device(
    name: &'static str,
    device: &Device,
    expected_name: &'static str,
    expected: &Device,
) -> Result<(), KnnError> {
    let device = device.clone().without_autodiff();
    let expected = expected.clone().without_autodiff();
    if device == expected {
        return Ok(());
    }
    Err(KnnError::Devices {
        name,
        device: format!("{device:?}"),
        expected_name,
        expected: format!("{expected:?}"),
    })
}

/// Checks that the device can hold stored values of this type.
pub(crate) fn check_dtype(
    name: &'static str,
    dtype: DType,
    device: &Device,
) -> Result<(), KnnError> {
    if computes_in(device, dtype) {
        return Ok(());
    }
    let reason =
        format!("as {dtype:?}, which {device:?} does not support; load it onto another device");
    Err(KnnError::Stored { name, reason })
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;
    use burn::tensor::BoolStore;

    #[test]
    fn an_autodiff_device_is_the_device_that_it_wraps() {
        let (plain, wrapped) = (Device::flex(), Device::flex().autodiff());
        assert_eq!(check_device("queries", &plain, "centers", &wrapped), Ok(()));
        assert_eq!(check_device("queries", &wrapped, "centers", &plain), Ok(()));
    }

    #[test]
    fn a_type_that_the_device_does_not_have_is_named() {
        let device = Device::flex();
        assert_eq!(check_dtype("labels", DType::U64, &device), Ok(()));
        let error = check_dtype("labels", DType::Bool(BoolStore::U32), &device).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "labels is stored as Bool(U32), which {device:?} does not support; load it onto another device"
            )
        );
    }
}
