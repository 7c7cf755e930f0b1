use alloc::vec;
use alloc::vec::Vec;
use burn::nn::loss::Reduction;
use burn::tensor::Tensor;
use num_traits::Float;
use serde::{Deserialize, Serialize};

use super::class_weights::{ClassWeights, apart};
use super::groups::Groups;
use super::samples::{DeviceSamples, HostSamples};
use super::wide::Wide;

/// Whether the loss of a sample is divided by the batch histogram of its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClassBalance {
    /// Every sample counts the same.
    #[default]
    None,
    /// The loss of sample `i` is divided by `n_{y_i}`, so that every class of the batch counts the
    /// same.
    Histogram,
}

/// What the loss of each sample is multiplied by before the losses of a batch are added.
///
/// ```text
/// coefficient_i = lambda * w_i * w_class(y_i) / divisor / (n_{y_i} or 1)
/// divisor       = sum_k w_k w_class(y_k)   mean
///                 batch_size               batch mean: every row counts, ignored ones too
///                 1                        sum, and one value per sample
/// ```
///
/// The division of the mean comes before the sum, so that a mean that is finite does not overflow on
/// the way. Weights may be any finite numbers: on the host all of it is computed with more exponent
/// than `f64` has, and on the device with more than the data type has.
pub(crate) struct Weighing<'a> {
    pub lambda: f64,
    /// `None` gives one value per sample.
    pub reduction: Option<&'a Reduction>,
    pub class_balance: ClassBalance,
    pub class_weights: Option<&'a ClassWeights>,
}

/// Numbers for the samples of a batch that is grouped by class.
#[derive(Debug, PartialEq)]
pub(crate) enum PerGroup {
    /// One number for all samples of a group.
    Same(Vec<f64>),
    /// One number for each sample of the batch.
    Each(Vec<f64>),
}

impl PerGroup {
    /// The number of a sample, which is in the given group.
    #[cfg(feature = "flex")]
    pub fn of(&self, group: usize, sample: usize) -> f64 {
        match self {
            Self::Same(numbers) => numbers[group],
            Self::Each(numbers) => numbers[sample],
        }
    }

    /// The largest of the numbers.
    #[cfg(feature = "flex")]
    pub fn largest(&self) -> f64 {
        let (Self::Same(numbers) | Self::Each(numbers)) = self;
        numbers.iter().copied().fold(0.0, f64::max)
    }
}

impl Weighing<'_> {
    /// The coefficient of each sample; `weights` has one weight for each, or all count the same.
    pub fn coefficients(
        &self,
        groups: &Groups,
        weights: Option<&[f64]>,
        batch_size: usize,
    ) -> PerGroup {
        if weights.is_none() && self.class_weights.is_none() {
            return PerGroup::Same(self.unweighted(groups, batch_size));
        }
        let class_weight = |group: usize| match self.class_weights {
            Some(weights) => Wide::from(weights.of(groups.classes[group])),
            None => Wide::from(1.0),
        };
        let totals = wide_totals(groups, weights);
        let divisor = match self.reduction {
            Some(Reduction::Mean | Reduction::Auto) => (0..groups.len())
                .map(|group| class_weight(group) * totals[group])
                .sum(),
            Some(Reduction::BatchMean) => Wide::from(batch_size as f64),
            Some(Reduction::Sum) | None => Wide::from(1.0),
        };
        let of_group = (0..groups.len()).map(|group| {
            let coefficient = Wide::from(self.lambda) * class_weight(group) / divisor;
            match self.class_balance {
                ClassBalance::Histogram => coefficient / totals[group],
                ClassBalance::None => coefficient,
            }
        });
        match weights {
            None => PerGroup::Same(of_group.map(Wide::to_f64).collect()),
            Some(weights) => PerGroup::Each(for_each_sample(groups, weights, of_group)),
        }
    }

    /// The coefficient of each group of samples that all count the same.
    fn unweighted(&self, groups: &Groups, batch_size: usize) -> Vec<f64> {
        let divisor = match self.reduction {
            // A batch without a counting sample has no groups.
            Some(Reduction::Mean | Reduction::Auto) => groups.order.len() as f64,
            Some(Reduction::BatchMean) => batch_size as f64,
            Some(Reduction::Sum) | None => 1.0,
        };
        let coefficient = self.lambda / divisor;
        match self.class_balance {
            ClassBalance::None => vec![coefficient; groups.len()],
            ClassBalance::Histogram => {
                let counts = groups.counts().into_iter();
                counts.map(|count| coefficient / count).collect()
            }
        }
    }

    /// The coefficient of each sample, in the order of the batch.
    pub fn of_samples(&self, samples: &HostSamples) -> Vec<f64> {
        let groups = samples.groups();
        match self.coefficients(&groups, Some(&samples.weights), samples.classes.len()) {
            PerGroup::Each(coefficients) => coefficients,
            PerGroup::Same(_) => unreachable!("weights give one coefficient per sample"),
        }
    }

    /// The root of the coefficient of each sample, `[batch_size]`, without reading anything.
    /// `class_totals` gives for each sample the total of its class, of any numbers.
    pub fn roots_on_device(
        &self,
        samples: &DeviceSamples,
        class_totals: impl Fn(Tensor<1>) -> Tensor<1>,
    ) -> Tensor<1> {
        let [batch_size] = samples.weights.dims();
        let mut roots = samples.scaled_weights().sqrt();
        if let Some(class_weights) = self.class_weights {
            roots = roots * class_weights.roots(&samples.classes);
        }
        let mut root_of_scale = Float::sqrt(self.lambda);
        match self.reduction {
            Some(Reduction::Mean | Reduction::Auto) => roots = roots.normalized(),
            Some(Reduction::BatchMean) => root_of_scale /= Float::sqrt(batch_size as f64),
            Some(Reduction::Sum) | None => {}
        }
        if self.class_balance == ClassBalance::Histogram {
            roots = roots / samples.scaled_totals(class_totals).sqrt();
        }
        if (1e-15..1e15).contains(&root_of_scale) {
            roots.mul_scalar(root_of_scale).into_tensor()
        } else {
            let (mantissa, exponent) = apart(root_of_scale);
            roots.mul_scalar(mantissa).shifted(exponent).into_tensor()
        }
    }
}

/// The total weight of each group, and each sample's share of it.
pub(crate) fn totals_and_shares(groups: &Groups, weights: Option<&[f64]>) -> (Vec<f64>, PerGroup) {
    let Some(weights) = weights else {
        let counts = groups.counts();
        let shares = counts.iter().map(|count| 1.0 / count).collect();
        return (counts, PerGroup::Same(shares));
    };
    let totals = wide_totals(groups, Some(weights));
    let shares = totals.iter().map(|total| Wide::from(1.0) / *total);
    let shares = for_each_sample(groups, weights, shares);
    (
        totals.into_iter().map(Wide::to_f64).collect(),
        PerGroup::Each(shares),
    )
}

fn wide_totals(groups: &Groups, weights: Option<&[f64]>) -> Vec<Wide> {
    let Some(weights) = weights else {
        return groups.counts().into_iter().map(Wide::from).collect();
    };
    (0..groups.len())
        .map(|group| {
            let of_group = groups.samples(group).iter();
            of_group.map(|sample| Wide::from(weights[*sample])).sum()
        })
        .collect()
}

/// The weight of each sample times the number of its group; 0 for a sample in no group.
fn for_each_sample(
    groups: &Groups,
    weights: &[f64],
    of_group: impl Iterator<Item = Wide>,
) -> Vec<f64> {
    let mut numbers = vec![0.0; weights.len()];
    for (group, number) in of_group.enumerate() {
        for sample in groups.samples(group) {
            numbers[*sample] = (number * weights[*sample].into()).to_f64();
        }
    }
    numbers
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, IndexingUpdateOp, Int};
    use proptest::prelude::*;

    const MEAN: Option<&Reduction> = Some(&Reduction::Mean);

    fn weighing<'a>(
        reduction: Option<&'a Reduction>,
        class_balance: ClassBalance,
        class_weights: Option<&'a ClassWeights>,
    ) -> Weighing<'a> {
        Weighing {
            lambda: 0.5,
            reduction,
            class_balance,
            class_weights,
        }
    }

    fn class_weights(values: &[f64]) -> ClassWeights {
        ClassWeights::new(values.to_vec(), values.len(), &Device::flex(), DType::F64).unwrap()
    }

    /// Three samples of class 1 and one of class 0, in a batch of five rows.
    fn groups() -> Groups {
        Groups::new(&[1, 0, 1, super::super::groups::NO_CLASS, 1])
    }

    #[test]
    fn coefficients_by_hand() {
        let groups = groups();
        let each = |weighing: Weighing, weights| weighing.coefficients(&groups, weights, 5);
        let (plain, balanced) = (ClassBalance::None, ClassBalance::Histogram);
        assert_eq!(
            each(weighing(MEAN, plain, None), None),
            PerGroup::Same(vec![0.125, 0.125])
        );
        assert_eq!(
            each(weighing(Some(&Reduction::BatchMean), plain, None), None),
            PerGroup::Same(vec![0.1, 0.1])
        );
        assert_eq!(
            each(weighing(None, balanced, None), None),
            PerGroup::Same(vec![0.5, 0.5 / 3.0])
        );
        let of_classes = class_weights(&[2.0, 1.0]);
        assert_eq!(
            each(weighing(MEAN, plain, Some(&of_classes)), None),
            PerGroup::Same(vec![0.2, 0.1])
        );
        // Weights 1, 4, 2, 0, 1: the total is 2 * 4 + 1 * 4.
        let weights: &[f64] = &[1.0, 4.0, 2.0, 9.0, 1.0];
        let expected = [1.0, 8.0, 2.0, 0.0, 1.0].map(|weight| 0.5 * weight / 12.0);
        let PerGroup::Each(found) = each(weighing(MEAN, plain, Some(&of_classes)), Some(weights))
        else {
            panic!("weights give one coefficient per sample")
        };
        for (found, expected) in found.iter().zip(expected) {
            approx::assert_relative_eq!(*found, expected, max_relative = 1e-15);
        }
    }

    #[test]
    fn a_batch_without_weight_has_no_coefficients() {
        let weights: &[f64] = &[0.0; 5];
        let coefficients = weighing(MEAN, ClassBalance::Histogram, None);
        let coefficients = coefficients.coefficients(&groups(), Some(weights), 5);
        assert_eq!(coefficients, PerGroup::Each(vec![0.0; 5]));
    }

    /// A weight of any size, zero included.
    fn any_weight() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(0.0),
            Just(f64::from_bits(1)),
            Just(f64::MAX),
            (-1022_i32..1023, 1.0..2.0_f64).prop_map(|(e, m)| m * 2.0_f64.powi(e)),
        ]
    }

    proptest! {
        /// A common factor of all weights, or of all class weights, changes no mean.
        #[test]
        fn means_know_no_unit(
            weights in prop::collection::vec(any_weight(), 6),
            classes in prop::collection::vec(any_weight(), 3),
        ) {
            let samples = HostSamples {
                classes: vec![0, 1, 2, 0, 1, 0],
                weights: weights.clone(),
            };
            let of_classes = class_weights(&classes);
            let coefficients =
                weighing(MEAN, ClassBalance::None, Some(&of_classes)).of_samples(&samples);
            let total: f64 = coefficients.iter().sum();
            let counts = samples.classes.iter().zip(&weights).any(|(class, weight)| {
                *weight > 0.0 && classes[*class] > 0.0
            });
            prop_assert!(coefficients.iter().all(|value| (0.0..0.5 + 1e-15).contains(value)));
            if counts {
                approx::assert_relative_eq!(total, 0.5, max_relative = 1e-12);
            } else {
                prop_assert_eq!(total, 0.0);
            }
        }

        /// Host and device agree, for weights of ordinary size.
        #[test]
        fn roots_on_the_device_are_those_of_the_host(
            weights in prop::collection::vec(prop_oneof![Just(0.0), 1e-3..1e3_f64], 6),
            classes in prop::collection::vec(0.1..10.0_f64, 3),
            reduction in 0..4_usize,
            balanced in any::<bool>(),
            weighted in any::<bool>(),
        ) {
            let device = Device::flex();
            let samples = HostSamples {
                classes: vec![0, 1, 2, 0, 1, 0],
                weights: weights.clone(),
            };
            let of_classes = class_weights(&classes);
            let reductions = [Reduction::Mean, Reduction::Sum, Reduction::BatchMean];
            let balance = if balanced { ClassBalance::Histogram } else { ClassBalance::None };
            let weighing = weighing(
                reductions.get(reduction),
                balance,
                weighted.then_some(&of_classes),
            );
            let expected = weighing.of_samples(&samples);
            let on_device = DeviceSamples {
                classes: Tensor::from_data([0, 1, 2, 0, 1, 0], &device),
                weights: Tensor::from_data(weights.as_slice(), (&device, DType::F64)),
                are_weighted: true,
            };
            let index: Tensor<1, Int> = on_device.classes.clone();
            let roots = weighing.roots_on_device(&on_device, |weights| {
                Tensor::zeros([3], (&device, DType::F64))
                    .select_assign(0, index.clone(), weights, IndexingUpdateOp::Add)
                    .select(0, index.clone())
            });
            for (root, expected) in roots.into_data().iter::<f64>().zip(expected) {
                approx::assert_relative_eq!(root * root, expected, max_relative = 1e-12);
            }
        }
    }

    #[test]
    fn totals_and_shares_of_each_group() {
        let (totals, shares) = totals_and_shares(&groups(), None);
        assert_eq!(totals, [1.0, 3.0]);
        assert_eq!(shares, PerGroup::Same(vec![1.0, 1.0 / 3.0]));
        // Neither total nor shares overflow or vanish with their weights.
        let weights: &[f64] = &[f64::MAX, 1e-320, f64::MAX, 7.0, 0.0];
        let (totals, shares) = totals_and_shares(&groups(), Some(weights));
        assert_eq!(totals, [1e-320, f64::INFINITY]);
        let PerGroup::Each(shares) = shares else {
            panic!("weights give one share per sample")
        };
        for (share, expected) in shares.iter().zip([0.5, 1.0, 0.5, 0.0, 0.0]) {
            approx::assert_relative_eq!(*share, expected, max_relative = 1e-15);
        }
    }
}
