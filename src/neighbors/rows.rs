//! Matrices on the host.

use super::error::KnnError;
use super::host_values::widened;
use super::precision::full_precision;
use alloc::vec::Vec;
use burn::tensor::{DType, Tensor, TensorData};

/// The rows of a finite matrix, in `f64`.
///
/// Every float type converts to `f64` exactly. What is computed from the rows in a fixed order is therefore the same on
/// every backend.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    values: Vec<f64>,
    columns: usize,
}

impl Rows {
    /// Reads a matrix that has rows, columns and only finite values. The error calls it `name`.
    pub(crate) fn read(tensor: Tensor<2>, name: &'static str) -> Result<Self, KnnError> {
        let shape = tensor.dims();
        check_shape(shape, name)?;
        Self::finite(widened(full_precision(tensor), name)?, shape, name)
    }

    /// As [`read`](Self::read), for stored values.
    pub(crate) fn from_data(data: &TensorData, name: &'static str) -> Result<Self, KnnError> {
        let &[rows, columns] = data.shape().as_slice() else {
            return Err(KnnError::StoredRank {
                name,
                rank: data.rank(),
                expected: 2,
            });
        };
        check_shape([rows, columns], name)?;
        let values = match data.dtype() {
            DType::F32 | DType::F64 => data.iter::<f64>().collect(),
            dtype => {
                return Err(KnnError::StoredDType {
                    name,
                    dtype,
                    expected: "F32 or F64",
                });
            }
        };
        Self::finite(values, [rows, columns], name)
    }

    fn finite(
        values: Vec<f64>,
        [_, columns]: [usize; 2],
        name: &'static str,
    ) -> Result<Self, KnnError> {
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

    /// Takes finite values, row after row.
    #[cfg(test)]
    pub(crate) fn from_values(values: Vec<f64>, columns: usize) -> Self {
        Self { values, columns }
    }

    /// The values, without loss, as `f32` if that type holds them all, else as `f64`.
    pub(crate) fn to_data(&self) -> TensorData {
        let narrow: Vec<f32> = self.values.iter().map(|value| *value as f32).collect();
        let exact = self
            .values
            .iter()
            .zip(&narrow)
            .all(|(value, narrow)| *value == f64::from(*narrow));
        if exact {
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

/// Checks that there are rows and columns.
fn check_shape([rows, columns]: [usize; 2], name: &'static str) -> Result<(), KnnError> {
    if rows == 0 {
        return Err(KnnError::NoRows { name });
    }
    if columns == 0 {
        return Err(KnnError::NoColumns { name });
    }
    Ok(())
}
