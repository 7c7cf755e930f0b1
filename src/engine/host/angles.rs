//! The angles between features and the vectors of their classes, by loops in `f64`.

use super::dot::dot;
use alloc::vec;
use alloc::vec::Vec;
use num_traits::Float;

use crate::parts::for_each_part;
use crate::simd::{Loops, vectorized};

/// Values that one thread works on in turn: fewer are not worth a thread.
const VALUES_AT_ONCE: usize = 1 << 15;

/// Values that are added side by side, for the vector units.
const LANES: usize = 8;

/// Below this sine, feature and class vector are taken for exactly collinear.
const COLLINEAR: f64 = 1.0 / (1_u64 << 50) as f64;

/// Features and class vectors, row by row.
pub(super) struct Pairs<'a> {
    pub feature_dim: usize,
    pub features: &'a [f32],
    /// The sub-centers of a class follow each other.
    pub centers: &'a [f32],
    pub classes: &'a [usize],
    pub sub_centers: usize,
}

/// How a feature lies to the vector of its class.
pub(super) struct Angle {
    /// The row of that vector in the centers.
    pub row: usize,
    pub angle: f64,
    pub cosine: f64,
    pub sine: f64,
    /// The length of the feature.
    pub length: f64,
}

/// One sample's part of the result.
struct Place<'a> {
    sample: usize,
    found: &'a mut Angle,
    by_feature: &'a mut [f32],
    by_center: &'a mut [f32],
}

/// The angles, and how fast they fall with feature and class vector, row by row.
pub(super) fn angles(pairs: &Pairs) -> (Vec<Angle>, Vec<f32>, Vec<f32>) {
    let none = |_: &usize| Angle {
        row: 0,
        angle: 0.0,
        cosine: 0.0,
        sine: 0.0,
        length: 0.0,
    };
    let mut found: Vec<Angle> = pairs.classes.iter().map(none).collect();
    let values = pairs.features.len();
    let (mut by_features, mut by_centers) = (vec![0.0; values], vec![0.0; values]);
    let rows = by_features
        .chunks_exact_mut(pairs.feature_dim)
        .zip(by_centers.chunks_exact_mut(pairs.feature_dim));
    let mut places: Vec<Place> = found
        .iter_mut()
        .zip(rows)
        .enumerate()
        .map(|(sample, (found, (by_feature, by_center)))| Place {
            sample,
            found,
            by_feature,
            by_center,
        })
        .collect();
    let size = (VALUES_AT_ONCE / pairs.feature_dim).max(1);
    for_each_part(&mut places, size, |_, places| {
        vectorized(Measuring { pairs, places });
    });
    drop(places);
    (found, by_features, by_centers)
}

/// The work of one thread.
struct Measuring<'a, 'b, 'c> {
    pairs: &'a Pairs<'a>,
    places: &'b mut [Place<'c>],
}

impl Loops for Measuring<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.pairs.feature_dim;
        let [mut x, mut w, mut across] = [vec![0.0; width], vec![0.0; width], vec![0.0; width]];
        for place in self.places.iter_mut() {
            widen(&self.pairs.features[place.sample * width..], &mut x);
            let xx = dot::<LANES, _>(&x, &x);
            let first = self.pairs.classes[place.sample] * self.pairs.sub_centers;
            let mut best = (first, f64::NEG_INFINITY);
            if self.pairs.sub_centers > 1 {
                for row in first..first + self.pairs.sub_centers {
                    widen(&self.pairs.centers[row * width..], &mut w);
                    let length = Float::sqrt(dot::<LANES, _>(&w, &w));
                    let cosine = if length > 0.0 {
                        dot::<LANES, _>(&x, &w) / length
                    } else {
                        0.0
                    };
                    if cosine > best.1 {
                        best = (row, cosine);
                    }
                }
            }
            let (row, _) = best;
            widen(&self.pairs.centers[row * width..], &mut w);
            let ww = dot::<LANES, _>(&w, &w);
            let (length_x, length_w) = (Float::sqrt(xx), Float::sqrt(ww));
            *place.found = Angle {
                row,
                angle: core::f64::consts::FRAC_PI_2,
                cosine: 0.0,
                sine: 1.0,
                length: length_x,
            };
            if xx == 0.0 || ww == 0.0 {
                continue;
            }
            let sine = orthogonal(&w, &x, xx, &mut across) / length_w;
            let cosine = dot::<LANES, _>(&x, &w) / (length_x * length_w);
            place.found.angle = Float::atan2(sine, cosine);
            (place.found.cosine, place.found.sine) = (cosine, sine);
            // NaN comes of a class vector that is not finite.
            if sine.is_nan() || sine <= COLLINEAR {
                continue;
            }
            direction(&across, sine * length_w * length_x, place.by_feature);
            let length = orthogonal(&x, &w, ww, &mut across);
            direction(&across, length * length_w, place.by_center);
        }
    }
}

#[inline(always)]
fn widen(row: &[f32], wide: &mut [f64]) {
    for (wide, value) in wide.iter_mut().zip(row) {
        *wide = f64::from(*value);
    }
}

/// The part of a vector that is orthogonal to another one, of the given square; returns its length. It is
/// taken twice, so that no part along the other one is left by rounding.
#[inline(always)]
fn orthogonal(of: &[f64], to: &[f64], squared: f64, across: &mut [f64]) -> f64 {
    let along = dot::<LANES, _>(of, to) / squared;
    for ((across, of), to) in across.iter_mut().zip(of).zip(to) {
        *across = of - along * to;
    }
    let along = dot::<LANES, _>(across, to) / squared;
    for (across, to) in across.iter_mut().zip(to) {
        *across -= along * to;
    }
    Float::sqrt(dot::<LANES, _>(across, across))
}

#[inline(always)]
fn direction(across: &[f64], divisor: f64, direction: &mut [f32]) {
    let factor = 1.0 / divisor;
    for (direction, across) in direction.iter_mut().zip(across) {
        *direction = (across * factor) as f32;
    }
}
