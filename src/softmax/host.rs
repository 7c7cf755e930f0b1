//! The losses of a softmax in `f32` by loops over memory that the host reaches, one block of classes after the
//! other. Burn's own matrix product does the products.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor, TensorData};
use burn_std::sync::Mutex;

use super::score_rows::{ScoreRows, exp_of_negative, norm};
use super::{Softmax, class_ranges};
use crate::device::is_flex;
use crate::parts::for_each_part;
use crate::simd::{Loops, vectorized};

/// The largest number of scores of a block, unless a single class has more.
const BLOCK_SCORES: usize = 1 << 20;

/// The largest number of values of the class vectors of a block: a few copies of them are made.
const BLOCK_VALUES: usize = 1 << 19;

/// Values that one thread works on in turn: fewer are not worth a thread.
const VALUES_AT_ONCE: usize = 1 << 15;

/// Whether these loops serve a softmax.
pub(super) fn serves(softmax: &Softmax) -> bool {
    softmax.features.dtype() == DType::F32 && is_flex(&softmax.classes.device())
}

/// A softmax after its forward pass.
#[derive(Debug)]
pub(super) struct HostSoftmax {
    pub softmax: Softmax,
    /// Features of unit length, `[batch_size, feature_dim]`.
    pub(super) directions: Tensor<2>,
    /// `[num_classes * sub_centers, feature_dim]`
    centers: FloatTensor<Flex>,
    pub(super) num_classes: usize,
    pub(super) feature_dim: usize,
    /// The target class of each sample, and the value in place of its cosine.
    classes: Vec<usize>,
    pub(super) values: Vec<f32>,
    /// The factor of the cosines of each sample.
    pub(super) scales: Vec<f32>,
    /// The logarithm of the sum of the exponentials of all scores of each sample.
    pub(super) log_sums: Vec<f64>,
    /// The blocks, if they are within the budget, until the backward pass takes them.
    pub(super) kept: Mutex<Vec<Block>>,
}

/// The cosines of a block of classes.
#[derive(Debug)]
pub(super) struct Block {
    /// `[batch_size, classes]`, limited to the bound. The place of the target class holds its value.
    pub cosines: FloatTensor<Flex>,
    /// The sub-center that gave each cosine; empty if there is but one.
    pub closest: Vec<u32>,
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
    /// The losses, `[batch_size]`, and all that their gradients need.
    pub fn forward(softmax: Softmax) -> (Tensor<1>, Self) {
        let keeps = softmax.keeps_scores(if softmax.sub_centers > 1 { 8 } else { 4 });
        let softmax = softmax.without_autodiff();
        let [batch_size, feature_dim] = softmax.features.dims();
        let features = primitive(softmax.features.clone());
        let classes = softmax.classes.to_data();
        let mut pass = Self {
            directions: matrix(unit_rows(values(&features), feature_dim), feature_dim),
            centers: primitive(softmax.centers.clone()),
            num_classes: softmax.num_classes(),
            feature_dim,
            classes: classes.iter::<i64>().map(|class| class as usize).collect(),
            values: numbers(softmax.target.value.clone()),
            scales: numbers(softmax.scales().squeeze_dim(1)),
            log_sums: vec![0.0; batch_size],
            kept: Mutex::new(Vec::new()),
            softmax,
        };
        let losses = TensorData::from(pass.losses(keeps).as_slice());
        let losses = FloatTensor::<Flex>::from_data(losses);
        (Tensor::from_primitive::<Flex>(losses), pass)
    }

    fn losses(&mut self, keeps: bool) -> Vec<f32> {
        let none = Sums {
            largest: f32::NEG_INFINITY,
            exponentials: 0.0,
            cosines: 0.0,
        };
        let mut sums = vec![none; self.scales.len()];
        let mut kept = Vec::new();
        for range in self.ranges() {
            let mut block = self.cosines(&range, &self.units(&range));
            self.for_each_part(&range, &mut block, &mut sums, |first, scores, sums| {
                vectorized(Adding {
                    softmax: self,
                    range: range.clone(),
                    first,
                    scores,
                    sums,
                });
            });
            if keeps {
                kept.push(block);
            }
        }
        self.kept = Mutex::new(kept);
        let smoothing = self.softmax.smoothing;
        let per_class = self.softmax.smoothing_per_class();
        let samples = sums.into_iter().enumerate();
        samples
            .map(|(sample, sums)| {
                let log_sum = sums.exponentials.ln() + f64::from(sums.largest);
                self.log_sums[sample] = log_sum;
                let target = self.target_score(sample) * (1.0 - smoothing);
                let all = f64::from(self.scales[sample]) * per_class * sums.cosines;
                (log_sum - target - all) as f32
            })
            .collect()
    }

    /// The kept cosines of all classes, `[batch_size, num_classes]`, with the value of the target class in its
    /// place.
    pub fn kept_cosines(&self) -> Option<Tensor<2>> {
        let kept = self.kept.lock();
        let cosines = kept.iter().map(|block| block.cosines.clone());
        let cosines: Vec<_> = cosines.map(Tensor::from_primitive::<Flex>).collect();
        (!cosines.is_empty()).then(|| Tensor::cat(cosines, 1))
    }

    /// The classes of each block.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = (BLOCK_SCORES / self.scales.len()).min(BLOCK_VALUES / self.feature_dim);
        let step = (rows / self.softmax.sub_centers).max(1);
        class_ranges(self.num_classes, step)
    }

    /// The class vectors of a block, row by row.
    pub(super) fn centers_of(&self, range: &Range<usize>) -> &[f32] {
        let width = self.softmax.sub_centers * self.feature_dim;
        &values(&self.centers)[range.start * width..range.end * width]
    }

    /// The class vectors of a block with unit length.
    pub(super) fn units(&self, range: &Range<usize>) -> Tensor<2> {
        let units = unit_rows(self.centers_of(range), self.feature_dim);
        matrix(units, self.feature_dim)
    }

    /// The cosines of a block as they are, from class vectors of unit length.
    fn cosines(&self, range: &Range<usize>, units: &Tensor<2>) -> Block {
        let cosines = self.directions.clone().matmul(units.clone().transpose());
        let cosines = primitive(cosines);
        let sub_centers = self.softmax.sub_centers;
        if sub_centers == 1 {
            return Block {
                cosines,
                closest: Vec::new(),
            };
        }
        let mut closest = Vec::with_capacity(self.scales.len() * range.len());
        let largest = values(&cosines)
            .chunks_exact(sub_centers)
            .map(|of_class| {
                let mut best = 0;
                for (sub_center, cosine) in of_class.iter().enumerate() {
                    // The first NaN stays, since no number is above it.
                    if *cosine > of_class[best] || cosine.is_nan() {
                        best = sub_center;
                    }
                }
                closest.push(best as u32);
                of_class[best]
            })
            .collect();
        Block {
            cosines: primitive(matrix(largest, range.len())),
            closest,
        }
    }

    /// The cosines of a block as the forward pass left them.
    pub(super) fn block_again(&self, range: &Range<usize>, units: &Tensor<2>) -> Block {
        let mut block = self.cosines(range, units);
        let cosines: &mut [f32] = block.cosines.storage_mut();
        for (sample, row) in cosines.chunks_exact_mut(range.len()).enumerate() {
            self.change(sample, range, row);
        }
        block
    }

    /// Works on the samples in parts: the number of the first one, the scores of all and a number of each.
    pub(super) fn for_each_part<T: Send>(
        &self,
        range: &Range<usize>,
        block: &mut Block,
        numbers: &mut [T],
        work: impl Fn(usize, &mut [f32], &mut [T]) + Send + Sync,
    ) {
        let samples = (VALUES_AT_ONCE / range.len()).max(1);
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

    /// Limits the cosines of a sample, and puts the value of the target class in its place.
    #[inline(always)]
    fn change(&self, sample: usize, range: &Range<usize>, row: &mut [f32]) {
        if let Some(bound) = self.softmax.bound {
            let bound = bound as f32;
            for cosine in row.iter_mut() {
                // NaN stays.
                let below = if *cosine > bound { bound } else { *cosine };
                *cosine = if below < -bound { -bound } else { below };
            }
        }
        if let Some(place) = self.target_place(sample, range) {
            row[place] = self.values[sample];
        }
    }

    /// The score of the target class as it is in the sum: rounded to `f32`, so that it cancels where it is
    /// nearly all of the sum.
    pub(super) fn target_score(&self, sample: usize) -> f64 {
        f64::from(self.values[sample] * self.scales[sample])
    }

    /// The place of the target class in a block.
    #[inline(always)]
    pub(super) fn target_place(&self, sample: usize, range: &Range<usize>) -> Option<usize> {
        let class = self.classes[sample];
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
            let shifted = |sum: f64, from: f32| {
                if from == most {
                    sum
                } else {
                    sum * f64::from(from - most).exp()
                }
            };
            sums.exponentials = shifted(sums.exponentials, sums.largest) + shifted(sum, largest);
            sums.largest = most;
            if self.softmax.softmax.smoothing > 0.0 {
                sums.cosines += rows.sum_of(row, |cosine| cosine);
            }
        }
    }
}

/// Rows of unit length; a zero row stays zero.
fn unit_rows(rows: &[f32], width: usize) -> Vec<f32> {
    let mut units = vec![0.0; rows.len()];
    let size = (VALUES_AT_ONCE / width).max(1) * width;
    for_each_part(&mut units, size, |first, units| {
        let rows = &rows[first..][..units.len()];
        vectorized(Normalizing { rows, width, units });
    });
    units
}

struct Normalizing<'a> {
    rows: &'a [f32],
    width: usize,
    units: &'a mut [f32],
}

impl Loops for Normalizing<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let units = self.units.chunks_exact_mut(self.width);
        for (unit, row) in units.zip(self.rows.chunks_exact(self.width)) {
            let norm = norm(row);
            if norm == 0.0 {
                continue;
            }
            let factor = 1.0 / norm;
            for (unit, value) in unit.iter_mut().zip(row) {
                *unit = (f64::from(*value) * factor) as f32;
            }
        }
    }
}

/// Values of rows as a matrix.
pub(super) fn matrix(values: Vec<f32>, width: usize) -> Tensor<2> {
    let shape = [values.len() / width, width];
    let values = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
    Tensor::from_primitive::<Flex>(values)
}

/// The tensor's memory, without gaps between its rows.
pub(super) fn primitive(tensor: Tensor<2>) -> FloatTensor<Flex> {
    let primitive = tensor
        .try_into_primitive::<Flex>()
        .expect("a tensor on flex is one of flex");
    if primitive.is_contiguous() {
        primitive
    } else {
        primitive.to_contiguous()
    }
}

pub(super) fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// One number of each sample.
pub(super) fn numbers(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
