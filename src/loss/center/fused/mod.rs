//! Loss and update without tensor operations in between, on the backend whose memory the host can reach.
//!
//! A batch that is in order goes through a [`Pass`], which reads features and centers once and writes the gradient and the
//! class means once; [`InPlace`] changes the centers where they are. What this does not cover (another distance, a
//! radius, a sample that is not as it should be) goes through the tensor operations of [`CenterLoss`], which give the
//! same results up to rounding and say what is wrong with a sample. The counterpart for GPUs is in `kernels`.

mod in_place;
mod pass;
#[cfg(test)]
mod tests;

pub(super) use in_place::InPlace;

use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Device, Element, ElementConversion, Int, Tensor, TensorData};
use num_traits::Float;

use super::batch::host_labels;
use super::groups::Groups;
use super::samples::{HostSamples, PerSample, Samples};
use super::update::{CenterUpdate, share};
use super::{CenterDistance, CenterLoss, Reduction};
use crate::loss::known_gradient::with_gradient;
use pass::{Found, Pass};

impl CenterLoss {
    /// The loss of a batch and what it would do to the centers, which are constants to it; `None` where the tensor
    /// operations must see to it. `features` are in the centers' data type, and all shapes and devices fit.
    pub(super) fn measure_fused(
        &self,
        features: &Tensor<2>,
        labels: &Tensor<1, Int>,
        weights: Option<&Tensor<1>>,
    ) -> Option<(Tensor<1>, CenterUpdate)> {
        let config = &*self.config;
        if config.distance != CenterDistance::Euclidean || config.radius > 0.0 {
            return None;
        }
        let rows = primitive(features.clone().without_autodiff())?;
        let centers = primitive(self.centers.constant())?;

        let classes = self.host_classes(labels)?;
        let weights = host_weights(weights, &classes, features.dtype())?;
        let groups = Groups::new(&classes);
        if groups.len() == 0 {
            return None;
        }
        let totals = groups.totals(&weights);
        let mut shares = weights.clone();
        for (group, total) in totals.iter().enumerate() {
            for sample in groups.samples(group) {
                shares[*sample] = share(weights[*sample], *total);
            }
        }
        let samples = Samples::Host(HostSamples {
            classes: classes.iter().map(|class| class.unwrap_or(0)).collect(),
            weights,
            reach: 0.0,
        });
        let PerSample::Host(coefficients) = self.coefficients(labels, &samples) else {
            return None;
        };

        let device = self.centers.device();
        let job = Job {
            feature_dim: config.feature_dim,
            groups: &groups,
            coefficients: &coefficients,
            shares: &shares,
            differentiable: features.device().is_autodiff(),
            reduction: config.reduction,
            device: &device,
        };
        let outcome = match features.dtype() {
            DType::F32 => job.run::<f32>(rows.as_slice()?, centers.as_slice()?),
            DType::F64 => job.run::<f64>(rows.as_slice()?, centers.as_slice()?),
            _ => None,
        }?;
        let loss = match outcome.gradient {
            Some(gradient) => with_gradient(features.clone(), outcome.values, gradient),
            None => outcome.values,
        };
        let index: Vec<i64> = groups.classes.iter().map(|class| *class as i64).collect();
        let update = CenterUpdate::new(
            Tensor::from_data(index.as_slice(), &device),
            outcome.pulls,
            Samples::Host(HostSamples {
                classes: groups.classes,
                weights: totals,
                reach: outcome.reach,
            }),
        );
        Some((loss, update))
    }

    /// The class of each sample, none where the label is the ignored one; nothing if a label names no class.
    fn host_classes(&self, labels: &Tensor<1, Int>) -> Option<Vec<Option<usize>>> {
        let labels = labels.clone().without_autodiff().try_into_data().ok()?;
        host_labels(&labels)
            .into_iter()
            .map(|label| match self.config.ignore_label == Some(label) {
                true => Some(None),
                false => usize::try_from(label)
                    .ok()
                    .filter(|class| *class < self.config.num_classes)
                    .map(Some),
            })
            .collect()
    }
}

/// The weight of each sample, 0 where it has no class; nothing if one is not a weight.
fn host_weights(
    weights: Option<&Tensor<1>>,
    classes: &[Option<usize>],
    dtype: DType,
) -> Option<Vec<f64>> {
    let given: Option<Vec<f64>> = match weights {
        // In the centers' type: what is finite in f64 need not be in f32.
        Some(weights) => {
            let weights = weights.clone().without_autodiff().cast(dtype);
            Some(weights.try_into_data().ok()?.iter::<f64>().collect())
        }
        None => None,
    };
    classes
        .iter()
        .enumerate()
        .map(|(sample, class)| match class {
            Some(_) => {
                let weight = given.as_ref().map_or(1.0, |weights| weights[sample]);
                (weight.is_finite() && weight >= 0.0).then_some(weight)
            }
            None => Some(0.0),
        })
        .collect()
}

/// The tensor without gaps between its rows, if the host can reach it.
fn primitive(tensor: Tensor<2>) -> Option<FloatTensor<Flex>> {
    let primitive = tensor.try_into_primitive::<Flex>().ok()?;
    Some(match primitive.is_contiguous() {
        true => primitive,
        false => primitive.to_contiguous(),
    })
}

/// A pass and what becomes of its results.
struct Job<'a> {
    feature_dim: usize,
    groups: &'a Groups,
    coefficients: &'a [f64],
    shares: &'a [f64],
    differentiable: bool,
    reduction: Reduction,
    device: &'a Device,
}

struct Outcome {
    /// `[1]`, or `[batch_size]` without reduction.
    values: Tensor<1>,
    gradient: Option<Tensor<2>>,
    pulls: Tensor<2>,
    /// An upper bound of the entries of the pulls.
    reach: f64,
}

impl Job<'_> {
    fn run<T: Element + Float>(&self, features: &[T], centers: &[T]) -> Option<Outcome> {
        let converted =
            |values: &[f64]| -> Vec<T> { values.iter().map(|value| value.elem::<T>()).collect() };
        let Found {
            squares,
            gradient,
            pulls,
        } = Pass {
            feature_dim: self.feature_dim,
            features,
            centers,
            groups: self.groups,
            coefficients: &converted(self.coefficients),
            shares: &converted(self.shares),
        }
        .run(self.differentiable);
        let mut largest = 0.0_f64;
        let mut losses = alloc::vec![0.0; self.coefficients.len()];
        for (square, sample) in squares.iter().zip(&self.groups.order) {
            let square = square.elem::<f64>();
            // Something is not finite, or only its square is not.
            if !square.is_finite() {
                return None;
            }
            largest = largest.max(square);
            losses[*sample] = self.coefficients[*sample] * 0.5 * square;
        }
        let losses = match self.reduction {
            Reduction::None => converted(&losses),
            Reduction::Mean | Reduction::Sum => converted(&[losses.iter().sum()]),
        };
        let matrix = |values: Vec<T>, rows: usize| -> Tensor<2> {
            let data = TensorData::new(values, [rows, self.feature_dim]);
            Tensor::from_data(data, (self.device, T::dtype()))
        };
        Some(Outcome {
            values: Tensor::from_data(losses.as_slice(), (self.device, T::dtype())),
            gradient: self
                .differentiable
                .then(|| matrix(gradient, self.coefficients.len())),
            pulls: matrix(pulls, self.groups.len()),
            reach: Float::sqrt(largest),
        })
    }
}
