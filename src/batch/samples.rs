//! Class and weight of each sample of a batch.

use alloc::vec::Vec;
use burn::tensor::{Device, Int, Tensor};

use super::groups::Groups;
use super::scaled::Scaled;

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
    /// Whether a weight may be other than 0 and 1.
    pub are_weighted: bool,
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
            classes: classes_on(device, self.classes),
            weights: self.weights.to_device(device),
            are_weighted: self.are_weighted,
        }
    }

    /// The weights, of whatever size they are.
    pub fn scaled_weights(&self) -> Scaled {
        if self.are_weighted {
            Scaled::any(self.weights.clone())
        } else {
            Scaled::ordinary(self.weights.clone())
        }
    }

    /// The total weight of the class of each sample. `class_totals` gives for each sample the total of
    /// its class, of any numbers.
    pub fn scaled_totals(&self, class_totals: impl Fn(Tensor<1>) -> Tensor<1>) -> Scaled {
        if self.are_weighted {
            Scaled::sums(&self.weights, class_totals)
        } else {
            Scaled::ordinary(class_totals(self.weights.clone()))
        }
    }
}

/// Classes on another device, in that device's own integer type: tensors that are joined must have one
/// type.
fn classes_on(device: &Device, classes: Tensor<1, Int>) -> Tensor<1, Int> {
    classes.to_device(device).cast(device.settings().int_dtype)
}

/// Classes or places as a tensor, in the device's own integer type.
pub(crate) fn index(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
    Tensor::from_data(values.as_slice(), device)
}
