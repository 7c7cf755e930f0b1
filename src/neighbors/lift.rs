//! Turns "which reference is nearest" into "which dot product is smallest", with a bound on its rounding.
//!
//! ```text
//! Euclidean      |x - y|^2 / 2 - |x|^2 / 2 = [x, 1] . [-y, |y|^2 / 2]
//! cosine, inner  -x . y                    = x . -y
//! ```
//!
//! For one query both sides grow with the distance. Neither a positive factor on the query's vector nor one on all
//! reference vectors changes the order, so both are scaled to at most unit length, and the rounding of the device is
//! then at most one constant.

use super::metric::KnnMetric;
use super::rows::Rows;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{DType, Device, Tensor, TensorData};
use num_traits::Float;

/// How far the computed keys of one query may be off.
pub(crate) struct Tolerance(f64);

impl Tolerance {
    /// The largest computed key that a reference may have which is among the k nearest, where k references have
    /// computed keys of at most `key`.
    ///
    /// A computed key is off by at most the tolerance. So k references have true keys up to `key` + tolerance, and a
    /// reference whose computed key exceeds that by another tolerance is truly farther than all of them.
    pub(crate) fn reach(&self, key: f64) -> f64 {
        key + 2.0 * self.0
    }
}

/// What a device multiplies when it is given two `f32`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factors {
    /// The two numbers.
    Whole,
    /// The two numbers, perhaps cut to 11 significant bits, as accelerators do (TF32).
    Cut,
}

/// The scaling shared by a set of references and the queries put to it.
#[derive(Clone)]
pub(crate) struct Lift {
    euclidean: bool,
    factors: Factors,
    /// Subtracted from Euclidean rows: far from the origin |y|^2 would swamp the distances.
    origin: Vec<f64>,
    /// Brings Euclidean rows to the length sqrt 2, for which |[x, 1]| |[-y, |y|^2 / 2]| is smallest against |y|^2.
    unit: f64,
    /// Length of the longest lifted reference.
    longest: f64,
    /// False where some reference is too large to be lifted; no key means anything then.
    finite: bool,
}

impl Lift {
    pub(crate) fn new(references: &Rows, metric: KnnMetric, factors: Factors) -> Self {
        let euclidean = matches!(metric, KnnMetric::SquaredEuclidean | KnnMetric::Euclidean);
        let mut lift = Self {
            euclidean,
            factors,
            origin: vec![0.0; references.columns()],
            unit: 1.0,
            longest: 1.0,
            finite: true,
        };
        if euclidean {
            let count = references.len() as f64;
            for row in references.iter() {
                for (mean, value) in lift.origin.iter_mut().zip(row) {
                    *mean += value / count;
                }
            }
            let radius = lift.longest_of(references, |lift, row, out| lift.place(row, out));
            if radius > 0.0 {
                lift.unit = core::f64::consts::SQRT_2 / radius;
            }
        }
        let longest = lift.longest_of(references, |lift, row, out| lift.raw_reference(row, out));
        if longest > 0.0 {
            lift.longest = longest;
        }
        lift.finite = longest.is_finite() && lift.unit.is_finite();
        lift
    }

    /// Columns of the vectors that [`query`](Self::query) and [`reference`](Self::reference) append.
    pub(crate) fn width(&self) -> usize {
        match self.factors {
            Factors::Whole => self.lifted_columns(),
            Factors::Cut => 3 * self.lifted_columns(),
        }
    }

    /// Appends a reference's vector.
    pub(crate) fn reference(&self, row: &[f64], out: &mut Vec<f32>) {
        let mut lifted = Vec::with_capacity(self.lifted_columns());
        self.raw_reference(row, &mut lifted);
        lifted.iter_mut().for_each(|v| *v /= self.longest);
        if !self.finite {
            lifted.fill(0.0);
        }
        match self.factors {
            Factors::Whole => out.extend(lifted.iter().map(|v| *v as f32)),
            Factors::Cut => {
                let (high, low) = split(&lifted);
                out.extend(high.iter().chain(&low).chain(&high));
            }
        }
    }

    /// Appends a query's vector and says how far its products with the references may be off.
    pub(crate) fn query(&self, row: &[f64], out: &mut Vec<f32>) -> Tolerance {
        let mut lifted = Vec::with_capacity(self.lifted_columns());
        self.place(row, &mut lifted);
        let distance = length(&lifted);
        if self.euclidean {
            lifted.push(1.0);
        }
        let own = length(&lifted);
        if own > 0.0 {
            lifted.iter_mut().for_each(|v| *v /= own);
        }
        let finite = self.finite && own.is_finite();
        if !finite {
            lifted.fill(0.0);
        }
        match self.factors {
            Factors::Whole => out.extend(lifted.iter().map(|v| *v as f32)),
            Factors::Cut => {
                let (high, low) = split(&lifted);
                out.extend(high.iter().chain(&high).chain(&low));
            }
        }
        Tolerance(if finite && self.keeps_order(distance, own) {
            self.rounding(distance)
        } else {
            f64::INFINITY
        })
    }

    /// Bound on |computed key - true key| for a query at this scaled distance from the origin.
    ///
    /// Whole factors are off by 2^-24 each for being `f32`, 2^-23 in all. Factors that may be cut are given as high +
    /// low with high a number of 11 significant bits; products of high parts are exact, and the low parts, at most
    /// 2^-10 of the whole, lose at most 2^-20 each when cut, like the product of two low parts that is left out: 3 *
    /// 2^-20 in all.
    ///
    /// Each of the `width` additions, with the product that it adds, loses at most 2^-23, twice what one rounding may;
    /// an accelerator at most 2^-22, allowing for those that cut instead of rounding. The last term covers the f64
    /// arithmetic, of the keys as of the ranks that are compared afterwards.
    fn rounding(&self, distance: f64) -> f64 {
        let columns = self.lifted_columns() as f64;
        let (factors, addition) = match self.factors {
            Factors::Whole => (1.0 / (1 << 22) as f64, 1.0 / (1 << 23) as f64),
            Factors::Cut => (1.0 / (1 << 18) as f64, 1.0 / (1 << 22) as f64),
        };
        let host = (columns + 4.0) * (1.0 + distance) * 4.0 * f64::EPSILON;
        factors + self.width() as f64 * addition + host
    }

    /// Whether ranks are in the order of the true distances but for rounding, for a query at this scaled distance from
    /// the origin and of this length when lifted. Ranks that overflow are equal, and so are those that vanish.
    fn keeps_order(&self, distance: f64, own: f64) -> bool {
        let (largest, typical) = if self.euclidean {
            let farthest = (distance + core::f64::consts::SQRT_2) / self.unit;
            (farthest * farthest, (1.0 / self.unit) * (1.0 / self.unit))
        } else {
            (own * self.longest, own * self.longest)
        };
        // What vanishes is below the tolerance of ranks that are typically as large as this.
        largest < 1e300 && typical > 1e-290
    }

    fn lifted_columns(&self) -> usize {
        self.origin.len() + usize::from(self.euclidean)
    }

    /// Appends the row as seen from the origin in the scaled unit.
    fn place(&self, row: &[f64], out: &mut Vec<f64>) {
        out.extend(
            row.iter()
                .zip(&self.origin)
                .map(|(value, origin)| (value - origin) * self.unit),
        );
    }

    fn raw_reference(&self, row: &[f64], out: &mut Vec<f64>) {
        self.place(row, out);
        let squared: f64 = out.iter().map(|v| v * v).sum();
        out.iter_mut().for_each(|v| *v = -*v);
        if self.euclidean {
            out.push(squared / 2.0);
        }
    }

    fn longest_of(&self, rows: &Rows, lift: impl Fn(&Self, &[f64], &mut Vec<f64>)) -> f64 {
        let mut lifted = Vec::with_capacity(self.lifted_columns());
        let mut longest = 0.0;
        for row in rows.iter() {
            lifted.clear();
            lift(self, row, &mut lifted);
            let length = length(&lifted);
            // `max` would pass over a NaN.
            if length > longest || length.is_nan() {
                longest = length;
            }
        }
        longest
    }
}

/// The Euclidean length, without overflow on the way.
fn length(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0_f64, |max, v| max.max(v.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    largest
        * Float::sqrt(
            values
                .iter()
                .map(|v| (v / largest) * (v / largest))
                .sum::<f64>(),
        )
}

/// High parts of 11 significant bits, and the rests.
fn split(values: &[f64]) -> (Vec<f32>, Vec<f32>) {
    const LOW_BITS: u32 = (1 << 13) - 1;
    values
        .iter()
        .map(|value| {
            let high = f32::from_bits((*value as f32).to_bits() & !LOW_BITS);
            (high, (value - f64::from(high)) as f32)
        })
        .unzip()
}

/// Lifted rows as a matrix on the device.
pub(crate) fn matrix(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(
        TensorData::new(values, [rows, columns]),
        (device, DType::F32),
    )
}
