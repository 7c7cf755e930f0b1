use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::groups::Groups;

/// What the loss and the update know of the samples of a batch besides their features: class and weight.
///
/// A sample that is ignored or left out has class 0 and weight 0. Strict checking knows the samples on the host;
/// deferred checking must not read them, so the same numbers are computed on the device.
#[derive(Clone, Debug)]
pub(super) enum Samples {
    Host(HostSamples),
    Device(Box<DeviceSamples>),
}

#[derive(Clone, Debug)]
pub(super) struct HostSamples {
    pub classes: Vec<usize>,
    pub weights: Vec<f64>,
    /// An upper bound of the entries of the pulls, for the check that an update stays finite.
    pub reach: f64,
}

#[derive(Clone, Debug)]
pub(super) struct DeviceSamples {
    /// `[batch_size]`
    pub classes: Tensor<1, Int>,
    /// `[batch_size]`
    pub weights: Tensor<1>,
}

/// One number per sample.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack"
)]
pub(super) enum PerSample {
    Host(Vec<f64>),
    Device(Tensor<1>),
}

impl HostSamples {
    pub fn groups(&self) -> Groups {
        Groups::new(&self.classes)
    }

    /// For each sample the total weight of its class.
    pub fn class_totals(&self) -> Vec<f64> {
        if self.is_one_per_class() {
            return self.weights.clone();
        }
        let groups = self.groups();
        let totals = groups.totals(Some(&self.weights));
        groups
            .of_samples()
            .iter()
            .map(|group| totals[*group])
            .collect()
    }

    /// Whether there is one entry per class and the classes are in ascending order, as in all that was compacted.
    pub fn is_one_per_class(&self) -> bool {
        self.classes.is_sorted_by(|one, next| one < next)
    }
}

/// For each sample the total weight of its class, `[batch_size]`.
///
/// Compares the labels with each other in pieces of at most 2^20 pairs or one row: a histogram would take
/// `[num_classes]`.
pub(super) fn class_totals_on_device(classes: &Tensor<1, Int>, weights: &Tensor<1>) -> Tensor<1> {
    #[cfg(feature = "_kernels")]
    if let Some(totals) = super::kernels::class_totals(classes, weights) {
        return totals;
    }
    let [batch_size] = classes.dims();
    let rows = ((1_usize << 20) / batch_size).clamp(1, batch_size);
    let all = classes.clone().unsqueeze_dim::<2>(0);
    let weights = weights.clone().unsqueeze_dim::<2>(0);
    let pieces = classes
        .clone()
        .split(rows, 0)
        .into_iter()
        .map(|piece| {
            let shape = [piece.dims()[0], batch_size];
            let other = piece
                .unsqueeze_dim::<2>(1)
                .expand(shape)
                .not_equal(all.clone().expand(shape));
            weights
                .clone()
                .expand(shape)
                .mask_fill(other, 0.0)
                .sum_dim(1)
                .squeeze_dim::<1>(1)
        })
        .collect();
    Tensor::cat(pieces, 0)
}

impl Samples {
    /// Classes and weights as tensors, each `[batch_size]`.
    pub fn on(self, device: &Device, dtype: DType) -> (Tensor<1, Int>, Tensor<1>) {
        match self {
            Self::Host(host) => (
                index(&host.classes, device),
                column(host.weights, device, dtype).squeeze_dim(1),
            ),
            Self::Device(samples) => {
                let samples = samples.moved_to(device);
                (samples.classes, samples.weights.cast(dtype))
            }
        }
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
pub(super) fn index(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
    Tensor::from_data(values.as_slice(), device)
}

impl PerSample {
    /// The numbers as a column, `[batch_size, 1]`.
    pub fn column(self, device: &Device, dtype: DType) -> Tensor<2> {
        match self {
            Self::Host(values) => column(values, device, dtype),
            Self::Device(values) => values.unsqueeze_dim(1),
        }
    }
}

fn column(values: Vec<f64>, device: &Device, dtype: DType) -> Tensor<2> {
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), (device, dtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(classes: &[usize], weights: &[f64]) -> HostSamples {
        HostSamples {
            classes: classes.to_vec(),
            weights: weights.to_vec(),
            reach: 0.0,
        }
    }

    #[test]
    fn class_totals_add_the_weights_of_each_class() {
        for offset in [0, 1_000_000] {
            let classes = [3, 1, 3, 0].map(|class| class + offset);
            let totals = samples(&classes, &[1.0, 2.0, 0.5, 4.0]).class_totals();
            assert_eq!(totals, [1.5, 2.0, 1.5, 4.0]);
        }
    }
}
