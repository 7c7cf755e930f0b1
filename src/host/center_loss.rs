//! Center loss in two loops: one for loss and gradient, and one that moves each center by its group of samples.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Device, Element, ElementConversion, Int, Tensor, TensorData};
use num_traits::Float;

use crate::backward::{Derivative, custom_backward};
use crate::batch::{BatchRules, ClassBalance, LabelKind, LabelledBatch, Weighing, read_labels};
use crate::centers::Normalization;
use crate::device::flex_memory;
use crate::error::is_weight;
use crate::loops::{Loops, for_each_part, threads, vectorized};

/// The class of a sample that takes no part.
const NO_CLASS: usize = usize::MAX;

/// Values that are worked on side by side, for the vector units.
const LANES: usize = 16;

/// Another thread costs more than it saves below this number of values.
const VALUES_FOR_THREADS: usize = 1 << 20;

/// A batch whose shapes and devices fit.
pub(crate) struct Problem<'a> {
    pub batch: &'a LabelledBatch,
    /// `[num_classes, feature_dim]`
    pub centers: Tensor<2>,
    pub rules: &'a BatchRules,
    pub weighing: Weighing<'a>,
    /// The divisor of a direct rule and its alpha, if the centers move.
    pub rate: Option<(Normalization, f64)>,
}

/// The Euclidean loss of a batch, `[1]` or `[batch_size]` on the graph of the features, and the step of the centers.
/// `None` on other backends, and for a batch of which a sample may be bad.
pub(crate) fn center_loss(problem: &Problem) -> Option<(Tensor<1>, Option<Step>)> {
    let (input, dtype) = (problem.batch.features.clone(), problem.centers.dtype());
    match dtype {
        DType::F32 => measure::<f32>(problem, in_type(input, dtype), |tensor| tensor.as_slice()),
        DType::F64 => measure::<f64>(problem, in_type(input, dtype), |tensor| tensor.as_slice()),
        _ => None,
    }
}

fn in_type(features: Tensor<2>, dtype: DType) -> Tensor<2> {
    match features.dtype() == dtype {
        true => features,
        false => features.cast(dtype),
    }
}

fn measure<T: Element + Float>(
    problem: &Problem,
    input: Tensor<2>,
    values: fn(&FloatTensor<Flex>) -> Option<&[T]>,
) -> Option<(Tensor<1>, Option<Step>)> {
    let [batch_size, dim] = input.dims();
    let is_autodiff = input.is_autodiff();
    let features = flex_memory(input.clone().without_autodiff())?;
    let centers = flex_memory(problem.centers.clone())?;
    let groups = Groups::new(problem)?;
    let coefficients = groups.coefficients(&problem.weighing)?;

    let mut squares = vec![T::zero(); batch_size];
    let mut gradient = vec![T::zero(); if is_autodiff { batch_size * dim } else { 0 }];
    let rows = part_of(batch_size, batch_size * dim);
    let mut gradients = gradient.chunks_mut(rows * dim);
    let mut parts: Vec<_> = squares
        .chunks_mut(rows)
        .map(|squares| (squares, gradients.next().unwrap_or_default()))
        .collect();
    let (x, c) = (values(&features)?, values(&centers)?);
    for_each_part(&mut parts, 1, |part, parts| {
        for (squares, gradient) in parts {
            let first = part * rows;
            vectorized(Measuring {
                features: &x[first * dim..],
                centers: c,
                classes: &groups.classes[first..],
                coefficients: &coefficients[first..],
                squares,
                gradient,
                dim,
            });
        }
    });

    let alpha = problem.rate.map_or(0.0, |(_, alpha)| alpha);
    let limit = T::max_value().elem::<f64>();
    let (mut is_in_range, mut losses) = (true, Vec::with_capacity(batch_size));
    for (sample, square) in squares.iter().enumerate() {
        let loss = 0.5 * square.elem::<f64>();
        // No entry of a difference is larger than 1 and the half of its square.
        is_in_range &= loss <= limit && groups.weights[sample] * alpha * (loss + 1.0) <= limit;
        losses.push(coefficients[sample] * loss);
    }
    if !is_in_range {
        return None;
    }
    let losses: Vec<T> = match problem.weighing.reduction {
        Some(_) => vec![losses.iter().sum::<f64>().elem()],
        None => losses.into_iter().map(|loss| loss.elem()).collect(),
    };
    let shape = [losses.len()];
    let mut value = Tensor::from_primitive::<Flex>(tensor(losses, shape));
    if is_autodiff {
        let known = Known {
            gradient: Tensor::from_primitive::<Flex>(tensor(gradient, [batch_size, dim])),
            is_resting: groups.is_resting(),
        };
        value = custom_backward([input, problem.centers.clone()], value, known);
    }
    let step = problem.rate.filter(|_| alpha > 0.0);
    let step = step.map(|(normalization, alpha)| Step {
        features,
        groups,
        normalization,
        alpha,
    });
    Some((value, step))
}

/// The number of items that a thread takes of some with so many values.
fn part_of(items: usize, values: usize) -> usize {
    let parts = match values >= VALUES_FOR_THREADS {
        true => threads(),
        false => 1,
    };
    items.div_ceil(parts).max(1)
}

/// One thread's share of loss and gradient. Matrices are given row by row.
struct Measuring<'a, T> {
    features: &'a [T],
    centers: &'a [T],
    classes: &'a [usize],
    coefficients: &'a [f64],
    /// The squared distance of each sample from its center.
    squares: &'a mut [T],
    /// The gradient of the weighed losses by the features; empty if it is not wanted.
    gradient: &'a mut [T],
    dim: usize,
}

impl<T: Element + Float> Loops for Measuring<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let dim = self.dim;
        for (sample, square) in self.squares.iter_mut().enumerate() {
            let class = self.classes[sample];
            if class == NO_CLASS {
                continue;
            }
            let features = &self.features[sample * dim..][..dim];
            let center = &self.centers[class * dim..][..dim];
            *square = squared_distance(features, center);
            if !self.gradient.is_empty() {
                let coefficient: T = self.coefficients[sample].elem();
                let row = &mut self.gradient[sample * dim..][..dim];
                for (slope, (x, c)) in row.iter_mut().zip(features.iter().zip(center)) {
                    *slope = (*x - *c) * coefficient;
                }
            }
        }
    }
}

#[inline(always)]
fn squared_distance<T: Float>(one: &[T], other: &[T]) -> T {
    let (blocks, rest) = one.as_chunks::<LANES>();
    let (other_blocks, other_rest) = other.as_chunks::<LANES>();
    let mut lanes = [T::zero(); LANES];
    for (one, other) in blocks.iter().zip(other_blocks) {
        for lane in 0..LANES {
            let difference = one[lane] - other[lane];
            lanes[lane] = lanes[lane] + difference * difference;
        }
    }
    let mut sum = T::zero();
    if !blocks.is_empty() {
        sum = lanes.into_iter().fold(sum, |sum, lane| sum + lane);
    }
    for (one, other) in rest.iter().zip(other_rest) {
        sum = sum + (*one - *other) * (*one - *other);
    }
    sum
}

/// A gradient that waits for the backward pass.
#[derive(Debug)]
struct Known {
    /// `[batch_size, feature_dim]`
    gradient: Tensor<2>,
    is_resting: Option<Tensor<1, Bool>>,
}

impl Derivative for Known {
    fn gradients(&self, upstream: Tensor<1>, _wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let mut gradient = self.gradient.clone();
        if upstream.to_data().iter::<f64>().any(|factor| factor != 1.0) {
            gradient = gradient * upstream.unsqueeze_dim(1);
            if let Some(resting) = self.is_resting.clone() {
                let resting = resting.unsqueeze_dim::<2>(1).expand(gradient.dims());
                gradient = gradient.mask_fill(resting, 0.0);
            }
        }
        [Some(gradient), None]
    }
}

/// A step of the centers by a direct rule.
pub(crate) struct Step {
    features: FloatTensor<Flex>,
    groups: Groups,
    normalization: Normalization,
    alpha: f64,
}

impl Step {
    /// The centers after the step.
    pub fn add_to(self, centers: Tensor<2>) -> Tensor<2> {
        let expected = "the step is on the device of the centers";
        let centers = centers.try_into_primitive::<Flex>().expect(expected);
        // Copies nothing unless the centers are a view of something else.
        let mut centers = match centers.layout().contiguous_offsets() {
            Some((0, _)) => centers,
            _ => centers.to_contiguous(),
        };
        match self.features.dtype() {
            DType::F64 => self.move_rows::<f64>(self.features.as_slice(), centers.storage_mut()),
            _ => self.move_rows::<f32>(self.features.as_slice(), centers.storage_mut()),
        }
        Tensor::from_primitive::<Flex>(centers)
    }

    fn move_rows<T: Element + Float>(&self, features: Option<&[T]>, centers: &mut [T]) {
        let features = features.expect("features without gaps");
        let dim = features.len() / self.groups.classes.len();
        let (mut rows, mut next) = (centers.chunks_exact_mut(dim), 0);
        let centers_of = |samples: &'_ [usize]| {
            let class = self.groups.classes[samples[0]];
            let skipped = class - std::mem::replace(&mut next, class + 1);
            rows.nth(skipped).expect("a center for each class")
        };
        let centers: Vec<_> = self.groups.each().map(centers_of).collect();
        let mut groups: Vec<_> = centers.into_iter().zip(self.groups.each()).collect();
        let size = part_of(groups.len(), features.len());
        for_each_part(&mut groups, size, |_, groups| {
            vectorized(Moving {
                step: self,
                features,
                groups,
                dim,
            });
        });
    }
}

/// One thread's share of the step.
struct Moving<'a, 'b, T> {
    step: &'a Step,
    features: &'a [T],
    /// The center of each class, and its samples.
    groups: &'a mut [(&'b mut [T], &'b [usize])],
    dim: usize,
}

impl<T: Element + Float> Loops for Moving<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (groups, dim) = (&self.step.groups, self.dim);
        let mut sums = vec![T::zero(); dim];
        for (center, samples) in self.groups {
            let (center, samples) = (&mut center[..dim], *samples);
            let rate = self.step.alpha / self.step.normalization.divisor(groups.total(samples));
            if let [sample] = *samples {
                let factor: T = (rate * groups.weights[sample]).elem();
                for (center, x) in center.iter_mut().zip(&self.features[sample * dim..]) {
                    *center = *center + (*x - *center) * factor;
                }
                continue;
            }
            sums.fill(T::zero());
            for sample in samples {
                let factor: T = (rate * groups.weights[*sample]).elem();
                let row = &self.features[sample * dim..][..dim];
                for (sum, (x, center)) in sums.iter_mut().zip(row.iter().zip(&*center)) {
                    *sum = *sum + (*x - *center) * factor;
                }
            }
            for (center, sum) in center.iter_mut().zip(&sums) {
                *center = *center + *sum;
            }
        }
    }
}

/// The samples of a batch by class.
struct Groups {
    /// The class of each sample.
    classes: Vec<usize>,
    /// The weight of each sample, 0 where it takes no part.
    weights: Vec<f64>,
    /// The samples that take part: classes in ascending order, and the samples of a class in the order of the batch.
    order: Vec<usize>,
}

impl Groups {
    /// `None` if a label names no class, or a weight is 0 or outside the range.
    fn new(problem: &Problem) -> Option<Self> {
        let classes = classes(problem.rules, &problem.batch.labels)?;
        let mut weights = vec![1.0; classes.len()];
        if let Some(given) = &problem.batch.weights {
            let given = given.clone().without_autodiff().try_into_data().ok()?;
            weights = given.iter::<f64>().collect();
            if weights
                .iter()
                .any(|weight| *weight == 0.0 || !is_weight(*weight))
            {
                return None;
            }
        }
        for (weight, class) in weights.iter_mut().zip(&classes) {
            *weight = if *class == NO_CLASS { 0.0 } else { *weight };
        }
        // One number holds class and sample, because a number sorts faster than a pair.
        let samples = (0..).zip(&classes).filter(|(_, class)| **class != NO_CLASS);
        let mut keys: Vec<u64> = samples
            .map(|(sample, class)| (*class as u64) << 32 | sample)
            .collect();
        keys.sort_unstable();
        let order = keys.into_iter().map(|key| key as u32 as usize).collect();
        Some(Self {
            classes,
            weights,
            order,
        })
    }

    /// The samples of each class that has some.
    fn each(&self) -> impl Iterator<Item = &[usize]> {
        let same = |one: &usize, other: &usize| self.classes[*one] == self.classes[*other];
        self.order.chunk_by(same)
    }

    fn total(&self, samples: &[usize]) -> f64 {
        samples.iter().map(|sample| self.weights[*sample]).sum()
    }

    /// The factor of each sample's half squared distance. `None` if the device does not return class weights.
    fn coefficients(&self, weighing: &Weighing) -> Option<Vec<f64>> {
        let mut each = self.weights.clone();
        if let Some(class_weights) = weighing.class_weights {
            let class_weights = class_weights.clone().without_autodiff();
            let class_weights: Vec<f64> = class_weights.try_into_data().ok()?.iter().collect();
            for sample in &self.order {
                each[*sample] *= class_weights[self.classes[*sample]];
            }
        }
        let divisor = match weighing.reduction {
            Some(Reduction::Mean | Reduction::Auto) => each.iter().sum(),
            Some(Reduction::BatchMean) => each.len() as f64,
            Some(Reduction::Sum) | None => 1.0,
        };
        let factor = weighing.lambda / if divisor == 0.0 { 1.0 } else { divisor };
        each.iter_mut()
            .for_each(|coefficient| *coefficient *= factor);
        if weighing.class_balance == ClassBalance::Histogram {
            for samples in self.each() {
                let total = self.total(samples);
                samples.iter().for_each(|sample| each[*sample] /= total);
            }
        }
        Some(each)
    }

    /// The samples that take no part, `[batch_size]`, if there are any.
    fn is_resting(&self) -> Option<Tensor<1, Bool>> {
        let is_resting = self.classes.iter().map(|class| *class == NO_CLASS);
        let resting: Vec<bool> = is_resting.collect();
        let has_some = self.order.len() < resting.len();
        has_some.then(|| Tensor::from_data(resting.as_slice(), &Device::flex()))
    }
}

/// The class of each sample; `None` if a label names none and is not the ignored one.
fn classes(rules: &BatchRules, labels: &Tensor<1, Int>) -> Option<Vec<usize>> {
    let labels = read_labels(&labels.clone().without_autodiff().try_into_data().ok()?);
    let known = |label| match rules.kind_of(label) {
        LabelKind::Class(class) => Some(class),
        LabelKind::Ignored => Some(NO_CLASS),
        LabelKind::Unknown => None,
    };
    labels.into_iter().map(known).collect()
}

fn tensor<T: Element, const D: usize>(values: Vec<T>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}
