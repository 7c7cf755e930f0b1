//! Features and labels on the host.

use super::error::EvaluationError;
use super::scores::check_lengths;
use crate::batch;
use crate::neighbors::{KnnError, KnnMetric, Rows, check_device, read_label_data};
use alloc::vec::Vec;
use burn::tensor::{Int, Tensor};

/// Reads a finite matrix and brings its rows into the form that the metric compares.
pub(crate) fn read_rows(
    features: Tensor<2>,
    name: &'static str,
    metric: KnnMetric,
) -> Result<Rows, EvaluationError> {
    Ok(metric.prepare(Rows::read(features, name)?))
}

/// Reads a matrix without keeping its values, to find what is wrong with them.
pub(crate) fn check_features(
    features: &Tensor<2>,
    name: &'static str,
) -> Result<(), EvaluationError> {
    Rows::read(features.clone(), name)?;
    Ok(())
}

/// Refuses queries that are not as wide as the references.
pub(crate) fn check_widths(
    queries: &Tensor<2>,
    name: &'static str,
    references: &Tensor<2>,
) -> Result<(), EvaluationError> {
    let (queries, fitted) = (queries.dims(), references.dims());
    if queries[1] == fitted[1] {
        return Ok(());
    }
    Err(KnnError::FeatureDim {
        queries,
        name,
        fitted,
    }
    .into())
}

/// Reads one label for each row of a matrix, from the matrix's device. Labels of any integer type keep their value.
pub(crate) fn read_labels(
    labels: Tensor<1, Int>,
    labels_name: &'static str,
    features: &Tensor<2>,
    name: &'static str,
) -> Result<Vec<i128>, EvaluationError> {
    check_device(labels_name, &labels.device(), name, &features.device())?;
    let ([length], [rows, _]) = (labels.dims(), features.dims());
    check_lengths(labels_name, length, name, rows)?;
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
    let data = read_label_data(labels)?;
    Ok(batch::read_labels(&data))
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
