//! Labels of every integer type.

use super::error::KnnError;
use crate::batch::read_labels;
use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::{DType, Int, Tensor, TensorData};

/// Labels and the integer type that they came in. `i128` holds every value of every integer type.
pub(crate) struct Labels {
    pub(crate) values: Vec<i128>,
    pub(crate) dtype: DType,
}

/// The data of a tensor of labels, read back from the device.
pub(crate) fn read_label_data(labels: Tensor<1, Int>) -> Result<TensorData, KnnError> {
    labels
        .without_autodiff()
        .try_into_data()
        .map_err(|error| KnnError::Read {
            name: "labels",
            reason: error.to_string(),
        })
}

impl Labels {
    /// Reads one label for each of the `rows` rows of the matrix called `name`.
    pub(crate) fn read(
        labels: Tensor<1, Int>,
        name: &'static str,
        rows: usize,
    ) -> Result<Self, KnnError> {
        let [count] = labels.dims();
        check_count(count, name, rows)?;
        let data = read_label_data(labels)?;
        Self::widened(&data)
    }

    /// As [`read`](Self::read), for stored labels.
    pub(crate) fn from_data(
        data: &TensorData,
        name: &'static str,
        rows: usize,
    ) -> Result<Self, KnnError> {
        let &[count] = data.shape().as_slice() else {
            return Err(KnnError::StoredRank {
                name: "labels",
                rank: data.rank(),
                expected: 1,
            });
        };
        check_count(count, name, rows)?;
        Self::widened(data)
    }

    fn widened(data: &TensorData) -> Result<Self, KnnError> {
        let dtype = data.dtype();
        if !(dtype.is_int() || dtype.is_uint()) {
            return Err(KnnError::StoredDType {
                name: "labels",
                dtype,
                expected: "an integer type",
            });
        }
        let values = read_labels(data);
        Ok(Self {
            values,
            dtype: data.dtype(),
        })
    }
}

/// Labels as a vector of the integer type, which must be the one that they were read in.
pub(crate) fn label_data(labels: impl Iterator<Item = i128>, dtype: DType) -> TensorData {
    match dtype {
        DType::U64 => vector(labels.map(|label| label as u64).collect()),
        _ => vector(labels.map(|label| label as i64).collect()).convert_dtype(dtype),
    }
}

fn vector<E: burn::tensor::Element>(values: Vec<E>) -> TensorData {
    let count = values.len();
    TensorData::new(values, [count])
}

fn check_count(labels: usize, name: &'static str, rows: usize) -> Result<(), KnnError> {
    if labels == rows {
        Ok(())
    } else {
        Err(KnnError::LabelCount { labels, name, rows })
    }
}
