//! The work on pairs of features and centers in `f32` by loops over memory that the host reaches.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::{Int, Tensor};

use super::blocks::Sums;
use super::host::{for_parts_of_rows, matrix, numbers, primitive, values};
use super::pairs::{NO_SUM, Pairs, Positions, Upstream};
use super::score_rows::{ScoreRows, exp_of_negative};
use crate::distance::SoftmaxDistance;
use crate::loops::{Loops, sum_of, vectorized};

/// A squared distance up to this share of both squared lengths has lost digits as a difference of products.
const NEAR: f32 = 1.0 / 256.0;

#[derive(Debug)]
pub(super) struct HostPairs {
    positions: Positions,
    classes: Vec<usize>,
    origin: Vec<f32>,
    /// The features less the origin, and a column of ones, `[batch_size, feature_dim + 1]`.
    features: Tensor<2>,
    /// The squared lengths of the features less the origin.
    squares: Vec<f32>,
}

impl HostPairs {
    pub fn new(positions: Positions, classes: &Tensor<1, Int>) -> Self {
        let classes = classes.to_data();
        let origin = numbers(positions.origin.clone());
        let (features, squares) = shifted(positions.features.clone(), &origin, |_| 1.0);
        Self {
            classes: classes.iter::<i64>().map(|class| class as usize).collect(),
            positions,
            origin,
            features,
            squares,
        }
    }

    /// The centers of a block less the origin, with a last column, `[rows, feature_dim + 1]`, and their squared
    /// lengths, of which `last` makes that column.
    fn centers_of(&self, block: &Range<usize>, last: fn(f32) -> f32) -> (Tensor<2>, Vec<f32>) {
        shifted(self.positions.centers_of(block), &self.origin, last)
    }

    /// The number of centers of a block.
    fn len(&self, block: &Range<usize>) -> usize {
        self.positions.rows(block).len()
    }

    /// The places in a block of the centers of the class of a sample.
    #[inline(always)]
    fn own(&self, block: &Range<usize>, sample: usize) -> Range<usize> {
        let class = self.classes[sample];
        match block.contains(&class) {
            true => self
                .positions
                .rows(&(class - block.start..class - block.start + 1)),
            false => 0..0,
        }
    }
}

/// Rows less the origin, with a last column, and their squared lengths, of which `last` makes that column.
fn shifted(rows: Tensor<2>, origin: &[f32], last: fn(f32) -> f32) -> (Tensor<2>, Vec<f32>) {
    let [count, width] = rows.dims();
    let rows = primitive(rows);
    let rows = values(&rows);
    let (mut moved, mut squares) = (vec![0.0; count * (width + 1)], vec![0.0; count]);
    for_parts_of_rows(
        &mut moved,
        width + 1,
        &mut squares,
        |first, moved, squares| {
            vectorized(Shifting {
                rows: &rows[first * width..],
                origin,
                last,
                moved,
                squares,
            });
        },
    );
    (matrix(moved, width + 1), squares)
}

struct Shifting<'a> {
    rows: &'a [f32],
    origin: &'a [f32],
    last: fn(f32) -> f32,
    moved: &'a mut [f32],
    squares: &'a mut [f32],
}

impl Loops for Shifting<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.origin.len();
        let rows = self.rows.chunks_exact(width).zip(self.squares);
        for (moved, (row, square)) in self.moved.chunks_exact_mut(width + 1).zip(rows) {
            let (place, moved) = moved.split_last_mut().expect("a last column");
            for (moved, (value, origin)) in moved.iter_mut().zip(row.iter().zip(self.origin)) {
                *moved = value - origin;
            }
            *square = sum_of(moved, moved, |value, _| value * value) as f32;
            *place = (self.last)(*square);
        }
    }
}

impl Pairs for HostPairs {
    fn scores(&self, block: &Range<usize>) -> Tensor<2> {
        let is_squared = self.positions.distance == SoftmaxDistance::SquaredEuclidean;
        let last = if is_squared {
            |square| -0.5 * square
        } else {
            |_| 0.0
        };
        let (centers, squares) = self.centers_of(block, last);
        let products = self.features.clone().matmul(centers.transpose());
        if is_squared {
            return products;
        }
        let mut products = primitive(products);
        let features = primitive(self.positions.features.clone());
        let centers = primitive(self.positions.centers_of(block));
        let (features, centers) = (values(&features), values(&centers));
        let (mut lengths, width) = (self.squares.clone(), self.origin.len());
        let scores = products.storage_mut();
        for_parts_of_rows(
            scores,
            squares.len(),
            &mut lengths,
            |first, scores, lengths| {
                vectorized(Measuring {
                    features: &features[first * width..],
                    centers,
                    lengths,
                    squares: &squares,
                    scores,
                });
            },
        );
        Tensor::from_primitive::<Flex>(products)
    }

    fn sums(&self, scores: Tensor<2>, block: &Range<usize>) -> (Tensor<2>, Sums) {
        let pairs = self;
        let mut scores = primitive(scores);
        let mut sums = vec![[0.0; 2]; self.classes.len()];
        let values = scores.storage_mut();
        for_parts_of_rows(values, self.len(block), &mut sums, |first, scores, sums| {
            vectorized(Adding {
                pairs,
                block,
                first,
                scores,
                sums,
            });
        });
        let sum = |nth: usize| matrix(sums.iter().map(|sums| sums[nth]).collect::<Vec<f64>>(), 1);
        let sums = Sums {
            log_sum: sum(1).log() + sum(0),
            cosines: None,
        };
        (Tensor::from_primitive::<Flex>(scores), sums)
    }

    fn gradients(
        &self,
        scores: Tensor<2>,
        block: &Range<usize>,
        upstream: &Upstream,
        [wants_features, wants_centers]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        let (pairs, width) = (self, self.origin.len());
        let log_sums = numbers(upstream.log_sum.clone());
        let gradients = numbers(upstream.gradient.clone());
        let (centers, squares) = self.centers_of(block, |_| 1.0);
        let mut near: Vec<Vec<(usize, f32)>> = vec![vec![]; gradients.len()];
        let mut slopes = primitive(scores);
        let scores = slopes.storage_mut();
        for_parts_of_rows(scores, self.len(block), &mut near, |first, scores, near| {
            vectorized(Deriving {
                pairs,
                block,
                first,
                log_sums: &log_sums,
                gradients: &gradients,
                squares: &squares,
                scores,
                near,
            });
        });
        let slopes = Tensor::from_primitive::<Flex>(slopes);
        // Products with the ones are the totals of the slopes.
        let by_features = wants_features.then(|| {
            let products = slopes.clone().matmul(centers.clone());
            less_multiples(products, upstream.from.clone(), width)
        });
        let by_centers = wants_centers.then(|| {
            let products = slopes.transpose().matmul(self.features.clone());
            // Without a finite origin no sample has a loss.
            match self.origin.iter().all(|value| value.is_finite()) {
                true => less_multiples(products, centers, width),
                false => vec![0.0; squares.len() * width],
            }
        });
        let mut gradients = [by_features, by_centers];
        self.add_near(&near, block, &mut gradients);
        gradients.map(|gradient| gradient.map(|gradient| matrix(gradient, width)))
    }
}

impl HostPairs {
    /// Adds the gradients of pairs that are near to each other: for each sample the rows in the block, and the
    /// slopes.
    fn add_near(
        &self,
        near: &[Vec<(usize, f32)>],
        block: &Range<usize>,
        [by_features, by_centers]: &mut [Option<Vec<f32>>; 2],
    ) {
        if near.iter().all(Vec::is_empty) {
            return;
        }
        let width = self.origin.len();
        let features = primitive(self.positions.features.clone());
        let centers = primitive(self.positions.centers_of(block));
        let (features, centers) = (values(&features), values(&centers));
        for (sample, near) in near.iter().enumerate() {
            for (row, slope) in near {
                for column in 0..width {
                    let (from, to) = (sample * width + column, row * width + column);
                    let step = slope * (features[from] - centers[to]);
                    if let Some(by_features) = by_features {
                        by_features[from] -= step;
                    }
                    if let Some(by_centers) = by_centers {
                        by_centers[to] += step;
                    }
                }
            }
        }
    }
}

/// The columns of products but the last one, less the rows, which may be wider, times the last column.
fn less_multiples(products: Tensor<2>, rows: Tensor<2>, width: usize) -> Vec<f32> {
    let ([count, product_width], [_, row_width]) = (products.dims(), rows.dims());
    let [products, rows] = [products, rows].map(primitive);
    let (products, rows) = (values(&products), values(&rows));
    let mut found = vec![0.0; count * width];
    let mut places: Vec<usize> = (0..count).collect();
    for_parts_of_rows(&mut found, width, &mut places, |_, found, places| {
        for (found, row) in found.chunks_exact_mut(width).zip(places) {
            let products = &products[*row * product_width..][..product_width];
            let multiple = products[width];
            let rows = &rows[*row * row_width..][..width];
            for (found, (product, value)) in found.iter_mut().zip(products.iter().zip(rows)) {
                *found = product - multiple * value;
            }
        }
    });
    found
}

/// Turns products of features and centers into negative distances.
struct Measuring<'a> {
    features: &'a [f32],
    centers: &'a [f32],
    /// The squared lengths of features and centers.
    lengths: &'a [f32],
    squares: &'a [f32],
    scores: &'a mut [f32],
}

impl Loops for Measuring<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.centers.len() / self.squares.len();
        let features = self.features.chunks_exact(width).zip(self.lengths);
        let scores = self.scores.chunks_exact_mut(self.squares.len());
        for (scores, (feature, length)) in scores.zip(features) {
            // Only an integer is gathered from all lanes at once.
            let mut signs = u32::MAX;
            for (score, square) in scores.iter_mut().zip(self.squares) {
                let both = length + square;
                let squared = both - 2.0 * *score;
                *score = match squared <= both * NEAR {
                    true => 1.0,
                    false => -squared.sqrt(),
                };
                signs &= score.to_bits();
            }
            if signs >> 31 == 1 {
                continue;
            }
            for (score, center) in scores.iter_mut().zip(self.centers.chunks_exact(width)) {
                if *score == 1.0 {
                    let squared = sum_of(feature, center, |x, c| (x - c) * (x - c));
                    *score = -squared.sqrt() as f32;
                }
            }
        }
    }
}

struct Adding<'a> {
    pairs: &'a HostPairs,
    block: &'a Range<usize>,
    /// The number of the first sample.
    first: usize,
    scores: &'a mut [f32],
    /// The largest exponent, and the sum of exponentials.
    sums: &'a mut [[f64; 2]],
}

impl Loops for Adding<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (length, scale) = (
            self.pairs.len(self.block),
            self.pairs.positions.scale as f32,
        );
        let exponential = |score: f32, largest: f32| exp_of_negative(score * scale - largest);
        let mut rows = ScoreRows::new(self.scores, length);
        for (row, sums) in self.sums.iter_mut().enumerate() {
            let own = self.pairs.own(self.block, self.first + row);
            if own.is_empty() {
                let largest = rows.largest(row) * scale;
                let sum = rows.sum_of(row, |score| exponential(score, largest));
                *sums = [f64::from(largest), sum];
                continue;
            }
            if own.len() == length {
                *sums = [NO_SUM, 1.0];
                continue;
            }
            // Adaptors of arrays and iterators would not become a part of this loop.
            let (before, after) = rows.row_mut(row).split_at_mut(own.start);
            let (_, after) = after.split_at_mut(own.len());
            let lengths = (before.len(), after.len());
            let before = ScoreRows::new(before, lengths.0);
            let after = ScoreRows::new(after, lengths.1);
            let (one, other) = (before.largest(0), after.largest(0));
            let largest = if other > one { other } else { one } * scale;
            let sum = before.sum_of(0, |score| exponential(score, largest))
                + after.sum_of(0, |score| exponential(score, largest));
            *sums = [f64::from(largest), sum];
        }
    }
}

/// Replaces scores by the slopes of the losses.
struct Deriving<'a> {
    pairs: &'a HostPairs,
    block: &'a Range<usize>,
    /// The number of the first sample.
    first: usize,
    log_sums: &'a [f32],
    gradients: &'a [f32],
    /// The squared lengths of the centers.
    squares: &'a [f32],
    scores: &'a mut [f32],
    near: &'a mut [Vec<(usize, f32)>],
}

impl Loops for Deriving<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Positions {
            scale, distance, ..
        } = self.pairs.positions;
        let scale = scale as f32;
        let mut rows = ScoreRows::new(self.scores, self.squares.len());
        let is_euclidean = distance == SoftmaxDistance::Euclidean;
        if is_euclidean {
            for (row, near) in self.near.iter_mut().enumerate() {
                let length = self.pairs.squares[self.first + row];
                let is_near =
                    |(score, square): (&f32, &f32)| score * score <= (length + square) * NEAR;
                let scores = rows.row_mut(row).iter().zip(self.squares);
                let count = scores
                    .clone()
                    .map(|pair| u32::from(is_near(pair)))
                    .sum::<u32>();
                if count > 0 {
                    let found = scores.enumerate().filter(|(_, pair)| is_near(*pair));
                    near.extend(found.map(|(place, _)| (place, 0.0)));
                }
            }
        }
        let of_row = |row: usize| {
            let sample = self.first + row;
            (self.log_sums[sample], self.gradients[sample] * scale)
        };
        if is_euclidean {
            rows.replace(|row| {
                let (log_sum, factor) = of_row(row);
                move |score: f32| exp_of_negative(score * scale - log_sum) * factor / -score
            });
        } else {
            rows.replace(|row| {
                let (log_sum, factor) = of_row(row);
                move |score: f32| exp_of_negative(score * scale - log_sum) * factor
            });
        }
        for (row, near) in self.near.iter_mut().enumerate() {
            let slopes = rows.row_mut(row);
            if self.gradients[self.first + row] == 0.0 {
                slopes.fill(0.0);
            }
            slopes[self.pairs.own(self.block, self.first + row)].fill(0.0);
            for (place, slope) in near {
                // At a distance of zero there is no direction.
                let found = std::mem::take(&mut slopes[*place]);
                *slope = if found.is_finite() { found } else { 0.0 };
            }
        }
    }
}
