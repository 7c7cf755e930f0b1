use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::tensor::{Int, Tensor};
use burn_std::sync::Mutex;
use core::fmt;

use super::error::BatchError;

/// How many samples deferred checking has left out, by reason. A sample counts once, under the
/// first reason that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Samples whose label names no class.
    pub labels: u64,
    /// Samples with an infinite or NaN feature.
    pub features: u64,
    /// Samples with a negative, infinite or NaN weight.
    pub weights: u64,
    /// Samples whose distance from their center is not finite: they are too far away, or the center
    /// itself is not finite.
    pub distances: u64,
}

impl LeftOut {
    /// How many samples were left out in all.
    pub fn total(&self) -> u64 {
        self.labels + self.features + self.weights + self.distances
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            labels,
            features,
            weights,
            distances,
        } = self;
        write!(
            f,
            "{labels} samples with a label outside 0..num_classes, {features} with a feature that is not finite, \
             {weights} with an invalid weight and {distances} with a distance that is not finite"
        )
    }
}

/// Counts of samples that were left out, on the devices that left them out. All clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOutCounter {
    /// For each device `[4]`: labels, features, weights, distances.
    counts: Arc<Mutex<Vec<Tensor<1, Int>>>>,
}

impl LeftOutCounter {
    /// Adds the counts of a batch, `[4]`, without reading them.
    pub fn add(&self, left_out: Tensor<1, Int>) {
        let device = left_out.device();
        let mut counts = self.counts.lock();
        match counts.iter().position(|count| count.device() == device) {
            Some(i) => {
                let count = counts.swap_remove(i);
                counts.push(count + left_out);
            }
            None => counts.push(left_out),
        }
    }

    /// Reads the counts of all devices and starts counting anew. If a device does not return its counts,
    /// those of the others are kept.
    pub fn take(&self) -> Result<LeftOut, BatchError> {
        let counts = core::mem::take(&mut *self.counts.lock());
        let (mut total, mut returned, mut failure) = ([0; 4], Vec::new(), None);
        for counts in counts {
            match counts.try_to_data() {
                Ok(data) => {
                    for (total, count) in total.iter_mut().zip(data.iter::<u64>()) {
                        *total += count;
                    }
                    returned.push(counts);
                }
                Err(error) => failure = Some(BatchError::Read(error.to_string())),
            }
        }
        if let Some(failure) = failure {
            returned.into_iter().for_each(|counts| self.add(counts));
            return Err(failure);
        }
        let [labels, features, weights, distances] = total;
        Ok(LeftOut {
            labels,
            features,
            weights,
            distances,
        })
    }
}
