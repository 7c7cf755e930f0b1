//! Center loss in two loops: one for loss and gradient, and one that moves each center by its group of samples.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::backward::{Derivative, custom_backward};
use crate::batch::{BatchRules, LabelKind, LabelledBatch, Weighing, read_labels};
use crate::centers::Normalization;
use crate::device::flex_memory;
use crate::error::is_weight;
use crate::loops::{Loops, for_each_part, sum_of, threads, vectorized};

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
/// `None` unless all is `f32` on flex, and for a batch of which a sample is bad or takes no part.
pub(crate) fn center_loss(problem: &Problem) -> Option<(Tensor<1>, Option<Step>)> {
    let input = problem.batch.features.clone();
    if [input.dtype(), problem.centers.dtype()] != [DType::F32; 2] {
        return None;
    }
    let ([batch_size, dim], is_autodiff) = (input.dims(), input.is_autodiff());
    let features = flex_memory(input.clone().without_autodiff())?;
    let centers = flex_memory(problem.centers.clone())?;
    let groups = Groups::new(problem)?;
    let coefficients = coefficients(problem, batch_size)?;

    let mut gradient = vec![0.0; if is_autodiff { batch_size * dim } else { 0 }];
    let mut slopes = gradient.chunks_mut(dim);
    let (x, c) = (features.as_slice()?.chunks_exact(dim), centers.as_slice()?);
    let samples = x.zip(&groups.classes).zip(&coefficients);
    let mut samples: Vec<_> = samples
        .map(|((features, class), coefficient)| Sample {
            features,
            center: &c[class * dim..][..dim],
            coefficient: *coefficient,
            slopes: slopes.next().unwrap_or_default(),
            square: 0.0,
        })
        .collect();
    for_each_part(
        &mut samples,
        part_of(batch_size, batch_size * dim),
        |_, samples| {
            vectorized(Measuring(samples));
        },
    );

    let alpha = problem.rate.map_or(0.0, |(_, alpha)| alpha);
    let mut losses = Vec::with_capacity(batch_size);
    for (sample, weight) in samples.iter().zip(&groups.weights) {
        let loss = 0.5 * sample.square;
        // No entry of a difference is larger than 1 and the half of its square. NaN is not within.
        let is_within = |value: f64| value <= f64::from(f32::MAX);
        if !is_within(loss) || !is_within(weight * alpha * (loss + 1.0)) {
            return None;
        }
        losses.push(sample.coefficient * loss);
    }
    let losses: Vec<f32> = match problem.weighing.reduction {
        Some(_) => vec![losses.iter().sum::<f64>() as f32],
        None => losses.into_iter().map(|loss| loss as f32).collect(),
    };
    let device = Device::flex();
    let mut value = Tensor::from_data(losses.as_slice(), &device);
    if is_autodiff {
        let gradient = TensorData::new(gradient, [batch_size, dim]);
        let gradient = Known(Tensor::from_data(gradient, &device));
        value = custom_backward([input, problem.centers.clone()], value, gradient);
    }
    let step = problem.rate.filter(|_| alpha > 0.0);
    let step = step.map(|rate| Step {
        features,
        groups,
        rate,
    });
    Some((value, step))
}

/// The number of items that a thread takes of some with so many values.
fn part_of(items: usize, values: usize) -> usize {
    match values >= VALUES_FOR_THREADS {
        true => items.div_ceil(threads()),
        false => items,
    }
}

/// A sample, and the results of its loss and gradient.
struct Sample<'a> {
    features: &'a [f32],
    center: &'a [f32],
    coefficient: f64,
    /// The gradient of the weighed loss by the features; empty if it is not wanted.
    slopes: &'a mut [f32],
    /// The squared distance of the features from the center.
    square: f64,
}

/// One thread's share of loss and gradient.
struct Measuring<'a, 'b>(&'a mut [Sample<'b>]);

impl Loops for Measuring<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for sample in self.0 {
            let coefficient = sample.coefficient as f32;
            sample.square = sum_of(sample.features, sample.center, |x, c| (x - c) * (x - c));
            let pairs = sample.features.iter().zip(sample.center);
            for (slope, (x, c)) in sample.slopes.iter_mut().zip(pairs) {
                *slope = (x - c) * coefficient;
            }
        }
    }
}

/// A gradient, `[batch_size, feature_dim]`, that waits for the backward pass.
#[derive(Debug)]
struct Known(Tensor<2>);

impl Derivative for Known {
    fn gradients(&self, upstream: Tensor<1>, _wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let is_one = upstream.to_data().iter::<f64>().all(|factor| factor == 1.0);
        let gradient = match is_one {
            true => self.0.clone(),
            false => self.0.clone() * upstream.unsqueeze_dim(1),
        };
        [Some(gradient), None]
    }
}

/// A step of the centers by a direct rule.
pub(crate) struct Step {
    features: FloatTensor<Flex>,
    groups: Groups,
    rate: (Normalization, f64),
}

impl Step {
    /// The centers after the step.
    pub fn add_to(self, centers: Tensor<2>) -> Tensor<2> {
        let [_, dim] = centers.dims();
        let centers = centers.try_into_primitive::<Flex>();
        let centers = centers.expect("the step is on the device of the centers");
        // Copies nothing unless the centers are a view of something else.
        let mut centers = match centers.layout().contiguous_offsets() {
            Some((0, _)) => centers,
            _ => centers.to_contiguous(),
        };
        let features = self.features.as_slice().expect("features without gaps");
        let (mut rows, mut next) = (centers.storage_mut::<f32>().chunks_exact_mut(dim), 0);
        let mut classes = Vec::new();
        for samples in self.groups.each() {
            let class = self.groups.classes[samples[0]];
            let center = rows.nth(class - next).expect("a center for each class");
            next = class + 1;
            classes.push((center, samples));
        }
        let size = part_of(classes.len(), features.len());
        for_each_part(&mut classes, size, |_, classes| {
            vectorized(Moving {
                step: &self,
                features,
                classes,
            });
        });
        Tensor::from_primitive::<Flex>(centers)
    }
}

/// One thread's share of the step.
struct Moving<'a, 'b> {
    step: &'a Step,
    features: &'a [f32],
    /// The center of each class, and its samples.
    classes: &'a mut [(&'b mut [f32], &'b [usize])],
}

impl Loops for Moving<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (groups, (normalization, alpha)) = (&self.step.groups, self.step.rate);
        let mut sums = vec![];
        for (center, samples) in self.classes {
            let rate = alpha / normalization.divisor(groups.total(samples));
            sums.clear();
            sums.resize(center.len(), 0.0);
            for sample in *samples {
                let factor = (rate * groups.weights[*sample]) as f32;
                let row = &self.features[sample * center.len()..];
                for (sum, (x, center)) in sums.iter_mut().zip(row.iter().zip(&**center)) {
                    *sum += (x - center) * factor;
                }
            }
            for (center, sum) in center.iter_mut().zip(&sums) {
                *center += sum;
            }
        }
    }
}

/// The samples of a batch by class.
struct Groups {
    /// The class of each sample.
    classes: Vec<usize>,
    /// The weight of each sample.
    weights: Vec<f64>,
    /// The samples: classes in ascending order, and the samples of a class in the order of the batch.
    order: Vec<usize>,
}

impl Groups {
    /// `None` if a label names no class, or a weight is 0 or outside the range.
    fn new(problem: &Problem) -> Option<Self> {
        let labels = problem.batch.labels.clone().without_autodiff();
        let labels = read_labels(&labels.try_into_data().ok()?);
        let class = |label| match problem.rules.kind_of(label) {
            LabelKind::Class(class) => Some(class),
            LabelKind::Ignored | LabelKind::Unknown => None,
        };
        let classes = labels.into_iter().map(class).collect::<Option<Vec<_>>>()?;
        let weights = match &problem.batch.weights {
            Some(weights) => floats(weights)?,
            None => vec![1.0; classes.len()],
        };
        let takes_part = |weight: &f64| *weight != 0.0 && is_weight(*weight);
        if !weights.iter().all(takes_part) {
            return None;
        }
        // One number holds class and sample, because a number sorts faster than a pair.
        let samples = (0..).zip(&classes);
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
}

/// The factor of each sample's half squared distance. `None` if the device does not return the weights.
fn coefficients(problem: &Problem, batch_size: usize) -> Option<Vec<f64>> {
    let (labels, weights) = (&problem.batch.labels, &problem.batch.weights);
    if weights.is_none()
        && let Some(factor) = problem.weighing.common_factor(batch_size)
    {
        return Some(vec![factor; batch_size]);
    }
    let weights = match weights {
        Some(weights) => weights.clone().without_autodiff().cast(DType::F32),
        None => Tensor::ones([batch_size], (&Device::flex(), DType::F32)),
    };
    let classes = problem.rules.classes(&labels.clone().without_autodiff());
    let num_classes = problem.rules.num_classes;
    let (each, factor, _) = problem.weighing.factors(weights, &classes, num_classes);
    let mut each = floats(&each)?;
    each.iter_mut().for_each(|each| *each *= factor);
    Some(each)
}

fn floats(tensor: &Tensor<1>) -> Option<Vec<f64>> {
    let data = tensor.clone().without_autodiff().try_into_data().ok()?;
    Some(data.iter().collect())
}
