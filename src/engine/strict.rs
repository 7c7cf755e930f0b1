//! What strict checking reads of a batch, and what it refuses by it.

use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::{Tensor, TensorData};

use crate::batch::{
    BatchError, BatchRules, FittedBatch, HostSamples, Meaning, PerSample, Weighing, read_labels,
};
use crate::reads::Reads;

/// The samples of a batch under strict checking.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which backends are on decides how large it is"
)]
pub(crate) enum StrictSamples<'a> {
    /// Where the host reads them at no cost.
    Known(Known),
    /// Where reading them is a wait.
    Unread(Unread<'a>),
}

/// What is known of samples that are all good.
pub(crate) struct Known {
    pub samples: HostSamples,
    /// A lower bound of the length of each feature.
    pub lengths: Vec<f64>,
    /// What the loss of each sample is multiplied by.
    pub coefficients: Vec<f64>,
}

/// Samples that are still to be read.
pub(crate) struct Unread<'a> {
    pub batch: FittedBatch,
    pub rules: BatchRules,
    pub weighing: Weighing<'a>,
    /// `[batch_size]`: half of the mean absolute value of each feature, finite if and only if the feature is.
    pub magnitudes: Tensor<1>,
}

impl StrictSamples<'_> {
    /// What is known of the samples, and `numbers` on the host, after one wait for all that is not there yet.
    /// Refuses a batch with a bad sample.
    pub fn read(self, numbers: PerSample) -> Result<(Known, Vec<f64>), BatchError> {
        match self {
            Self::Known(known) => Ok((known, numbers.into_values()?)),
            Self::Unread(unread) => unread.read(numbers),
        }
    }
}

impl Unread<'_> {
    /// See [`StrictSamples::read`].
    pub fn read(self, numbers: PerSample) -> Result<(Known, Vec<f64>), BatchError> {
        let Self {
            batch,
            rules,
            weighing,
            magnitudes,
        } = self;
        let (there, asked) = match numbers {
            PerSample::Host(numbers) => (Some(numbers), None),
            PerSample::Device(numbers) => (None, Some(numbers)),
        };
        let magnitudes = magnitudes.unsqueeze_dim(1);
        let read = read_samples(&batch, &rules, magnitudes, asked, |sample, _| {
            let found = match not_finite(given_features(&batch), sample)? {
                // What is finite in f64 need not be in the centers' data type.
                None => not_finite(&batch.features, sample)?,
                found => found,
            };
            Ok(match found {
                Some((dim, value)) => BatchError::Feature { sample, dim, value },
                None => unreachable!("the mean of finite magnitudes is finite"),
            })
        })?;
        let factor = 2.0 * num_traits::Float::sqrt(rules.feature_dim as f64);
        let known = Known {
            coefficients: weighing.of_samples(&read.samples),
            samples: read.samples,
            lengths: read.numbers.into_iter().map(|half| half * factor).collect(),
        };
        Ok((known, there.unwrap_or(read.others)))
    }
}

/// What strict checking reads of a batch whose samples are all good.
pub(super) struct Read {
    pub samples: HostSamples,
    /// The numbers of each sample, one after the other.
    pub numbers: Vec<f64>,
    /// What was to be read with them.
    pub others: Vec<f64>,
}

/// Reads labels, weights and some numbers of each sample, `[batch_size, numbers]`, and refuses the batch
/// if a sample is bad. `reason` says why a number of a sample, whose class it gets too, is not finite.
/// `others` are read in the same wait, whatever they are.
pub(super) fn read_samples(
    batch: &FittedBatch,
    rules: &BatchRules,
    numbers: Tensor<2>,
    others: Option<Tensor<1>>,
    reason: impl Fn(usize, usize) -> Result<BatchError, BatchError>,
) -> Result<Read, BatchError> {
    let [_, columns] = numbers.dims();
    let mut reads = Reads::from(&batch.device())
        .register(batch.labels.clone())
        .register(numbers);
    if let Some(weights) = &batch.weights {
        reads = reads.register(weights.clone());
    }
    let has_others = others.is_some();
    if let Some(others) = others {
        reads = reads.register(others);
    }
    let data = reads
        .execute()
        .map_err(|error| BatchError::Read(error.to_string()))?;
    let mut data = data.iter();
    let mut next = || {
        data.next()
            .expect("every tensor that was asked for is there")
    };
    let labels = read_labels(next());
    let numbers = host_floats(next());
    let weights = batch.weights.as_ref().map(|_| host_floats(next()));
    let others = if has_others {
        host_floats(next())
    } else {
        Vec::new()
    };

    let mut samples = HostSamples::default();
    for (sample, label) in labels.into_iter().enumerate() {
        let (class, weight) = match rules.meaning(label) {
            Meaning::Ignored => (0, 0.0),
            Meaning::Unknown => {
                return Err(BatchError::Label {
                    sample,
                    label,
                    num_classes: rules.num_classes,
                });
            }
            Meaning::Class(class) => {
                let of_sample = &numbers[sample * columns..][..columns];
                if !of_sample.iter().all(|number| number.is_finite()) {
                    return Err(reason(sample, class)?);
                }
                let value = weights.as_ref().map_or(1.0, |weights| weights[sample]);
                if !(value.is_finite() && value >= 0.0) {
                    return Err(BatchError::Weight { sample, value });
                }
                (class, value)
            }
        };
        samples.classes.push(class);
        samples.weights.push(weight);
    }
    Ok(Read {
        samples,
        numbers,
        others,
    })
}

fn host_floats(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

/// The features as the caller gave them, for messages.
pub(super) fn given_features(batch: &FittedBatch) -> &Tensor<2> {
    batch.given.as_ref().unwrap_or(&batch.features)
}

/// Column and value of the first entry of a row that is not finite.
pub(super) fn not_finite(rows: &Tensor<2>, row: usize) -> Result<Option<(usize, f64)>, BatchError> {
    let row = rows.clone().without_autodiff().narrow(0, row, 1);
    let row = row
        .try_into_data()
        .map_err(|error| BatchError::Read(error.to_string()))?;
    Ok(row
        .iter::<f64>()
        .enumerate()
        .find(|(_, value)| !value.is_finite()))
}
