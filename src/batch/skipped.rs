use std::fmt;
use std::sync::Arc;

use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use burn_std::sync::Mutex;

use crate::error::LossError;

/// The number of samples that deferred checking has skipped, by reason. A sample counts once, under the
/// first reason that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkippedSamples {
    /// Samples whose label names no class.
    pub labels: u64,
    /// Samples with an infinite or NaN feature.
    pub features: u64,
    /// Samples with a weight outside its range.
    pub weights: u64,
    /// Samples whose loss is not finite: they are too far from their center, or a center is not finite.
    pub losses: u64,
}

impl SkippedSamples {
    /// The number of all skipped samples.
    pub fn total(&self) -> u64 {
        self.labels + self.features + self.weights + self.losses
    }
}

impl fmt::Display for SkippedSamples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            labels,
            features,
            weights,
            losses,
        } = self;
        write!(
            f,
            "{labels} samples with a label outside 0..num_classes, {features} with a feature that is not finite, \
             {weights} with a weight outside its range and {losses} with a loss that is not finite"
        )
    }
}

/// Counts of skipped samples, on the devices that skipped them. All clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SkippedCounter {
    /// For each device `[6]`: samples that take part, those skipped by label, features, weight and loss, and those
    /// that rest.
    counts: Arc<Mutex<Vec<Tensor<1, Int>>>>,
}

impl SkippedCounter {
    /// Counts the samples of a batch by their standing, `[batch_size]`, without reading it.
    pub fn add(&self, standing: Tensor<1, Int>) {
        let (device, ones) = (standing.device(), standing.ones_like());
        let mut counts = self.counts.lock();
        let count = match counts.iter().position(|count| count.device() == device) {
            Some(i) => counts.swap_remove(i),
            None => Tensor::zeros([6], &device),
        };
        counts.push(count.select_assign(0, standing, ones, IndexingUpdateOp::Add));
    }

    /// Reads the counts of all devices and starts counting anew. If a device does not return its counts,
    /// those of the others are kept.
    pub fn take(&self) -> Result<SkippedSamples, LossError> {
        let counts = std::mem::take(&mut *self.counts.lock());
        let (mut total, mut returned, mut failure) = ([0; 6], Vec::new(), None);
        for counts in counts {
            match counts.try_to_data() {
                Ok(data) => {
                    for (total, count) in total.iter_mut().zip(data.iter::<u64>()) {
                        *total += count;
                    }
                    returned.push(counts);
                }
                Err(error) => failure = Some(error),
            }
        }
        if let Some(failure) = failure {
            self.counts.lock().extend(returned);
            return Err(LossError::Read(failure.to_string()));
        }
        let [_, labels, features, weights, losses, _] = total;
        Ok(SkippedSamples {
            labels,
            features,
            weights,
            losses,
        })
    }
}
