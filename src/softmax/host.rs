//! The work on a block of classes in `f32` by loops over memory that the host reaches.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor, TensorData};

use super::blocks::{Kernels, Sums, Upstream};
use super::score_rows::{ScoreRows, dot, exp_of_negative, norm};
use super::{Scale, Softmax};
use crate::device::is_flex;
use crate::distance::Directions;
use crate::parts::for_each_part;
use crate::simd::{Loops, vectorized};

/// Values that one thread works on in turn: fewer are not worth a thread.
const VALUES_AT_ONCE: usize = 1 << 15;

/// The samples, for loops over their scores.
#[derive(Debug)]
pub(super) struct HostLoops {
    classes: Vec<usize>,
    /// In place of the cosines of the target classes.
    values: Vec<f32>,
    scales: Vec<f32>,
}

impl HostLoops {
    /// Whether these loops serve a softmax.
    pub fn serve(softmax: &Softmax) -> bool {
        softmax.features.dtype() == DType::F32 && is_flex(&softmax.classes.device())
    }

    /// Limits the cosines of a sample, and puts the value of the target class in its place, which is returned.
    #[inline(always)]
    fn change(&self, block: &Block, sample: usize, row: &mut [f32]) -> Option<usize> {
        if let Some(bound) = block.softmax.bound {
            let bound = bound as f32;
            for cosine in row.iter_mut() {
                // NaN stays.
                let below = if *cosine > bound { bound } else { *cosine };
                *cosine = if below < -bound { -bound } else { below };
            }
        }
        let class = self.classes[sample];
        let place = block
            .range
            .contains(&class)
            .then(|| class - block.range.start);
        if let Some(place) = place {
            row[place] = self.values[sample];
        }
        place
    }
}

/// The classes at work.
#[derive(Clone, Copy)]
struct Block<'a> {
    softmax: &'a Softmax,
    range: &'a Range<usize>,
}

impl Kernels for HostLoops {
    fn of(softmax: &Softmax) -> Self {
        let classes = softmax.classes.to_data();
        Self {
            classes: classes.iter::<i64>().map(|class| class as usize).collect(),
            values: numbers(softmax.target.value.clone()),
            scales: numbers(softmax.scales()),
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
        let mut cosines = primitive(cosines);
        let mut sums = vec![[0.0; 3]; self.scales.len()];
        let scores = cosines.storage_mut();
        for_parts_of_rows(scores, range.len(), &mut sums, |first, scores, sums| {
            vectorized(Adding {
                samples: self,
                block: Block { softmax, range },
                first,
                scores,
                sums,
            });
        });
        let sum = |nth: usize| wide_column(sums.iter().map(|sums| sums[nth]).collect());
        let sums = Sums {
            largest: sum(0),
            exponentials: sum(1),
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
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let mut cosines = primitive(cosines);
        let mut by_scale = vec![0.0; self.scales.len()];
        let (gradients, log_sums) = (&upstream.gradient, &upstream.log_sum);
        let (gradients, log_sums) = (numbers(gradients.clone()), numbers(log_sums.clone()));
        let scores = cosines.storage_mut();
        for_parts_of_rows(
            scores,
            range.len(),
            &mut by_scale,
            |first, scores, by_scale| {
                vectorized(Deriving {
                    samples: self,
                    block: Block { softmax, range },
                    first,
                    gradients: &gradients,
                    log_sums: &log_sums,
                    scores,
                    by_scale,
                });
            },
        );
        let by_scale = match softmax.scale {
            Scale::Fixed(_) => None,
            Scale::Length(_) => Some(matrix(by_scale, 1)),
        };
        (Tensor::from_primitive::<Flex>(cosines), by_scale)
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
fn for_parts_of_rows<T: Send>(
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
    samples: &'a HostLoops,
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
            self.samples.change(&self.block, sample, rows.row_mut(row));
        }
        for (row, sums) in self.sums.iter_mut().enumerate() {
            let scale = self.samples.scales[self.first + row];
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
    samples: &'a HostLoops,
    block: Block<'a>,
    /// The number of the first sample.
    first: usize,
    gradients: &'a [f32],
    log_sums: &'a [f32],
    scores: &'a mut [f32],
    by_scale: &'a mut [f32],
}

impl Loops for Deriving<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Block { softmax, range } = self.block;
        let per_class = softmax.smoothing_per_class() as f32;
        let bound = softmax.bound.map_or(f32::INFINITY, |bound| bound as f32);
        let mut rows = ScoreRows::new(self.scores, range.len());
        for row in 0..self.by_scale.len() {
            self.samples
                .change(&self.block, self.first + row, rows.row_mut(row));
        }
        let scale = |row: usize| self.samples.scales[self.first + row];
        let log_sum = |row: usize| self.log_sums[self.first + row];
        let gradient = |row: usize| self.gradients[self.first + row];
        if matches!(softmax.scale, Scale::Length(_)) {
            for (row, by_scale) in self.by_scale.iter_mut().enumerate() {
                let (scale, log_sum) = (scale(row), log_sum(row));
                let total = rows.sum_of(row, |cosine| {
                    (exp_of_negative(cosine * scale - log_sum) - per_class) * cosine
                });
                *by_scale = (total * f64::from(gradient(row))) as f32;
            }
        }
        rows.replace(|row| {
            let (scale, log_sum) = (scale(row), log_sum(row));
            let factor = gradient(row) * scale;
            move |cosine: f32| {
                let slope = (exp_of_negative(cosine * scale - log_sum) - per_class) * factor;
                // NaN is not below the bound.
                if cosine.abs() < bound { slope } else { 0.0 }
            }
        });
        // The target class has a derivative of its own.
        for row in 0..self.by_scale.len() {
            let class = self.samples.classes[self.first + row];
            if range.contains(&class) {
                rows.row_mut(row)[class - range.start] = 0.0;
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

/// Values of rows as a matrix.
fn matrix(values: Vec<f32>, width: usize) -> Tensor<2> {
    let shape = [values.len() / width, width];
    let values = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
    Tensor::from_primitive::<Flex>(values)
}

fn wide_column(values: Vec<f64>) -> Tensor<2> {
    let shape = [values.len(), 1];
    let values = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
    Tensor::from_primitive::<Flex>(values)
}

/// The tensor's memory, without gaps between its rows.
fn primitive(tensor: Tensor<2>) -> FloatTensor<Flex> {
    let primitive = tensor
        .try_into_primitive::<Flex>()
        .expect("a tensor on flex is one of flex");
    if primitive.is_contiguous() {
        primitive
    } else {
        primitive.to_contiguous()
    }
}

fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// One number of each sample.
fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
