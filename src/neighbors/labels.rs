//! Labels of every integer type.

use super::error::KnnError;
use burn::tensor::{DType, Int, Tensor, TensorData};

/// Labels and the integer type that they came in. `i128` holds every value of every integer type.
pub(crate) struct Labels {
    pub(crate) values: Vec<i128>,
    pub(crate) dtype: DType,
}

impl Labels {
    /// Reads one label for each of the `rows` rows of the matrix called `name`.
    pub(crate) fn read(
        labels: Tensor<1, Int>,
        name: &'static str,
        rows: usize,
    ) -> Result<Self, KnnError> {
        check_count(labels.dims()[0], name, rows)?;
        let dtype = labels.dtype();
        let values = read_labels(labels)?;
        Ok(Self { values, dtype })
    }

    /// The labels with these numbers, in this order.
    pub(crate) fn select(&self, numbers: &[usize]) -> Self {
        Self {
            values: numbers.iter().map(|number| self.values[*number]).collect(),
            dtype: self.dtype,
        }
    }

    /// Takes one stored label for each of the `rows` rows of the matrix called `name`.
    pub(crate) fn from_data(
        data: &TensorData,
        name: &'static str,
        rows: usize,
    ) -> Result<Self, KnnError> {
        let refused = |reason| KnnError::Stored {
            name: "labels",
            reason,
        };
        let &[count] = data.shape().as_slice() else {
            let reason = format!("with {} dimensions; it must have 1", data.rank());
            return Err(refused(reason));
        };
        check_count(count, name, rows)?;
        let dtype = data.dtype();
        if !(dtype.is_int() || dtype.is_uint()) {
            return Err(refused(format!("as {dtype:?}; it must be an integer type")));
        }
        let values = widened(data);
        Ok(Self { values, dtype })
    }
}

/// Reads labels of any integer type from their device.
pub(crate) fn read_labels(labels: Tensor<1, Int>) -> Result<Vec<i128>, KnnError> {
    let data = labels.without_autodiff().try_into_data();
    let data = data.map_err(|error| KnnError::Read {
        name: "labels",
        reason: error.to_string(),
    })?;
    Ok(widened(&data))
}

fn widened(data: &TensorData) -> Vec<i128> {
    match data.dtype() {
        DType::U64 => data.iter::<u64>().map(i128::from).collect(),
        _ => data.iter::<i64>().map(i128::from).collect(),
    }
}

/// Labels as a vector of an integer type that holds them all.
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
        return Ok(());
    }
    Err(KnnError::LabelCount { labels, name, rows })
}

/// The share of predictions that equal their label. There must be as many as labels, and at least one.
pub(crate) fn accuracy(predictions: impl Iterator<Item = i128>, labels: &[i128]) -> f64 {
    let pairs = predictions.zip(labels);
    let right = pairs.filter(|(prediction, label)| prediction == *label);
    right.count() as f64 / labels.len() as f64
}
