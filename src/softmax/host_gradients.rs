//! The gradients of a softmax in `f32` on the host.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::Tensor;

use super::Scale;
use super::host::{Block, HostSoftmax, matrix, numbers, primitive, values};
use super::score_rows::{ScoreRows, dot, exp_of_negative, norm};
use crate::backward::Derivative;
use crate::parts::for_each_part;
use crate::simd::{Loops, vectorized};

/// Values that one thread works on in turn: fewer are not worth a thread.
const VALUES_AT_ONCE: usize = 1 << 15;

impl Derivative for HostSoftmax {
    fn gradients(&self, upstream: Tensor<1>, wanted: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let [wants_features, wants_centers] = wanted;
        let upstream = numbers(upstream);
        let mut kept = std::mem::take(&mut *self.kept.lock()).into_iter();
        let mut by_units: Option<Tensor<2>> = None;
        let [rows, width] = self.softmax.centers.dims();
        let mut by_centers = Vec::with_capacity(if wants_centers { rows * width } else { 0 });
        let mut by_scale = vec![0.0; upstream.len()];
        for range in self.ranges() {
            let units = self.units(&range);
            let mut block = match kept.next() {
                Some(block) => block,
                None => self.block_again(&range, &units),
            };
            self.for_each_part(
                &range,
                &mut block,
                &mut by_scale,
                |first, scores, by_scale| {
                    vectorized(Deriving {
                        softmax: self,
                        range: range.clone(),
                        first,
                        upstream: &upstream,
                        scores,
                        by_scale,
                    });
                },
            );
            let slopes = self.by_sub_center(range.len(), block);
            if wants_features {
                let found = slopes.clone().matmul(units.clone());
                by_units = Some(match by_units {
                    Some(sum) => sum + found,
                    None => found,
                });
            }
            if wants_centers {
                let found = slopes.transpose().matmul(self.directions.clone());
                let (found, units) = (primitive(found), primitive(units));
                let centers = self.centers_of(&range);
                append_through_units(
                    &mut by_centers,
                    values(&found),
                    values(&units),
                    centers,
                    width,
                );
            }
        }
        let by_angle = self.slopes_by_angle(&upstream);
        let by_centers = wants_centers.then(|| {
            self.add_targets(&mut by_centers, &by_angle);
            matrix(by_centers, width)
        });
        let by_features = by_units
            .map(|by_units| self.features_gradient(by_units, &upstream, &by_angle, &by_scale));
        [by_features, by_centers]
    }
}

impl HostSoftmax {
    /// Derivatives by the cosines of all sub-centers, `[batch_size, classes * sub_centers]`, from those by the
    /// largest cosine of each class.
    fn by_sub_center(&self, classes: usize, block: Block) -> Tensor<2> {
        let sub_centers = self.softmax.sub_centers;
        if sub_centers == 1 {
            return Tensor::from_primitive::<Flex>(block.cosines);
        }
        let slopes = values(&block.cosines);
        let mut all = vec![0.0; slopes.len() * sub_centers];
        let places = all.chunks_exact_mut(sub_centers);
        for ((place, slope), closest) in places.zip(slopes).zip(block.closest) {
            place[closest as usize] = *slope;
        }
        matrix(all, classes * sub_centers)
    }

    /// The derivatives by the angles of the target classes, with the sign turned.
    fn slopes_by_angle(&self, upstream: &[f32]) -> Vec<f32> {
        let wanted = 1.0 - self.softmax.smoothing + self.softmax.smoothing_per_class();
        let slopes = numbers(self.softmax.target.slope.clone());
        let samples = upstream.iter().zip(slopes).enumerate();
        samples
            .map(|(sample, (upstream, slope))| {
                if *upstream == 0.0 {
                    return 0.0;
                }
                let probability = (self.target_score(sample) - self.log_sums[sample]).exp();
                let slope = (probability - wanted) * f64::from(slope);
                (slope * f64::from(*upstream) * f64::from(self.scales[sample])) as f32
            })
            .collect()
    }

    /// Adds the gradients by the vectors of the target classes.
    fn add_targets(&self, by_centers: &mut [f32], by_angle: &[f32]) {
        let by_targets = primitive(self.softmax.angles.by_centers.clone());
        let rows = self.softmax.angles.rows.to_data();
        let targets = values(&by_targets).chunks_exact(self.feature_dim);
        for ((row, by_angle), target) in rows.iter::<i64>().zip(by_angle).zip(targets) {
            if *by_angle == 0.0 {
                continue;
            }
            let gradient = &mut by_centers[row as usize * self.feature_dim..];
            for (gradient, target) in gradient.iter_mut().zip(target) {
                *gradient += by_angle * target;
            }
        }
    }

    /// The gradient by the features, from that by their directions.
    fn features_gradient(
        &self,
        by_units: Tensor<2>,
        upstream: &[f32],
        by_angle: &[f32],
        by_scale: &[f64],
    ) -> Tensor<2> {
        let width = self.feature_dim;
        let softmax = &self.softmax;
        let tensors = [
            by_units,
            self.directions.clone(),
            softmax.features.clone(),
            softmax.angles.by_features.clone(),
        ]
        .map(primitive);
        let [by_units, units, features, by_target] = tensors
            .each_ref()
            .map(|tensor| values(tensor).chunks_exact(width));
        let mut gradient = vec![0.0; upstream.len() * width];
        let samples = gradient.chunks_exact_mut(width).zip(by_units).zip(units);
        let samples = samples.zip(features).zip(by_target).enumerate();
        for (sample, ((((place, by_unit), unit), feature), by_target)) in samples {
            let norm = norm(feature);
            if norm == 0.0 || upstream[sample] == 0.0 {
                continue;
            }
            // Along the direction the scores change with the norm alone.
            let by_norm = match softmax.scale {
                Scale::Fixed(_) => 0.0,
                Scale::Length(factor) => {
                    let target = (1.0 - softmax.smoothing) * f64::from(self.values[sample]);
                    (factor * (by_scale[sample] - target * f64::from(upstream[sample]))) as f32
                }
            };
            let (along, factor) = (dot(by_unit, unit), (1.0 / norm) as f32);
            let by_angle = by_angle[sample];
            let values = by_unit.iter().zip(unit).zip(by_target);
            for (place, ((by_unit, unit), by_target)) in place.iter_mut().zip(values) {
                *place = (by_unit - along * unit) * factor + by_angle * by_target + by_norm * unit;
            }
        }
        matrix(gradient, width)
    }
}

/// One thread's work of a backward pass: replaces the cosines of a block by the derivatives.
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
        let pass = self.softmax;
        let per_class = pass.softmax.smoothing_per_class() as f32;
        let bound = pass
            .softmax
            .bound
            .map_or(f32::INFINITY, |bound| bound as f32);
        let mut rows = ScoreRows::new(self.scores, self.range.len());
        let scale = |row: usize| pass.scales[self.first + row];
        let upstream = |row: usize| self.upstream[self.first + row];
        // A sample without a gradient takes no part, even if its loss is not finite.
        let log_sum = |row: usize| match upstream(row) {
            0.0 => f32::INFINITY,
            _ => pass.log_sums[self.first + row] as f32,
        };
        if matches!(pass.softmax.scale, Scale::Length(_)) {
            for (row, by_scale) in self.by_scale.iter_mut().enumerate() {
                let (scale, log_sum) = (scale(row), log_sum(row));
                let total = rows.sum_of(row, |cosine| {
                    (exp_of_negative(cosine * scale - log_sum) - per_class) * cosine
                });
                *by_scale += total * f64::from(upstream(row));
            }
        }
        rows.replace(|row| {
            let (scale, log_sum) = (scale(row), log_sum(row));
            let factor = upstream(row) * scale;
            move |cosine: f32| {
                let slope = (exp_of_negative(cosine * scale - log_sum) - per_class) * factor;
                // NaN is not below the bound.
                if cosine.abs() < bound { slope } else { 0.0 }
            }
        });
        // The target class has a derivative of its own.
        for row in 0..self.by_scale.len() {
            if let Some(place) = pass.target_place(self.first + row, &self.range) {
                rows.row_mut(row)[place] = 0.0;
            }
        }
    }
}

/// Appends the gradient by rows, from that by their directions. A row that is zero or not finite gets none.
fn append_through_units(
    gradient: &mut Vec<f32>,
    by_units: &[f32],
    units: &[f32],
    rows: &[f32],
    width: usize,
) {
    let start = gradient.len();
    gradient.resize(start + by_units.len(), 0.0);
    let size = (VALUES_AT_ONCE / width).max(1) * width;
    for_each_part(&mut gradient[start..], size, |first, gradient| {
        vectorized(Projecting {
            by_units: &by_units[first..],
            units: &units[first..],
            rows: &rows[first..],
            width,
            gradient,
        });
    });
}

struct Projecting<'a> {
    by_units: &'a [f32],
    units: &'a [f32],
    rows: &'a [f32],
    width: usize,
    gradient: &'a mut [f32],
}

impl Loops for Projecting<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let gradients = self.gradient.chunks_exact_mut(self.width);
        let by_units = self.by_units.chunks_exact(self.width);
        let units = self.units.chunks_exact(self.width);
        let rows = self.rows.chunks_exact(self.width);
        for (((gradient, by_unit), unit), row) in gradients.zip(by_units).zip(units).zip(rows) {
            let (norm, along) = (norm(row), dot(by_unit, unit));
            if norm == 0.0 || along.is_nan() {
                continue;
            }
            let factor = (1.0 / norm) as f32;
            for ((place, by_unit), unit) in gradient.iter_mut().zip(by_unit).zip(unit) {
                *place = (by_unit - along * unit) * factor;
            }
        }
    }
}
