//! Center loss in two loops: one for loss and gradient, and one that moves each center by its group of samples.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Element, ElementConversion, Int, Tensor, TensorData};
use num_traits::Float;

use crate::backward::{Derivative, custom_backward};
use crate::batch::{BatchRules, ClassBalance, LabelKind, LabelledBatch, Weighing, read_labels};
use crate::centers::Normalization;
use crate::error::is_weight;
use crate::parts::{for_each_part, threads};
use crate::simd::{Loops, vectorized};

/// The class of a sample that takes no part.
const NO_CLASS: usize = usize::MAX;

/// Values that are worked on side by side, for the vector units.
const LANES: usize = 16;

/// Another thread costs more than it saves below this number of values.
const VALUES_FOR_THREADS: usize = 1 << 20;

/// A batch whose shapes and devices fit, under strict checking.
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
/// `None` on other backends, and for a batch that tensor operations may refuse.
pub(crate) fn center_loss(problem: &Problem) -> Option<(Tensor<1>, Option<Step>)> {
    if problem.batch.features.dtype() != problem.centers.dtype() {
        return None;
    }
    match problem.centers.dtype() {
        DType::F32 => measure::<f32>(problem, |tensor| tensor.as_slice()),
        DType::F64 => measure::<f64>(problem, |tensor| tensor.as_slice()),
        _ => None,
    }
}

fn measure<T: Element + Float>(
    problem: &Problem,
    values: fn(&FloatTensor<Flex>) -> Option<&[T]>,
) -> Option<(Tensor<1>, Option<Step>)> {
    let LabelledBatch {
        features: input,
        labels,
        weights,
    } = problem.batch;
    let features = contiguous(input.clone().without_autodiff())?;
    let centers = contiguous(problem.centers.clone())?;
    let classes = classes(problem.rules, labels)?;
    let weights = match weights {
        Some(weights) => sample_weights(weights)?,
        None => vec![1.0; classes.len()],
    };
    let groups = Groups::new(classes, weights, problem.rules.num_classes);
    let coefficients = groups.coefficients(&problem.weighing)?;

    let dim = problem.rules.feature_dim;
    let mut squares = vec![T::zero(); groups.classes.len()];
    let is_autodiff = input.is_autodiff();
    let rows = if is_autodiff { squares.len() } else { 0 };
    let mut gradient = vec![T::zero(); rows * dim];
    let part_rows = match squares.len() * dim >= VALUES_FOR_THREADS {
        true => squares.len().div_ceil(threads()),
        false => squares.len(),
    };
    let mut gradients = gradient.chunks_mut(part_rows * dim);
    let mut parts: Vec<_> = squares
        .chunks_mut(part_rows)
        .map(|squares| (squares, gradients.next().unwrap_or_default()))
        .collect();
    for_each_part(&mut parts, 1, |part, rows| {
        for (squares, gradient) in rows {
            let first = part * part_rows;
            vectorized(Measuring {
                features: &values(&features).unwrap_or_default()[first * dim..],
                centers: values(&centers).unwrap_or_default(),
                classes: &groups.classes[first..],
                coefficients: &coefficients[first..],
                squares,
                gradient,
                dim,
            });
        }
    });

    let mut losses: Vec<f64> = squares
        .iter()
        .map(|square| 0.5 * square.elem::<f64>())
        .collect();
    let alpha = problem.rate.map_or(0.0, |(_, alpha)| alpha);
    let limit = T::max_value().elem::<f64>();
    // No entry of a difference is larger than 1 and the half of its square.
    let is_in_range = losses
        .iter()
        .zip(&groups.weights)
        .fold(true, |all, (loss, weight)| {
            all & (*loss <= limit) & (weight * alpha * (loss + 1.0) <= limit)
        });
    if !is_in_range {
        return None;
    }
    for (loss, coefficient) in losses.iter_mut().zip(&coefficients) {
        *loss *= coefficient;
    }
    let losses: Vec<T> = match problem.weighing.reduction {
        Some(_) => vec![losses.iter().sum::<f64>().elem()],
        None => losses.into_iter().map(|loss| loss.elem()).collect(),
    };
    let shape = [losses.len()];
    let value = Tensor::from_primitive::<Flex>(tensor(losses, shape));
    let value = if is_autodiff {
        let shape = [squares.len(), dim];
        let known = Known {
            gradient: Tensor::from_primitive::<Flex>(tensor(gradient, shape)),
            is_resting: groups.resting(),
        };
        let other = problem.centers.clone();
        custom_backward([input.clone(), other], value, known)
    } else {
        value
    };
    let step = problem.rate.filter(|(_, alpha)| *alpha > 0.0);
    let step = step.map(|(normalization, alpha)| Step {
        features,
        groups,
        normalization,
        alpha,
    });
    Some((value, step))
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
        // Feature maps have two columns. A known number of columns leaves no loop over them.
        match self.dim {
            2 => self.run_with(2),
            dim => self.run_with(dim),
        }
    }
}

impl<T: Element + Float> Measuring<'_, T> {
    #[inline(always)]
    fn run_with(self, dim: usize) {
        let samples = self
            .squares
            .iter_mut()
            .zip(self.classes)
            .zip(self.coefficients);
        for (sample, ((square, class), coefficient)) in samples.enumerate() {
            if *class == NO_CLASS {
                continue;
            }
            let features = &self.features[sample * dim..][..dim];
            let center = &self.centers[class * dim..][..dim];
            *square = squared_distance(features, center);
            if !self.gradient.is_empty() {
                let coefficient: T = coefficient.elem();
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
        let gradient = self.gradient.clone();
        let shape = gradient.dims();
        let are_ones = upstream.to_data().iter::<f64>().all(|factor| factor == 1.0);
        if are_ones {
            return [Some(gradient), None];
        }
        let gradient = gradient * upstream.unsqueeze_dim(1);
        let gradient = match self.is_resting.clone() {
            Some(resting) => gradient.mask_fill(resting.unsqueeze_dim::<2>(1).expand(shape), 0.0),
            None => gradient,
        };
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
            DType::F64 => self.move_rows(self.features.storage::<f64>(), centers.storage_mut()),
            _ => self.move_rows(self.features.storage::<f32>(), centers.storage_mut()),
        }
        Tensor::from_primitive::<Flex>(centers)
    }

    fn move_rows<T: Element + Float>(&self, features: &[T], centers: &mut [T]) {
        let Groups { classes, order, .. } = &self.groups;
        let dim = features.len() / classes.len();
        let (mut rows, mut next) = (centers.chunks_exact_mut(dim), 0);
        let mut groups: Vec<(&mut [T], &[usize])> = order
            .chunk_by(|one, other| classes[*one] == classes[*other])
            .filter_map(|group| {
                let class = classes[group[0]];
                let row = rows.nth(class - next)?;
                next = class + 1;
                Some((row, group))
            })
            .collect();
        let size = match order.len() * dim >= VALUES_FOR_THREADS {
            true => groups.len().div_ceil(threads()),
            false => groups.len().max(1),
        };
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
        match self.dim {
            2 => self.run_with(2),
            dim => self.run_with(dim),
        }
    }
}

impl<T: Element + Float> Moving<'_, '_, T> {
    #[inline(always)]
    fn run_with(self, dim: usize) {
        let (weights, features) = (&self.step.groups.weights, self.features);
        let mut sums = vec![T::zero(); dim];
        for (center, samples) in self.groups {
            let total: f64 = samples.iter().map(|sample| weights[*sample]).sum();
            let rate = self.step.alpha / self.step.normalization.divisor(total);
            let center = &mut center[..dim];
            if let [sample] = **samples {
                let factor: T = (rate * weights[sample]).elem();
                for (center, x) in center.iter_mut().zip(&features[sample * dim..]) {
                    *center = *center + (*x - *center) * factor;
                }
                continue;
            }
            sums.fill(T::zero());
            for sample in *samples {
                let factor: T = (rate * weights[*sample]).elem();
                let row = &features[sample * dim..][..dim];
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
    fn new(classes: Vec<usize>, mut weights: Vec<f64>, num_classes: usize) -> Self {
        let has_class = |sample: &usize| classes[*sample] != NO_CLASS;
        for (weight, class) in weights.iter_mut().zip(&classes) {
            *weight = if *class == NO_CLASS { 0.0 } else { *weight };
        }
        // Counting is faster than sorting, but few samples of many classes must not cost O(num_classes).
        let order = if num_classes <= 8 * classes.len() {
            let mut ends = vec![0; num_classes + 1];
            for sample in (0..classes.len()).filter(has_class) {
                ends[classes[sample] + 1] += 1;
            }
            let mut count = 0;
            for end in &mut ends {
                count += *end;
                *end = count;
            }
            let mut order = vec![0; count];
            for sample in (0..classes.len()).filter(has_class) {
                let place = &mut ends[classes[sample]];
                order[*place] = sample;
                *place += 1;
            }
            order
        } else {
            let mut order: Vec<usize> = (0..classes.len()).filter(has_class).collect();
            order.sort_by_key(|sample| classes[*sample]);
            order
        };
        Self {
            classes,
            weights,
            order,
        }
    }

    /// The factor of each sample's half squared distance. `None` if class weights are not to be read.
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
            Some(Reduction::Mean | Reduction::Auto) => match each.iter().sum() {
                0.0 => 1.0,
                total => total,
            },
            Some(Reduction::BatchMean) => each.len() as f64,
            Some(Reduction::Sum) | None => 1.0,
        };
        let factor = weighing.lambda / divisor;
        for coefficient in &mut each {
            *coefficient *= factor;
        }
        if weighing.class_balance == ClassBalance::Histogram {
            let same = |one: &usize, other: &usize| self.classes[*one] == self.classes[*other];
            for group in self.order.chunk_by(same) {
                let total: f64 = group.iter().map(|sample| self.weights[*sample]).sum();
                for sample in group {
                    each[*sample] /= total;
                }
            }
        }
        Some(each)
    }

    /// The samples that take no part, `[batch_size]`, if there are any.
    fn resting(&self) -> Option<Tensor<1, Bool>> {
        if self.order.len() == self.classes.len() {
            return None;
        }
        let resting: Vec<bool> = self
            .classes
            .iter()
            .map(|class| *class == NO_CLASS)
            .collect();
        let device = burn::tensor::Device::flex();
        Some(Tensor::from_data(resting.as_slice(), &device))
    }
}

/// The class of each sample; `None` if a label names none and is not the ignored one.
fn classes(rules: &BatchRules, labels: &Tensor<1, Int>) -> Option<Vec<usize>> {
    fn known<L: Copy + Into<i128> + TryInto<usize>>(
        rules: &BatchRules,
        labels: impl Iterator<Item = L>,
    ) -> Option<Vec<usize>> {
        labels
            .map(|label| match rules.kind_of(label) {
                LabelKind::Class(class) => Some(class),
                LabelKind::Ignored => Some(NO_CLASS),
                LabelKind::Unknown => None,
            })
            .collect()
    }
    let labels = labels.clone().without_autodiff();
    let labels = labels.try_into_primitive::<Flex>().ok()?;
    match (labels.as_slice::<i64>(), labels.as_slice::<i32>()) {
        (Some(labels), _) => known(rules, labels.iter().copied()),
        (_, Some(labels)) => known(rules, labels.iter().copied()),
        _ => known(rules, read_labels(&labels.into_data()).into_iter()),
    }
}

/// The weight of each sample; `None` if one is 0 or outside the range.
fn sample_weights(weights: &Tensor<1>) -> Option<Vec<f64>> {
    let weights = weights.clone().without_autodiff().try_into_data().ok()?;
    let is_positive = |weight: f64| (weight > 0.0 && is_weight(weight)).then_some(weight);
    weights.iter::<f64>().map(is_positive).collect()
}

/// The tensor without gaps between its rows, if it is on flex.
fn contiguous(tensor: Tensor<2>) -> Option<FloatTensor<Flex>> {
    let primitive = tensor.try_into_primitive::<Flex>().ok()?;
    Some(match primitive.is_contiguous() {
        true => primitive,
        false => primitive.to_contiguous(),
    })
}

fn tensor<T: Element, const D: usize>(values: Vec<T>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}
