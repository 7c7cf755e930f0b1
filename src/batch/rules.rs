use alloc::format;
use burn::tensor::{Device, FloatDType, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::error::BatchError;
use crate::reduce::apart;

/// When bad samples are reported.
///
/// A sample is bad if its label names no class, a feature is not finite, its weight is negative or
/// not finite, or, for center loss, its distance from its center is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checking {
    /// Every call reads the labels and a few numbers per sample back from the device, all at once. A
    /// batch with a bad sample is refused as a whole, and so is one whose loss or gradient would not be
    /// finite.
    #[default]
    Strict,
    /// No call reads from the device. Bad samples are left out of loss, gradients and centers, and
    /// counted on the device; `take_left_out` of the loss reads the counts. Under a direct rule the
    /// centers stay finite whatever a batch holds, and a step that overflows is left out. A loss or
    /// gradient that overflows is infinite or NaN, and nothing reports it. The class totals of a batch
    /// come from a histogram over the classes or, where that costs more, from comparing its labels with
    /// each other.
    Deferred,
}

/// What a loss demands of its batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRules {
    pub num_classes: usize,
    pub feature_dim: usize,
    pub ignore_label: Option<i64>,
    pub checking: Checking,
}

/// A batch whose shapes and devices fit the centers.
pub(crate) struct FittedBatch {
    /// In the centers' data type.
    pub features: Tensor<2>,
    /// Whether the features are on an autodiff device.
    pub is_autodiff: bool,
    /// The features as the caller gave them, for messages, if their data type was another.
    pub given: Option<Tensor<2>>,
    /// Without autodiff.
    pub labels: Tensor<1, Int>,
    /// In the centers' data type, without autodiff.
    pub weights: Option<Tensor<1>>,
}

impl BatchRules {
    /// The batch, if its shapes fit each other and the centers, and all of it is on the centers'
    /// device. `dtype` is the centers' data type.
    pub fn fit(
        &self,
        batch: Batch,
        device: &Device,
        dtype: FloatDType,
    ) -> Result<FittedBatch, BatchError> {
        self.check_shapes(&batch)?;
        check_devices(&batch, device)?;
        let Batch {
            features,
            labels,
            weights,
        } = batch;
        let is_autodiff = features.is_autodiff();
        let features = apart(features);
        let (features, given) = if features.dtype() == dtype.into() {
            (features, None)
        } else {
            (features.clone().cast(dtype), Some(features))
        };
        Ok(FittedBatch {
            features,
            is_autodiff,
            given,
            labels: labels.without_autodiff(),
            // What is finite in f64 need not be in f32, so weights are checked after the cast.
            weights: weights.map(|weights| weights.without_autodiff().cast(dtype)),
        })
    }

    fn check_shapes(&self, batch: &Batch) -> Result<(), BatchError> {
        let found = batch.features.dims();
        let [batch_size, feature_dim] = found;
        if feature_dim != self.feature_dim {
            return Err(BatchError::FeaturesShape {
                found,
                feature_dim: self.feature_dim,
            });
        }
        if batch_size == 0 {
            return Err(BatchError::EmptyBatch);
        }
        let weights = batch.weights.as_ref();
        let lengths = [
            ("labels", Some(batch.labels.dims()[0])),
            ("weights", weights.map(|weights| weights.dims()[0])),
        ];
        for (name, found) in lengths {
            if let Some(found) = found.filter(|found| *found != batch_size) {
                return Err(BatchError::SampleCount {
                    name,
                    found,
                    batch_size,
                });
            }
        }
        Ok(())
    }
}

fn check_devices(batch: &Batch, expected: &Device) -> Result<(), BatchError> {
    let weights = batch.weights.as_ref();
    let devices = [
        ("features", Some(batch.features.device())),
        ("labels", Some(batch.labels.device())),
        ("weights", weights.map(|weights| weights.device())),
    ];
    for (name, found) in devices {
        // Burn compares devices without regard to autodiff.
        if let Some(found) = found.filter(|found| found != expected) {
            return Err(BatchError::Device {
                name,
                found: format!("{:?}", found.without_autodiff()),
                expected: format!("{expected:?}"),
            });
        }
    }
    Ok(())
}

impl FittedBatch {
    pub fn batch_size(&self) -> usize {
        self.features.dims()[0]
    }

    /// The device of the batch, without autodiff.
    pub fn device(&self) -> Device {
        self.labels.device()
    }
}
