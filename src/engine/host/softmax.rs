//! The losses of a softmax and their gradients by loops over memory that the host reaches, one block of
//! classes after the other. Burn's own matrix product does the products.

use alloc::vec;
use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_std::sync::Mutex;
use core::ops::Range;
use num_traits::Float;

use super::angles::{self, Angle, Pairs};
use super::dot::dot;
use super::exponential::exp_of_negative;
use super::memory::contiguous;
use super::score_rows::{LANES, ScoreRows};
use crate::batch::{PerSample, index};
use crate::engine::late_gradients::Derivative;
use crate::engine::softmax::{Angles, Scale, Softmax};
use crate::parts::for_each_part;
use crate::simd::{Loops, vectorized};

/// How many scores are worked on at one time, unless a single class has more.
const BLOCK_SCORES: usize = 1 << 20;

/// How many values the class vectors of a block have, unless a single class has more: a few copies of them are
/// made.
const BLOCK_VALUES: usize = 1 << 19;

/// Scores that one thread works on in turn: fewer are not worth a thread.
const SCORES_AT_ONCE: usize = 1 << 15;

/// The angles of [`own_angles`](crate::engine::own_angles); `None` if the data type is not `f32`.
pub(in crate::engine) fn own_angles(
    features: &Tensor<2>,
    centers: &Tensor<2>,
    classes: &Tensor<1, Int>,
    sub_centers: usize,
) -> Option<Angles> {
    let [batch_size, feature_dim] = features.dims();
    let device = classes.device();
    let (features, centers) = (rows_of(features.clone())?, rows_of(centers.clone())?);
    let of_samples = host_classes(classes.clone());
    let (found, by_features, by_centers) = angles::angles(&Pairs {
        feature_dim,
        features: features.as_slice()?,
        centers: centers.as_slice()?,
        classes: &of_samples,
        sub_centers,
    });
    let rows = if sub_centers == 1 {
        classes.clone()
    } else {
        let rows: Vec<usize> = found.iter().map(|found| found.row).collect();
        index(&rows, &device)
    };
    let numbers = |number: fn(&Angle) -> f64| PerSample::Host(found.iter().map(number).collect());
    let shape = [batch_size, feature_dim];
    Some(Angles {
        rows,
        angle: numbers(|found| found.angle),
        cosine: numbers(|found| found.cosine),
        sine: numbers(|found| found.sine),
        length: numbers(|found| found.length),
        by_features: matrix(by_features, shape),
        by_centers: matrix(by_centers, shape),
    })
}

/// What the forward pass finds.
pub(in crate::engine) struct Found {
    /// The weighed losses, `[batch_size]`, or their sum, `[1]`.
    pub value: Tensor<1>,
    /// The losses before they are weighed.
    pub losses: Vec<f64>,
    pub softmax: HostSoftmax,
}

/// Losses, and what their gradients need; `None` if a number of the samples is not on the host, as those of
/// [`own_angles`] are. Without coefficients, which are numbers that `f32` holds, losses are neither weighed nor
/// reduced.
pub(in crate::engine) fn losses(
    problem: &Softmax,
    coefficients: Option<&[f64]>,
    is_reduced: bool,
) -> Option<Found> {
    let (PerSample::Host(values), PerSample::Host(slopes), PerSample::Host(lengths)) = (
        &problem.own.value,
        &problem.own.slope,
        &problem.angles.length,
    ) else {
        return None;
    };
    let batch_size = values.len();
    let [rows, feature_dim] = problem.centers.dims();
    let features = rows_of(problem.features.clone())?;
    let centers = rows_of(problem.centers.clone())?;
    let classes = host_classes(problem.classes.clone());
    let own = Own {
        rows: if problem.sub_centers == 1 {
            classes.clone()
        } else {
            host_classes(problem.angles.rows.clone())
        },
        classes,
        values: values.iter().map(|value| *value as f32).collect(),
        slopes: slopes.iter().map(|slope| *slope as f32).collect(),
        by_features: rows_of(problem.angles.by_features.clone())?,
        by_centers: rows_of(problem.angles.by_centers.clone())?,
    };
    let scales = match problem.scale {
        Scale::Fixed(scale) => vec![scale as f32; batch_size],
        Scale::Length(scale) => lengths
            .iter()
            .map(|length| (scale * length) as f32)
            .collect(),
    };
    let mut softmax = HostSoftmax {
        directions: matrix(
            unit_rows(features.as_slice()?, feature_dim),
            [batch_size, feature_dim],
        ),
        centers,
        num_classes: rows / problem.sub_centers,
        sub_centers: problem.sub_centers,
        scale: problem.scale,
        bound: problem.bound.map(|bound| bound as f32),
        smoothing: problem.smoothing,
        lengths: lengths.clone(),
        scales,
        own,
        coefficients: match coefficients {
            Some(coefficients) => coefficients.to_vec(),
            None => vec![1.0; batch_size],
        },
        log_sums: vec![0.0; batch_size],
        kept: Mutex::new(Vec::new()),
    };
    let losses = softmax.forward(softmax.keeps(problem));
    let weighed = losses
        .iter()
        .zip(&softmax.coefficients)
        .map(|(loss, coefficient)| loss * coefficient);
    let value: Vec<f32> = if is_reduced && coefficients.is_some() {
        vec![weighed.sum::<f64>() as f32]
    } else {
        weighed.map(|loss| loss as f32).collect()
    };
    let value = FloatTensor::<Flex>::from_data(TensorData::from(value.as_slice()));
    Some(Found {
        value: Tensor::from_primitive::<Flex>(value),
        losses,
        softmax,
    })
}

/// A softmax after its forward pass.
#[derive(Debug)]
pub(in crate::engine) struct HostSoftmax {
    /// Features of unit length, `[batch_size, feature_dim]`.
    directions: Tensor<2>,
    /// `[num_classes * sub_centers, feature_dim]`, without gaps.
    centers: FloatTensor<Flex>,
    num_classes: usize,
    sub_centers: usize,
    scale: Scale,
    bound: Option<f32>,
    smoothing: f64,
    /// Of the features.
    lengths: Vec<f64>,
    /// What the cosines of each sample are multiplied by.
    scales: Vec<f32>,
    own: Own,
    /// What the losses are multiplied by.
    coefficients: Vec<f64>,
    /// The logarithm of the sum of the exponentials of all scores of each sample.
    log_sums: Vec<f64>,
    /// The blocks, if they are within the budget, until the backward pass takes them.
    kept: Mutex<Vec<Block>>,
}

/// What belongs to the own class of each sample.
#[derive(Debug)]
struct Own {
    classes: Vec<usize>,
    /// The row of its vector in the centers.
    rows: Vec<usize>,
    /// The changed cosine.
    values: Vec<f32>,
    /// How fast it falls with the angle.
    slopes: Vec<f32>,
    /// How fast the angle falls with the feature, `[batch_size, feature_dim]`.
    by_features: FloatTensor<Flex>,
    /// And with the class vector.
    by_centers: FloatTensor<Flex>,
}

/// The cosines of a block of classes.
#[derive(Debug)]
struct Block {
    /// `[batch_size, classes]`; the place of the own class holds its changed score.
    cosines: FloatTensor<Flex>,
    /// Which of the sub-centers gave each cosine; empty if there is but one.
    closest: Vec<u32>,
}

/// Sums over the scores of one sample.
#[derive(Clone, Copy)]
struct Sums {
    largest: f32,
    /// Of the scores less the largest one.
    exponentials: f64,
    cosines: f64,
}

impl HostSoftmax {
    /// Whether the scores are kept.
    fn keeps(&self, problem: &Softmax) -> bool {
        let bytes = if self.sub_centers > 1 { 8 } else { 4 };
        let scores = self.scales.len().saturating_mul(self.num_classes);
        scores.saturating_mul(bytes) <= problem.budget
            && (problem.features.is_autodiff() || problem.centers.is_autodiff())
    }

    /// The losses.
    fn forward(&mut self, keeps: bool) -> Vec<f64> {
        let mut sums = vec![
            Sums {
                largest: f32::NEG_INFINITY,
                exponentials: 0.0,
                cosines: 0.0,
            };
            self.scales.len()
        ];
        let mut kept = Vec::new();
        for range in self.ranges() {
            let mut block = self.cosines(&range, self.units(&range));
            self.add(&range, &mut block, &mut sums);
            if keeps {
                kept.push(block);
            }
        }
        self.kept = Mutex::new(kept);
        let mean = self.smoothing / self.num_classes as f64;
        let samples = sums.into_iter().enumerate();
        samples
            .map(|(i, sums)| {
                let log_sum = Float::ln(sums.exponentials) + f64::from(sums.largest);
                self.log_sums[i] = log_sum;
                let own = self.own_score(i) * (1.0 - self.smoothing);
                let others = f64::from(self.scales[i]) * mean * sums.cosines;
                log_sum - own - others
            })
            .collect()
    }

    /// The classes of each block.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let num_classes = self.num_classes;
        let rows = (BLOCK_SCORES / self.scales.len()).min(BLOCK_VALUES / self.feature_dim());
        let step = (rows / self.sub_centers).max(1);
        (0..num_classes)
            .step_by(step)
            .map(move |first| first..(first + step).min(num_classes))
    }

    fn feature_dim(&self) -> usize {
        self.directions.dims()[1]
    }

    /// The class vectors of a block, row by row.
    fn centers_of(&self, range: &Range<usize>) -> &[f32] {
        let width = self.sub_centers * self.feature_dim();
        &self.centers.as_slice().unwrap_or_default()[range.start * width..range.end * width]
    }

    /// The class vectors of a block with unit length.
    fn units(&self, range: &Range<usize>) -> Tensor<2> {
        let width = self.feature_dim();
        let units = unit_rows(self.centers_of(range), width);
        matrix(units, [range.len() * self.sub_centers, width])
    }

    fn cosines(&self, range: &Range<usize>, units: Tensor<2>) -> Block {
        let cosines = primitive(self.directions.clone().matmul(units.transpose()));
        if self.sub_centers == 1 {
            return Block {
                cosines,
                closest: Vec::new(),
            };
        }
        let batch_size = self.scales.len();
        let mut closest = Vec::with_capacity(batch_size * range.len());
        let all: &[f32] = cosines.as_slice().unwrap_or_default();
        let largest: Vec<f32> = all
            .chunks_exact(self.sub_centers)
            .map(|of_class| {
                let mut best = 0;
                for (nth, cosine) in of_class.iter().enumerate() {
                    if *cosine > of_class[best] {
                        best = nth;
                    }
                }
                closest.push(best as u32);
                of_class[best]
            })
            .collect();
        let largest = TensorData::new(largest, [batch_size, range.len()]);
        Block {
            cosines: FloatTensor::<Flex>::from_data(largest),
            closest,
        }
    }

    /// Puts the changed scores in their places, and adds a block to the sums.
    fn add(&self, range: &Range<usize>, block: &mut Block, sums: &mut [Sums]) {
        self.for_each_part(range, block, sums, |first, scores, sums| {
            vectorized(Adding {
                softmax: self,
                range: range.clone(),
                first,
                scores,
                sums,
            });
        });
    }

    /// Works on the samples in parts: the number of the first one, the scores of all and a number of each.
    fn for_each_part<T: Send>(
        &self,
        range: &Range<usize>,
        block: &mut Block,
        numbers: &mut [T],
        work: impl Fn(usize, &mut [f32], &mut [T]) + Send + Sync,
    ) {
        let samples = (SCORES_AT_ONCE / range.len()).max(1);
        let scores: &mut [f32] = block.cosines.storage_mut();
        let mut parts: Vec<(&mut [f32], &mut [T])> = scores
            .chunks_mut(samples * range.len())
            .zip(numbers.chunks_mut(samples))
            .collect();
        for_each_part(&mut parts, 1, |part, parts| {
            for (scores, numbers) in parts {
                work(part * samples, scores, numbers);
            }
        });
    }

    /// Limits the cosines of a sample, and puts the changed score of its class in its place.
    #[inline(always)]
    fn change(&self, sample: usize, range: &Range<usize>, row: &mut [f32]) {
        if let Some(bound) = self.bound {
            for cosine in row.iter_mut() {
                let below = if *cosine > bound { bound } else { *cosine };
                *cosine = if below < -bound { -bound } else { below };
            }
        }
        if let Some(place) = self.place(sample, range) {
            row[place] = self.own.values[sample];
        }
    }

    /// The changed score of a sample's class, as it is in the sum: rounded to `f32`, so that it cancels where
    /// it is nearly all of the sum.
    fn own_score(&self, sample: usize) -> f64 {
        f64::from(self.own.values[sample] * self.scales[sample])
    }

    /// The place of a sample's own class in a block.
    #[inline(always)]
    fn place(&self, sample: usize, range: &Range<usize>) -> Option<usize> {
        let class = self.own.classes[sample];
        range.contains(&class).then(|| class - range.start)
    }
}

/// One thread's work of a forward pass.
struct Adding<'a> {
    softmax: &'a HostSoftmax,
    range: Range<usize>,
    /// The number of the first sample.
    first: usize,
    scores: &'a mut [f32],
    sums: &'a mut [Sums],
}

impl Loops for Adding<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut rows = ScoreRows::new(self.scores, self.range.len());
        for row in 0..self.sums.len() {
            let sample = self.first + row;
            self.softmax.change(sample, &self.range, rows.row_mut(row));
        }
        for (row, sums) in self.sums.iter_mut().enumerate() {
            let scale = self.softmax.scales[self.first + row];
            let largest = rows.largest(row) * scale;
            let sum = rows.sum_of(row, |cosine| exp_of_negative(cosine * scale - largest));
            let most = sums.largest.max(largest);
            let brought = |sum: f64, from: f32| {
                if from == most {
                    sum
                } else {
                    sum * Float::exp(f64::from(from - most))
                }
            };
            sums.exponentials = brought(sums.exponentials, sums.largest) + brought(sum, largest);
            sums.largest = most;
            if self.softmax.smoothing > 0.0 {
                sums.cosines += rows.sum_of(row, |cosine| cosine);
            }
        }
    }
}

impl Derivative for HostSoftmax {
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let [wants_features, wants_centers] = wanted;
        // One number if the losses were added, or one for each loss.
        let upstream: Vec<f64> = upstream.into_data().iter::<f64>().collect();
        let upstream: Vec<f32> = upstream
            .iter()
            .cycle()
            .zip(&self.coefficients)
            .map(|(upstream, coefficient)| (upstream * coefficient) as f32)
            .collect();
        let (batch_size, width) = (self.scales.len(), self.feature_dim());
        let mut kept = core::mem::take(&mut *self.kept.lock()).into_iter();
        let mut by_features: Option<Tensor<2>> = None;
        let rows = self.num_classes * self.sub_centers;
        let mut by_centers = Vec::with_capacity(if wants_centers { rows * width } else { 0 });
        let mut by_scale = vec![0.0; batch_size];
        for range in self.ranges() {
            let units = self.units(&range);
            let mut block = match kept.next() {
                Some(block) => block,
                None => {
                    let mut block = self.cosines(&range, units.clone());
                    let cosines: &mut [f32] = block.cosines.storage_mut();
                    let rows = cosines.chunks_exact_mut(range.len()).enumerate();
                    rows.for_each(|(sample, row)| self.change(sample, &range, row));
                    block
                }
            };
            self.derive(&range, &mut block, &upstream, &mut by_scale);
            let slopes = self.by_sub_center(range.len(), block);
            if wants_features {
                let found = slopes.clone().matmul(units.clone());
                by_features = Some(match by_features {
                    Some(sum) => sum + found,
                    None => found,
                });
            }
            if wants_centers {
                let found = primitive(slopes.transpose().matmul(self.directions.clone()));
                let units = primitive(units);
                append_through_units(
                    &mut by_centers,
                    found.as_slice().unwrap_or_default(),
                    units.as_slice().unwrap_or_default(),
                    self.centers_of(&range),
                    width,
                );
            }
        }
        let own = self.own_slopes(&upstream);
        let centers = wants_centers.then(|| {
            let by_own: &[f32] = self.own.by_centers.as_slice().unwrap_or_default();
            for (i, row) in self.own.rows.iter().enumerate() {
                let gradient = &mut by_centers[row * width..][..width];
                for (gradient, by_own) in gradient.iter_mut().zip(&by_own[i * width..]) {
                    *gradient += own[i] * by_own;
                }
            }
            matrix(by_centers, [rows, width])
        });
        [
            by_features
                .map(|by_units| self.features_gradient(by_units, &upstream, &own, &by_scale)),
            centers,
        ]
    }
}

impl HostSoftmax {
    /// Replaces the cosines of a block by what the losses change by with them.
    fn derive(
        &self,
        range: &Range<usize>,
        block: &mut Block,
        upstream: &[f32],
        by_scale: &mut [f64],
    ) {
        self.for_each_part(range, block, by_scale, |first, scores, by_scale| {
            vectorized(Deriving {
                softmax: self,
                range: range.clone(),
                first,
                upstream,
                scores,
                by_scale,
            });
        });
    }

    /// Slopes by the cosines of all sub-centers, `[batch_size, classes * sub_centers]`.
    fn by_sub_center(&self, classes: usize, block: Block) -> Tensor<2> {
        if self.sub_centers == 1 {
            return Tensor::from_primitive::<Flex>(block.cosines);
        }
        let slopes: &[f32] = block.cosines.as_slice().unwrap_or_default();
        let mut all = vec![0.0; slopes.len() * self.sub_centers];
        let places = all.chunks_exact_mut(self.sub_centers);
        for ((place, slope), closest) in places.zip(slopes).zip(block.closest) {
            place[closest as usize] = *slope;
        }
        matrix(all, [self.scales.len(), classes * self.sub_centers])
    }

    /// What each loss changes by with the direction of its feature to the vector of its class.
    fn own_slopes(&self, upstream: &[f32]) -> Vec<f32> {
        let wanted = 1.0 - self.smoothing + self.smoothing / self.num_classes as f64;
        (0..upstream.len())
            .map(|i| {
                let probability = Float::exp(self.own_score(i) - self.log_sums[i]);
                let slope = (probability - wanted) * f64::from(self.own.slopes[i]);
                (slope * f64::from(upstream[i]) * f64::from(self.scales[i])) as f32
            })
            .collect()
    }

    /// The gradient of the features, from that of their directions.
    fn features_gradient(
        &self,
        by_units: Tensor<2>,
        upstream: &[f32],
        own: &[f32],
        by_scale: &[f64],
    ) -> Tensor<2> {
        let (by_units, directions) = (primitive(by_units), primitive(self.directions.clone()));
        let (by_units, directions): (&[f32], &[f32]) = (
            by_units.as_slice().unwrap_or_default(),
            directions.as_slice().unwrap_or_default(),
        );
        let by_own: &[f32] = self.own.by_features.as_slice().unwrap_or_default();
        let width = self.feature_dim();
        let mut gradient = Vec::with_capacity(by_units.len());
        for (i, (by_unit, unit)) in by_units
            .chunks_exact(width)
            .zip(directions.chunks_exact(width))
            .enumerate()
        {
            if self.lengths[i] == 0.0 {
                gradient.resize(gradient.len() + width, 0.0);
                continue;
            }
            let along = dot::<LANES, _>(by_unit, unit);
            // Along the direction the scores change with the length alone.
            let by_length = match self.scale {
                Scale::Fixed(_) => 0.0,
                Scale::Length(factor) => {
                    let own = (1.0 - self.smoothing) * f64::from(self.own.values[i]);
                    (factor * (by_scale[i] - own * f64::from(upstream[i]))) as f32
                }
            };
            let factor = (1.0 / self.lengths[i]) as f32;
            let by_own = &by_own[i * width..];
            gradient.extend(by_unit.iter().zip(unit).zip(by_own).map(
                |((by_unit, unit), by_own)| {
                    (by_unit - along * unit) * factor + own[i] * by_own + by_length * unit
                },
            ));
        }
        matrix(gradient, [self.scales.len(), width])
    }
}

/// One thread's work of a backward pass.
struct Deriving<'a> {
    softmax: &'a HostSoftmax,
    range: Range<usize>,
    /// The number of the first sample.
    first: usize,
    upstream: &'a [f32],
    scores: &'a mut [f32],
    by_scale: &'a mut [f64],
}

impl Loops for Deriving<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let softmax = self.softmax;
        let evenly = (softmax.smoothing / softmax.num_classes as f64) as f32;
        let bound = softmax.bound.unwrap_or(f32::INFINITY);
        let mut rows = ScoreRows::new(self.scores, self.range.len());
        let scale = |row: usize| softmax.scales[self.first + row];
        let log_sum = |row: usize| softmax.log_sums[self.first + row] as f32;
        let upstream = |row: usize| self.upstream[self.first + row];
        if matches!(softmax.scale, Scale::Length(_)) {
            for (row, by_scale) in self.by_scale.iter_mut().enumerate() {
                let (scale, log_sum) = (scale(row), log_sum(row));
                let total = rows.sum_of(row, |cosine| {
                    (exp_of_negative(cosine * scale - log_sum) - evenly) * cosine
                });
                *by_scale += total * f64::from(upstream(row));
            }
        }
        rows.replace(|row| {
            let (scale, log_sum) = (scale(row), log_sum(row));
            let factor = upstream(row) * scale;
            move |cosine: f32| {
                let slope = (exp_of_negative(cosine * scale - log_sum) - evenly) * factor;
                if cosine.abs() < bound { slope } else { 0.0 }
            }
        });
        // The own class has a slope of its own.
        for row in 0..self.by_scale.len() {
            if let Some(place) = softmax.place(self.first + row, &self.range) {
                rows.row_mut(row)[place] = 0.0;
            }
        }
    }
}

/// Appends the gradient by rows, from that by their directions. A zero row gets none.
fn append_through_units(
    gradient: &mut Vec<f32>,
    by_units: &[f32],
    units: &[f32],
    rows: &[f32],
    width: usize,
) {
    let start = gradient.len();
    gradient.resize(start + by_units.len(), 0.0);
    let mut places: Vec<&mut [f32]> = gradient[start..].chunks_exact_mut(width).collect();
    for_each_part(
        &mut places,
        (SCORES_AT_ONCE / width).max(1),
        |first, places| {
            vectorized(Projecting {
                by_units: &by_units[first * width..],
                units: &units[first * width..],
                rows: &rows[first * width..],
                width,
                places,
            });
        },
    );
}

struct Projecting<'a, 'b, 'c> {
    by_units: &'a [f32],
    units: &'a [f32],
    rows: &'a [f32],
    width: usize,
    places: &'b mut [&'c mut [f32]],
}

impl Loops for Projecting<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.rows.chunks_exact(self.width);
        let units = self.units.chunks_exact(self.width);
        let by_units = self.by_units.chunks_exact(self.width);
        for (((place, by_unit), unit), row) in
            self.places.iter_mut().zip(by_units).zip(units).zip(rows)
        {
            let length = length(row);
            if length == 0.0 {
                continue;
            }
            let (along, factor) = (dot::<LANES, _>(by_unit, unit), (1.0 / length) as f32);
            for ((place, by_unit), unit) in place.iter_mut().zip(by_unit).zip(unit) {
                *place = (by_unit - along * unit) * factor;
            }
        }
    }
}

/// Rows of unit length; a zero row stays zero.
fn unit_rows(rows: &[f32], width: usize) -> Vec<f32> {
    let mut units = vec![0.0; rows.len()];
    let mut places: Vec<&mut [f32]> = units.chunks_exact_mut(width).collect();
    for_each_part(
        &mut places,
        (SCORES_AT_ONCE / width).max(1),
        |first, places| {
            vectorized(Normalizing {
                rows: &rows[first * width..],
                width,
                places,
            });
        },
    );
    units
}

struct Normalizing<'a, 'b, 'c> {
    rows: &'a [f32],
    width: usize,
    places: &'b mut [&'c mut [f32]],
}

impl Loops for Normalizing<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.rows.chunks_exact(self.width);
        for (place, row) in self.places.iter_mut().zip(rows) {
            let length = length(row);
            if length == 0.0 {
                continue;
            }
            let factor = 1.0 / length;
            for (unit, value) in place.iter_mut().zip(row) {
                *unit = (f64::from(*value) * factor) as f32;
            }
        }
    }
}

/// The length of a row; in `f64`, where no square of an `f32` overflows or vanishes.
#[inline(always)]
fn length(row: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let chunks = row.chunks_exact(LANES);
    let square = |value: f32| f64::from(value) * f64::from(value);
    let rest: f64 = chunks.remainder().iter().map(|value| square(*value)).sum();
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += square(chunk[lane]);
        }
    }
    Float::sqrt(sums.iter().sum::<f64>() + rest)
}

fn matrix(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    let values = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
    Tensor::from_primitive::<Flex>(values)
}

/// The tensor's memory without gaps; `None` if it is not of `f32` or not on this backend.
fn rows_of(tensor: Tensor<2>) -> Option<FloatTensor<Flex>> {
    let tensor = tensor.without_autodiff();
    (tensor.dtype() == DType::F32).then(|| contiguous(tensor))?
}

fn primitive(tensor: Tensor<2>) -> FloatTensor<Flex> {
    contiguous(tensor).expect("what this engine computes stays on its backend")
}

fn host_classes(classes: Tensor<1, Int>) -> Vec<usize> {
    let classes = classes.into_data();
    classes.iter::<i64>().map(|class| class as usize).collect()
}
