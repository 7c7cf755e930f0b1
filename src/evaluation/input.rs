//! Features, labels, scores and rates that a caller hands in.

use super::error::EvaluationError;
use super::relevance::LabelsAndKeys;
use crate::neighbors::{KnnError, KnnMetric, Rows, check_device, read_labels};
use burn::tensor::{Device, Int, Tensor};

/// Labelled features on the host, and the device that they came from.
pub(crate) struct Samples {
    pub(crate) rows: Rows,
    pub(crate) names: LabelsAndKeys,
    pub(crate) device: Device,
}

/// Reads a finite matrix and brings its rows into the form that the metric compares.
pub(crate) fn read_rows(
    features: Tensor<2>,
    name: &'static str,
    metric: KnnMetric,
) -> Result<Rows, EvaluationError> {
    Ok(metric.prepare(Rows::read(features, name)?))
}

/// Refuses queries that are not on the references' device or not as wide. The error calls both by these names.
pub(crate) fn check_comparable(
    [queries_name, references_name]: [&'static str; 2],
    queries: &Tensor<2>,
    references: &Tensor<2>,
) -> Result<(), EvaluationError> {
    let devices = [queries.device(), references.device()];
    check_device(queries_name, &devices[0], references_name, &devices[1])?;
    let (queries, fitted) = (queries.dims(), references.dims());
    if queries[1] == fitted[1] {
        return Ok(());
    }
    Err(KnnError::FeatureDim {
        queries,
        name: references_name,
        fitted,
    }
    .into())
}

/// Reads one label for each row of a matrix, from the matrix's device. Labels of any integer type keep their value.
pub(crate) fn read_labels_of(
    features: &Tensor<2>,
    name: &'static str,
    labels: Tensor<1, Int>,
    labels_name: &'static str,
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
/// [`EvaluationError`] if the device does not hand out the values.
pub fn label_values(labels: Tensor<1, Int>) -> Result<Vec<i128>, EvaluationError> {
    Ok(read_labels(labels)?)
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

/// The scores as `f64`. Refuses an empty slice and NaN; infinities are ordinary scores.
pub(crate) fn read_scores<S: Copy + Into<f64>>(
    name: &'static str,
    scores: &[S],
) -> Result<Vec<f64>, EvaluationError> {
    if scores.is_empty() {
        return Err(EvaluationError::Empty { name });
    }
    let scores: Vec<f64> = scores.iter().map(|score| (*score).into()).collect();
    match scores.iter().position(|score| score.is_nan()) {
        Some(index) => Err(EvaluationError::NotANumber { name, index }),
        None => Ok(scores),
    }
}

/// The scores of genuine pairs, for which `same` is true, and those of impostor pairs. Both must be there. Errors call the
/// scores `name`.
pub(crate) fn read_pairs<S: Copy + Into<f64>>(
    name: &'static str,
    scores: &[S],
    same: &[bool],
) -> Result<[Vec<f64>; 2], EvaluationError> {
    let scores = read_scores(name, scores)?;
    check_lengths(name, scores.len(), "same", same.len())?;
    let [genuine, impostors] = [true, false].map(|kind| {
        let pairs = scores.iter().zip(same).filter(|(_, same)| **same == kind);
        pairs.map(|(score, _)| *score).collect::<Vec<f64>>()
    });
    if genuine.is_empty() || impostors.is_empty() {
        return Err(EvaluationError::OneKind {
            name: "same",
            genuine: genuine.len(),
            impostors: impostors.len(),
        });
    }
    Ok([genuine, impostors])
}

/// Refuses a prior probability of genuine pairs under which one kind of error cannot happen, and NaN.
pub(crate) fn check_prior(value: f64) -> Result<(), EvaluationError> {
    if 0.0 < value && value < 1.0 {
        return Ok(());
    }
    Err(EvaluationError::Prior { value })
}

/// Refuses the first of the values that is not valid, by a rule that the error names.
pub(crate) fn check_values(
    name: &'static str,
    values: &[f64],
    is_valid: impl Fn(f64) -> bool,
    rule: &'static str,
) -> Result<(), EvaluationError> {
    match values.iter().position(|value| !is_valid(*value)) {
        Some(index) => Err(EvaluationError::Value {
            name,
            value: values[index],
            index,
            rule,
        }),
        None => Ok(()),
    }
}

/// Refuses two arguments of different lengths.
pub(crate) fn check_lengths(
    name: &'static str,
    length: usize,
    other: &'static str,
    other_length: usize,
) -> Result<(), EvaluationError> {
    if length == other_length {
        return Ok(());
    }
    Err(EvaluationError::Lengths {
        name,
        length,
        other,
        other_length,
    })
}

/// Refuses a rate outside of 0..=1, and NaN.
pub(crate) fn check_rate(name: &'static str, value: f64) -> Result<(), EvaluationError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(EvaluationError::Rate { name, value })
}
