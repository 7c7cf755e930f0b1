//! The work on a block of classes in `f32` by loops over memory that the host reaches.

use std::f64::consts::SQRT_2;
use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Element, Int, Tensor, TensorData};

use super::blocks::{Blocks, Kernels, Sums, Upstream};
use super::problem::Softmax;
use super::score_rows::{ScoreRows, dot, exp_of_negative, norm};
use super::target_angles::TargetAngles;
use crate::backward::Derivative;
use crate::device::{flex_memory, is_flex};
use crate::distance::Directions;
use crate::loops::{Loops, for_each_part, sum_of, vectorized};

/// Values that one thread works on in turn: fewer are not worth a thread.
const VALUES_AT_ONCE: usize = 1 << 15;

/// Whether these loops serve features.
pub(super) fn serves(features: &Tensor<2>) -> bool {
    features.dtype() == DType::F32 && is_flex(&features.device().without_autodiff())
}

/// The samples, for loops over their scores.
#[derive(Debug)]
pub(super) struct HostLoops {
    classes: Vec<usize>,
    /// In place of the cosines of the target classes.
    values: Vec<f32>,
    scales: Vec<f32>,
}

impl<K: Kernels> Derivative for Blocks<K> {
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        self.gradients_of(upstream.unsqueeze_dim(1), wanted)
    }
}

/// The classes at work.
#[derive(Clone, Copy)]
struct Block<'a> {
    samples: &'a HostLoops,
    softmax: &'a Softmax,
    range: &'a Range<usize>,
}

impl Block<'_> {
    /// The place of the target class of a sample.
    #[inline(always)]
    fn target_place(&self, sample: usize) -> Option<usize> {
        let class = self.samples.classes[sample];
        self.range
            .contains(&class)
            .then(|| class - self.range.start)
    }

    /// Limits the cosines of a sample, and puts the value of the target class in its place.
    #[inline(always)]
    fn change(&self, sample: usize, row: &mut [f32]) {
        if let Some(bound) = self.softmax.bound {
            let bound = bound as f32;
            for cosine in row.iter_mut() {
                // NaN stays.
                let below = if *cosine > bound { bound } else { *cosine };
                *cosine = if below < -bound { -bound } else { below };
            }
        }
        if let Some(place) = self.target_place(sample) {
            row[place] = self.samples.values[sample];
        }
    }
}

impl Kernels for HostLoops {
    fn of(softmax: &Softmax) -> Self {
        let classes = softmax.classes.to_data();
        Self {
            classes: classes.iter::<i64>().map(|class| class as usize).collect(),
            values: numbers(softmax.target.value.clone()),
            scales: numbers(softmax.scaled(softmax.target.value.ones_like().unsqueeze_dim(1))),
        }
    }

    fn directions(&self, rows: Tensor<2>) -> Directions {
        let [count, width] = rows.dims();
        let rows = primitive(rows);
        let rows = values(&rows);
        let (mut units, mut norms) = (vec![0.0; rows.len()], vec![0.0; count]);
        for_parts_of_rows(&mut units, width, &mut norms, |first, units, norms| {
            let rows = &rows[first * width..];
            vectorized(Normalizing { rows, units, norms });
        });
        Directions {
            units: matrix(units, width),
            norms: matrix(norms, 1),
        }
    }

    fn sums(
        &self,
        softmax: &Softmax,
        cosines: Tensor<2>,
        range: &Range<usize>,
    ) -> (Tensor<2>, Sums) {
        let samples = self;
        let block = Block {
            samples,
            softmax,
            range,
        };
        let mut cosines = primitive(cosines);
        let mut sums = vec![[0.0; 3]; self.scales.len()];
        let scores = cosines.storage_mut();
        for_parts_of_rows(scores, range.len(), &mut sums, |first, scores, sums| {
            vectorized(Adding {
                block,
                first,
                scores,
                sums,
            });
        });
        let sum = |nth: usize| matrix(sums.iter().map(|sums| sums[nth]).collect(), 1);
        let sums = Sums {
            log_sum: sum(1).log() + sum(0),
            cosines: (softmax.smoothing > 0.0).then(|| sum(2)),
        };
        (Tensor::from_primitive::<Flex>(cosines), sums)
    }

    fn slopes(
        &self,
        softmax: &Softmax,
        cosines: Tensor<2>,
        range: &Range<usize>,
        upstream: &Upstream,
    ) -> Tensor<2> {
        let samples = self;
        let block = Block {
            samples,
            softmax,
            range,
        };
        let mut cosines = primitive(cosines);
        let log_sums = numbers(upstream.log_sum.clone());
        let mut gradients = numbers(upstream.gradient.clone());
        let scores = cosines.storage_mut();
        for_parts_of_rows(
            scores,
            range.len(),
            &mut gradients,
            |first, scores, gradients| {
                vectorized(Deriving {
                    block,
                    first,
                    gradients,
                    log_sums: &log_sums,
                    scores,
                });
            },
        );
        Tensor::from_primitive::<Flex>(cosines)
    }

    fn through_directions(&self, by_units: Tensor<2>, rows: &Directions) -> Tensor<2> {
        let [_, width] = by_units.dims();
        let (mut by_units, units) = (primitive(by_units), primitive(rows.units.clone()));
        let mut norms = numbers(rows.norms.clone());
        let (gradients, units) = (by_units.storage_mut(), values(&units));
        for_parts_of_rows(gradients, width, &mut norms, |first, gradients, norms| {
            let units = &units[first * width..];
            vectorized(Projecting {
                units,
                gradients,
                norms,
            });
        });
        Tensor::from_primitive::<Flex>(by_units)
    }
}

/// Works on rows in parts: the number of the first row, the values of all and a number of each.
pub(super) fn for_parts_of_rows<T: Send>(
    rows: &mut [f32],
    width: usize,
    numbers: &mut [T],
    work: impl Fn(usize, &mut [f32], &mut [T]) + Send + Sync,
) {
    let count = (VALUES_AT_ONCE / width).max(1);
    let rows = rows.chunks_mut(count * width);
    let mut parts: Vec<(&mut [f32], &mut [T])> = rows.zip(numbers.chunks_mut(count)).collect();
    for_each_part(&mut parts, 1, |part, parts| {
        for (rows, numbers) in parts {
            work(part * count, rows, numbers);
        }
    });
}

struct Normalizing<'a> {
    rows: &'a [f32],
    units: &'a mut [f32],
    norms: &'a mut [f32],
}

impl Loops for Normalizing<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.units.len() / self.norms.len();
        let rows = self.rows.chunks_exact(width).zip(self.norms);
        for (units, (row, place)) in self.units.chunks_exact_mut(width).zip(rows) {
            let norm = norm(row);
            *place = norm as f32;
            if norm == 0.0 {
                continue;
            }
            let factor = 1.0 / norm;
            for (unit, value) in units.iter_mut().zip(row) {
                *unit = (f64::from(*value) * factor) as f32;
            }
        }
    }
}

struct Adding<'a> {
    block: Block<'a>,
    /// The number of the first sample.
    first: usize,
    scores: &'a mut [f32],
    /// The largest score, and the sums of exponentials and cosines.
    sums: &'a mut [[f64; 3]],
}

impl Loops for Adding<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut rows = ScoreRows::new(self.scores, self.block.range.len());
        for row in 0..self.sums.len() {
            let sample = self.first + row;
            self.block.change(sample, rows.row_mut(row));
        }
        for (row, sums) in self.sums.iter_mut().enumerate() {
            let scale = self.block.samples.scales[self.first + row];
            let largest = rows.largest(row) * scale;
            let exponential = |cosine: f32| exp_of_negative(cosine * scale - largest);
            let cosines = if self.block.softmax.smoothing > 0.0 {
                rows.sum_of(row, |cosine| cosine)
            } else {
                0.0
            };
            *sums = [f64::from(largest), rows.sum_of(row, exponential), cosines];
        }
    }
}

/// Replaces cosines by the derivatives of the losses.
struct Deriving<'a> {
    block: Block<'a>,
    /// The number of the first sample.
    first: usize,
    gradients: &'a [f32],
    log_sums: &'a [f32],
    scores: &'a mut [f32],
}

impl Loops for Deriving<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Block {
            samples,
            softmax,
            range,
        } = self.block;
        let per_class = softmax.smoothing_per_class() as f32;
        let bound = softmax.bound.map_or(f32::INFINITY, |bound| bound as f32);
        let mut rows = ScoreRows::new(self.scores, range.len());
        for row in 0..self.gradients.len() {
            self.block.change(self.first + row, rows.row_mut(row));
        }
        rows.replace(|row| {
            let scale = samples.scales[self.first + row];
            let log_sum = self.log_sums[self.first + row];
            let factor = self.gradients[row] * scale;
            move |cosine: f32| {
                let slope = (exp_of_negative(cosine * scale - log_sum) - per_class) * factor;
                // NaN is not below the bound.
                if cosine.abs() < bound { slope } else { 0.0 }
            }
        });
        // The target class has a derivative of its own.
        for row in 0..self.gradients.len() {
            if let Some(place) = self.block.target_place(self.first + row) {
                rows.row_mut(row)[place] = 0.0;
            }
        }
    }
}

/// Turns gradients by directions into those by the rows.
struct Projecting<'a> {
    units: &'a [f32],
    gradients: &'a mut [f32],
    norms: &'a mut [f32],
}

impl Loops for Projecting<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.gradients.len() / self.norms.len();
        let units = self.units.chunks_exact(width).zip(self.norms);
        for (gradient, (unit, norm)) in self.gradients.chunks_exact_mut(width).zip(units) {
            let along = dot(gradient, unit);
            if *norm == 0.0 || along.is_nan() {
                gradient.fill(0.0);
                continue;
            }
            let factor = 1.0 / *norm;
            for (place, unit) in gradient.iter_mut().zip(unit) {
                *place = (*place - along * unit) * factor;
            }
        }
    }
}

/// The angles between features and as many class vectors, whose rows in the centers are given. In `f64`.
pub(super) fn pairs(features: Tensor<2>, centers: Tensor<2>, rows: Tensor<1, Int>) -> TargetAngles {
    let [_, width] = features.dims();
    let [mut by_features, mut by_centers] =
        [features, centers].map(|rows| values(&primitive(rows)).to_vec());
    let centers = by_centers.chunks_exact_mut(width);
    let mut found: Vec<_> = centers.map(|center| (center, [0.0; 4])).collect();
    for_parts_of_rows(&mut by_features, width, &mut found, |_, features, pairs| {
        vectorized(Pairing { features, pairs });
    });
    let column = |nth: usize| {
        let numbers = found.iter().map(|(_, numbers)| numbers[nth]).collect();
        matrix::<f64>(numbers, 1).squeeze_dim(1)
    };
    let [angle, cosine, sine, norms] = [0, 1, 2, 3].map(column);
    TargetAngles {
        rows,
        angle,
        cosine,
        sine,
        norms,
        by_features: matrix(by_features, width),
        by_centers: matrix(by_centers, width),
        directions: None,
    }
}

/// Turns rows into the negative gradients of the angles between them.
struct Pairing<'a, 'b> {
    features: &'a mut [f32],
    /// The class vectors, and angle, cosine, sine and norm of the feature.
    pairs: &'a mut [(&'b mut [f32], [f64; 4])],
}

impl Loops for Pairing<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.features.len() / self.pairs.len();
        let (mut x, mut w) = (vec![0.0; width], vec![0.0; width]);
        let features = self.features.chunks_exact_mut(width);
        for (feature, (center, numbers)) in features.zip(self.pairs) {
            let norms = [unit_row(feature, &mut x), unit_row(center, &mut w)];
            let is_zero = norms.contains(&0.0);
            let difference = sum_of(&x, &w, |x, w| (x - w) * (x - w)).sqrt();
            let sum = sum_of(&x, &w, |x, w| (x + w) * (x + w)).sqrt();
            // Those at a right angle.
            let [difference, sum] = match is_zero {
                true => [SQRT_2; 2],
                false => [difference, sum],
            };
            let sine = difference * sum / 2.0;
            let cosine = (sum - difference) * (sum + difference) / 4.0;
            *numbers = [2.0 * difference.atan2(sum), cosine, sine, norms[0]];
            // NaN is no sine above that of rounding.
            let has_direction = !is_zero && sine > 1e-14;
            for (gradient, from, to, norm) in [
                (feature, &x, &w, norms[0]),
                (&mut **center, &w, &x, norms[1]),
            ] {
                let across = |from: f64, to: f64| to - from * cosine;
                let squared = sum_of(from, to, |from, to| across(from, to) * across(from, to));
                let factor = 1.0 / (squared.sqrt() * norm);
                for (place, (from, to)) in gradient.iter_mut().zip(from.iter().zip(to)) {
                    let value = (across(*from, *to) * factor) as f32;
                    *place = if has_direction { value } else { 0.0 };
                }
            }
        }
    }
}

/// A row with unit length, and its norm. A zero row stays zero.
#[inline(always)]
fn unit_row(row: &[f32], unit: &mut [f64]) -> f64 {
    let norm = norm(row);
    let factor = if norm == 0.0 { 0.0 } else { 1.0 / norm };
    for (unit, value) in unit.iter_mut().zip(row) {
        *unit = f64::from(*value) * factor;
    }
    norm
}

/// Values of rows as a matrix.
pub(super) fn matrix<E: Element>(values: Vec<E>, width: usize) -> Tensor<2> {
    let shape = [values.len() / width, width];
    let values = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
    Tensor::from_primitive::<Flex>(values)
}

pub(super) fn primitive(tensor: Tensor<2>) -> FloatTensor<Flex> {
    flex_memory(tensor).expect("a tensor on flex is one of flex")
}

pub(super) fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// One number of each sample.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
