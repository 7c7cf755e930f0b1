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

use alloc::vec;
use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Element, ElementConversion, Int, Tensor, TensorData};
use core::array::from_fn;
use num_traits::Float;

use super::addition::Addition;
use super::batch::host_labels;
use super::centers::Centers;
use super::groups::{Groups, NO_CLASS};
use super::samples::{HostSamples, Samples};
use super::update::{CenterUpdate, share};
use super::{CenterDistance, CenterLoss, CenterLossError, Input, Reduction};
use crate::loss::known_gradient::with_gradient;
use pass::{Found, LANES, Pass, Pulls};

/// Of so many features the pulls of all classes stay in the cache from one pass to the next.
const VALUES_IN_CACHE: usize = 1 << 15;

impl CenterLoss {
    /// The loss of a batch; `None`, here and below, where the tensor operations must see to it.
    pub(super) fn value_fused(&self, input: &Input) -> Option<Tensor<1>> {
        Some(self.fused(input, Pulls::None)?.loss)
    }

    /// The loss of a batch and what it would do to the centers.
    pub(super) fn measure_fused(&self, input: &Input) -> Option<(Tensor<1>, CenterUpdate)> {
        let Measured {
            loss,
            pulls,
            samples,
            ..
        } = self.fused(input, Pulls::All)?;
        let update = CenterUpdate::new(
            Tensor::from_primitive::<Flex>(pulls),
            Samples::Host(samples),
        );
        Some((loss, update))
    }

    /// The loss of a batch, which moves the centers by a direct rule, or why it does not; one step of the schedules
    /// passes.
    pub(super) fn forward_fused(
        &self,
        input: &Input,
    ) -> Option<Result<Tensor<1>, CenterLossError>> {
        let wanted = match input.features.shape().num_elements() > VALUES_IN_CACHE {
            true => Pulls::OfSeveral,
            false => Pulls::All,
        };
        self.forward_by(wanted, input)
    }

    /// As [`forward_fused`](Self::forward_fused), by these pulls.
    fn forward_by(
        &self,
        wanted: Pulls,
        input: &Input,
    ) -> Option<Result<Tensor<1>, CenterLossError>> {
        let alpha = self.alpha();
        if alpha == 0.0 {
            let loss = self.value_fused(input)?;
            self.pass_step();
            return Some(Ok(loss));
        }
        let Measured {
            loss,
            features,
            groups,
            pulls,
            samples,
        } = self.fused(input, wanted)?;
        let factors = samples.factors(self.config.update_rule, alpha, pulls.dtype());
        Some(factors.map(|factors| {
            let step = InPlace::of_batch(samples.classes, factors, pulls);
            let step = match wanted {
                Pulls::OfSeveral => step.with_singles(&groups, features),
                Pulls::None | Pulls::All => step,
            };
            self.centers.take(Addition::OnHost(step));
            self.pass_step();
            loss
        }))
    }

    /// One pass over a batch; the centers are constants to the loss.
    fn fused(&self, input: &Input, wanted: Pulls) -> Option<Measured> {
        let Input {
            features,
            is_autodiff,
            labels,
            weights,
            ..
        } = input;
        let config = &*self.config;
        if config.distance != CenterDistance::Euclidean || config.radius > 0.0 {
            return None;
        }
        let rows = primitive(features.clone().without_autodiff())?;
        let centers = primitive(self.centers.constant())?;
        let classes = self.host_classes(labels)?;
        let weights = match weights {
            Some(weights) => Some(host_weights(weights, &classes, features.dtype())?),
            None => None,
        };
        let groups = Groups::new(&classes);
        if groups.len() == 0 {
            return None;
        }
        let totals = groups.totals(weights.as_deref());
        let coefficients = self.class_coefficients(&groups.classes, &totals);

        let job = Job {
            feature_dim: config.feature_dim,
            groups: &groups,
            weights: weights.as_deref(),
            totals: &totals,
            coefficients: &coefficients,
            differentiable: *is_autodiff,
            wanted,
            reduction: config.reduction,
            spare: &self.centers,
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
        let samples = HostSamples {
            classes: groups.classes.clone(),
            weights: totals,
            reach: outcome.reach,
        };
        Some(Measured {
            loss,
            features: rows,
            groups,
            pulls: outcome.pulls,
            samples,
        })
    }

    /// The class of each sample; nothing if a label names none and is not the ignored one.
    fn host_classes(&self, labels: &Tensor<1, Int>) -> Option<Vec<usize>> {
        let labels = labels.clone().without_autodiff();
        let labels = labels.try_into_primitive::<Flex>().ok()?;
        match (labels.as_slice::<i64>(), labels.as_slice::<i32>()) {
            (Some(labels), _) => self.classes(labels.iter().copied()),
            (_, Some(labels)) => self.classes(labels.iter().map(|label| i64::from(*label))),
            _ => self.classes(host_labels(&labels.into_data()).into_iter()),
        }
    }

    fn classes(&self, labels: impl ExactSizeIterator<Item = i64>) -> Option<Vec<usize>> {
        let config = &*self.config;
        let mut classes = Vec::with_capacity(labels.len());
        for label in labels {
            classes.push(match usize::try_from(label) {
                _ if config.ignore_label == Some(label) => NO_CLASS,
                Ok(class) if class < config.num_classes => class,
                _ => return None,
            });
        }
        Some(classes)
    }
}

/// The weight of each sample, 0 where it has no class; nothing if one is not a weight.
fn host_weights(weights: &Tensor<1>, classes: &[usize], dtype: DType) -> Option<Vec<f64>> {
    // In the centers' type: what is finite in f64 need not be in f32.
    let weights = weights.clone().without_autodiff().cast(dtype);
    let weights = weights.try_into_data().ok()?;
    let valid = |weight: f64| (weight.is_finite() && weight >= 0.0).then_some(weight);
    weights
        .iter::<f64>()
        .zip(classes)
        .map(|(weight, class)| match *class {
            NO_CLASS => Some(0.0),
            _ => valid(weight),
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

/// A tensor of the data type that the data have.
fn tensor<const D: usize>(data: TensorData) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(FloatTensor::<Flex>::from_data(data))
}

/// What one pass over a batch gives.
struct Measured {
    loss: Tensor<1>,
    /// Those of the batch, without gaps.
    features: FloatTensor<Flex>,
    groups: Groups,
    /// A row for each group that [`Pulls`] asked for.
    pulls: FloatTensor<Flex>,
    /// One for each group.
    samples: HostSamples,
}

/// A pass and what becomes of its results.
struct Job<'a> {
    feature_dim: usize,
    groups: &'a Groups,
    /// Of each sample of the batch, if they differ.
    weights: Option<&'a [f64]>,
    /// The total weight of each group.
    totals: &'a [f64],
    /// Of each group, for a sample of weight 1.
    coefficients: &'a [f64],
    differentiable: bool,
    wanted: Pulls,
    reduction: Reduction,
    /// Whose spare memory is used.
    spare: &'a Centers,
}

struct Outcome {
    /// `[1]`, or `[batch_size]` without reduction.
    values: Tensor<1>,
    gradient: Option<Tensor<2>>,
    pulls: FloatTensor<Flex>,
    /// An upper bound of the entries of the pulls.
    reach: f64,
}

impl Job<'_> {
    fn run<T: Element + Float>(&self, features: &[T], centers: &[T]) -> Option<Outcome> {
        let converted =
            |values: &[f64]| -> Vec<T> { values.iter().map(|value| value.elem::<T>()).collect() };
        let shares = self
            .totals
            .iter()
            .map(|total| share(1.0, *total).elem::<T>());
        let memory = match self.wanted {
            Pulls::None => Vec::new(),
            Pulls::OfSeveral | Pulls::All => self.spare.spare(),
        };
        let Found {
            squares,
            gradient,
            pulls,
        } = Pass {
            feature_dim: self.feature_dim,
            features,
            centers,
            groups: self.groups,
            weights: self.weights.map(converted).as_deref(),
            coefficients: &converted(self.coefficients),
            shares: &shares.collect::<Vec<_>>(),
            wanted: self.wanted,
        }
        .run(self.differentiable, memory);

        // Nothing if a feature is not finite, or if only its square is not.
        let largest = largest(&squares)?;
        let matrix = |values: Vec<T>| {
            let rows = values.len() / self.feature_dim;
            TensorData::new(values, [rows, self.feature_dim])
        };
        let batch_size = features.len() / self.feature_dim;
        let values: Vec<T> = match self.reduction {
            Reduction::None => self.losses(&squares, batch_size),
            Reduction::Mean | Reduction::Sum => vec![self.loss(&squares).elem()],
        };
        Some(Outcome {
            values: tensor(TensorData::from(values.as_slice())),
            gradient: self.differentiable.then(|| tensor(matrix(gradient))),
            pulls: FloatTensor::<Flex>::from_data(matrix(pulls)),
            reach: Float::sqrt(largest.elem::<f64>()),
        })
    }

    /// The loss of all samples.
    fn loss<T: Element>(&self, squares: &[T]) -> f64 {
        let mut loss = 0.0;
        for (group, coefficient) in self.coefficients.iter().enumerate() {
            let places = self.groups.places(group..group + 1);
            let squares = squares[places].iter().map(|square| square.elem::<f64>());
            let sum: f64 = match self.weights {
                Some(weights) => squares
                    .zip(self.groups.samples(group))
                    .map(|(square, sample)| square * weights[*sample])
                    .sum(),
                None => squares.sum(),
            };
            loss += 0.5 * coefficient * sum;
        }
        loss
    }

    /// The loss of each sample of the batch.
    fn losses<T: Element>(&self, squares: &[T], batch_size: usize) -> Vec<T> {
        let mut losses = vec![0.0.elem(); batch_size];
        for (group, coefficient) in self.coefficients.iter().enumerate() {
            let places = self.groups.places(group..group + 1);
            for (square, sample) in squares[places].iter().zip(self.groups.samples(group)) {
                let weight = self.weights.map_or(1.0, |weights| weights[*sample]);
                losses[*sample] = (0.5 * coefficient * weight * square.elem::<f64>()).elem();
            }
        }
        losses
    }
}

/// The largest of numbers that are not negative; nothing if one of them is not finite.
fn largest<T: Float>(numbers: &[T]) -> Option<T> {
    let larger = |a: T, b: T| if a > b { a } else { b };
    let mut all_finite = true;
    let mut lanes = [T::zero(); LANES];
    let (blocks, rest) = numbers.as_chunks::<LANES>();
    for block in blocks {
        lanes = from_fn(|lane| larger(lanes[lane], block[lane]));
        all_finite &= block
            .iter()
            .fold(true, |all, number| all & number.is_finite());
    }
    all_finite &= rest.iter().all(|number| number.is_finite());
    let numbers = lanes.into_iter().chain(rest.iter().copied());
    all_finite.then(|| numbers.fold(T::zero(), larger))
}
