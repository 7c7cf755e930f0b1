//! Class and weight of each sample of a batch.

use alloc::vec::Vec;
use burn::tensor::{Device, Int, Tensor};

use super::groups::Groups;

/// Class and weight of each sample, on the host. An ignored sample has class 0 and weight 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostSamples {
    pub classes: Vec<usize>,
    pub weights: Vec<f64>,
}

/// Class and weight of each sample, on the device: both `[batch_size]`. A sample that is ignored
/// or left out has class 0 and weight 0.
#[derive(Clone, Debug)]
pub(crate) struct DeviceSamples {
    pub classes: Tensor<1, Int>,
    pub weights: Tensor<1>,
}

impl HostSamples {
    pub fn groups(&self) -> Groups {
        Groups::new(&self.classes)
    }

    /// Whether each class has one entry and the classes are in ascending order.
    pub fn is_one_per_class(&self) -> bool {
        self.classes.is_sorted_by(|one, next| one < next)
    }
}

impl DeviceSamples {
    pub fn moved_to(self, device: &Device) -> Self {
        Self {
            classes: self.classes.to_device(device),
            weights: self.weights.to_device(device),
        }
    }
}

/// Classes or places as a tensor, in the device's own integer type.
pub(crate) fn index(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
    Tensor::from_data(values.as_slice(), device)
}
