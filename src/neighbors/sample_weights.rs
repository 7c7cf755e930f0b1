//! One weight per reference.

use super::error::KnnError;
use super::rows::read_values;
use crate::error::is_weight;
use burn::tensor::{Tensor, TensorData};

/// The weights of the references that a classifier was fitted to. Only references with a weight above 0 are searched.
#[derive(Clone)]
pub(super) struct SampleWeights {
    /// The weight of each reference.
    values: Vec<f64>,
    /// The numbers of the references with a weight above 0, ascending.
    voters: Vec<usize>,
}

impl SampleWeights {
    /// Reads one weight for each of so many references.
    pub(super) fn read(weights: Tensor<1>, references: usize) -> Result<Self, KnnError> {
        let [count] = weights.dims();
        if count != references {
            return Err(KnnError::SampleWeightCount {
                weights: count,
                references,
            });
        }
        Self::new(read_values(weights.reshape([1, count]), "sample_weights")?)
    }

    /// Takes the stored weights of a classifier with so many references of a weight above 0.
    pub(super) fn from_data(data: &TensorData, voters: usize) -> Result<Self, KnnError> {
        let refused = |reason| KnnError::Stored {
            name: "sample_weights",
            reason,
        };
        if data.rank() != 1 {
            let reason = format!("with {} dimensions; it must have 1", data.rank());
            return Err(refused(reason));
        }
        let weights = Self::new(data.iter().collect())?;
        let found = weights.voters.len();
        if found != voters {
            let reason = format!(
                "with {found} values above 0 for {voters} references; the numbers must be equal"
            );
            return Err(refused(reason));
        }
        Ok(weights)
    }

    fn new(values: Vec<f64>) -> Result<Self, KnnError> {
        if let Some(index) = values.iter().position(|value| !is_weight(*value)) {
            let value = values[index];
            return Err(KnnError::SampleWeight { value, index });
        }
        let voters = (0..values.len()).filter(|&i| values[i] > 0.0).collect();
        Ok(Self { values, voters })
    }

    pub(super) fn to_data(&self) -> TensorData {
        TensorData::new(self.values.clone(), [self.values.len()])
    }

    /// The numbers of the references with a weight above 0, ascending.
    pub(super) fn voters(&self) -> &[usize] {
        &self.voters
    }

    /// The weight of a voter, by its place among the voters.
    pub(super) fn of(&self, voter: usize) -> f64 {
        self.values[self.voters[voter]]
    }
}
