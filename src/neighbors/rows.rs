//! Matrices and label vectors on the host, checked as they are read.

use super::error::KnnError;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
#[cfg(feature = "flex")]
use burn::backend::Flex;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor};

/// The rows of a finite matrix, widened to `f64`: every backend's values become the same numbers here, and what is
/// computed from them in a fixed order gives the same answer whatever the backend.
#[derive(Clone)]
pub(crate) struct Rows {
    values: Vec<f64>,
    columns: usize,
}

impl Rows {
    /// Reads a matrix that has rows, columns and only finite values; else says what is wrong with `name`.
    pub(crate) fn read(tensor: Tensor<2>, name: &'static str) -> Result<Self, KnnError> {
        let [rows, columns] = tensor.dims();
        if rows == 0 {
            return Err(KnnError::NoRows { name });
        }
        if columns == 0 {
            return Err(KnnError::NoColumns { name });
        }
        let values = read(full_precision(tensor), name)?;
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

    pub(crate) fn from_values(values: Vec<f64>, columns: usize) -> Self {
        Self { values, columns }
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

    pub(crate) fn row_mut(&mut self, index: usize) -> &mut [f64] {
        &mut self.values[index * self.columns..][..self.columns]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        self.values.chunks_exact_mut(self.columns)
    }

    pub(crate) fn into_values(self) -> Vec<f64> {
        self.values
    }
}

fn read(tensor: Tensor<2>, name: &'static str) -> Result<Vec<f64>, KnnError> {
    let widened = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
    // Without a copy in between, whose memory would be fetched from the system at every call.
    #[cfg(feature = "flex")]
    if let Ok(primitive) = tensor.clone().try_into_primitive::<Flex>()
        && let Some(values) = primitive.as_slice::<f32>()
    {
        return Ok(widened(values));
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

/// The tensor outside of any autodiff graph, half precisions widened to `f32`.
pub(crate) fn full_precision(tensor: Tensor<2>) -> Tensor<2> {
    let tensor = tensor.without_autodiff();
    match tensor.dtype() {
        DType::F32 | DType::F64 => tensor,
        _ => tensor.cast(FloatDType::F32),
    }
}

/// The dtype that [`full_precision`] gives a tensor of this dtype.
pub(crate) fn full_precision_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// Reads one label for each of the `rows` rows of the matrix called `name`.
pub(crate) fn read_labels(
    labels: Tensor<1, Int>,
    name: &'static str,
    rows: usize,
) -> Result<Vec<i64>, KnnError> {
    let [count] = labels.dims();
    if count != rows {
        return Err(KnnError::LabelCount {
            labels: count,
            name,
            rows,
        });
    }
    let data = labels
        .without_autodiff()
        .try_into_data()
        .map_err(|error| KnnError::Read {
            name: "labels",
            reason: error.to_string(),
        })?;
    Ok(data.iter::<i64>().collect())
}

/// Says which of two tensors is on the wrong device. An autodiff device counts as the device that it wraps.
pub(crate) fn check_device(
    name: &'static str,
    device: &Device,
    expected_name: &'static str,
    expected: &Device,
) -> Result<(), KnnError> {
    let (device, expected) = (
        device.clone().without_autodiff(),
        expected.clone().without_autodiff(),
    );
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

/// The device's own integer type where it can count rows, else one that can.
pub(crate) fn index_dtype(device: &Device) -> DType {
    match DType::from(device.settings().int_dtype) {
        dtype @ (DType::I64 | DType::I32 | DType::U64 | DType::U32) => dtype,
        _ => DType::I32,
    }
}
