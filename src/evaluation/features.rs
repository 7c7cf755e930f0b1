//! Features and labels on the host.

use super::error::EvaluationError;
use crate::neighbors::{KnnError, KnnMetric, Rows};
use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::{DType, Int, Tensor};

/// Reads a finite matrix and brings its rows into the form that the metric compares.
pub(crate) fn read_rows(
    features: Tensor<2>,
    name: &'static str,
    metric: KnnMetric,
) -> Result<Rows, EvaluationError> {
    Ok(metric.prepare(Rows::read(features, name)?))
}

/// Reads one label for each of the `rows` rows of the matrix called `name`. Labels of any integer type keep their value.
pub(crate) fn read_labels(
    labels: Tensor<1, Int>,
    name: &'static str,
    rows: usize,
) -> Result<Vec<i128>, EvaluationError> {
    let [count] = labels.dims();
    if count != rows {
        return Err(KnnError::LabelCount {
            labels: count,
            name,
            rows,
        }
        .into());
    }
    label_values(labels)
}

/// The values of a tensor of labels of any integer type.
///
/// [`Contingency::new`](super::Contingency::new) takes them. Reads the tensor back from the device once.
///
/// # Shapes
///
/// - labels: `[n]`
///
/// # Errors
///
/// [`EvaluationError`] where the device does not hand out the values.
pub fn label_values(labels: Tensor<1, Int>) -> Result<Vec<i128>, EvaluationError> {
    let data = labels
        .without_autodiff()
        .try_into_data()
        .map_err(|error| KnnError::Read {
            name: "labels",
            reason: error.to_string(),
        })?;
    // `i64` holds the values of every integer type but this one.
    Ok(if data.dtype() == DType::U64 {
        data.iter::<u64>().map(i128::from).collect()
    } else {
        data.iter::<i64>().map(i128::from).collect()
    })
}

/// The score of a reported distance.
pub(crate) fn score_of_distance(metric: KnnMetric, distance: f64) -> f64 {
    match metric {
        // Both zeros are one score; a distance of 0 shall not print as -0.
        KnnMetric::SquaredEuclidean | KnnMetric::Euclidean => 0.0 - distance,
        KnnMetric::Cosine => 1.0 - distance,
        KnnMetric::InnerProduct => distance,
    }
}
