//! The loop over the samples of a batch, group by group.

use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Element, ElementConversion};
use core::array::from_fn;
use core::mem::MaybeUninit;
use core::ops::Range;
use num_traits::Float;

use crate::batch::{Groups, PerGroup};
use crate::engine::problem::Wants;
use crate::simd::{Loops, vectorized};

/// Below this many values another thread costs more than it saves: it has to wake up, and to bring
/// into the caches of its core what the calling thread has in its own.
const VALUES_FOR_THREADS: usize = 1 << 20;

/// Values that are worked on side by side, for the vector units.
const LANES: usize = 16;

/// What the pass needs of a batch. Matrices are given row by row.
pub(super) struct Pass<'a, T> {
    pub feature_dim: usize,
    pub features: &'a [T],
    pub centers: &'a [T],
    pub groups: &'a Groups,
    pub weights: &'a Weights<T>,
    pub wants_gradient: bool,
    pub wants: Wants,
}

/// What each sample counts, in the type of the features.
pub(super) struct Weights<T> {
    /// Whether there is one number for each sample of the batch, rather than one for each group.
    per_sample: bool,
    /// What the half squared distance counts in the loss.
    coefficients: Vec<T>,
    /// The share in the mean of the group.
    shares: Vec<T>,
}

impl<T: Element + Float> Weights<T> {
    /// `None` if a number is beyond the type, or so small that the type holds only some of its digits.
    pub fn new(coefficients: &PerGroup, shares: &PerGroup) -> Option<Self> {
        let (per_sample, coefficients, shares) = match (coefficients, shares) {
            (PerGroup::Same(coefficients), PerGroup::Same(shares)) => (false, coefficients, shares),
            (PerGroup::Each(coefficients), PerGroup::Each(shares)) => (true, coefficients, shares),
            _ => return None,
        };
        let held = T::min_positive_value().elem::<f64>()..=T::max_value().elem::<f64>();
        let are_held = coefficients.iter().fold(true, |all, number| {
            all & (*number == 0.0 || held.contains(number))
        });
        let convert = |numbers: &[f64]| numbers.iter().map(|number| number.elem()).collect();
        are_held.then(|| Self {
            per_sample,
            coefficients: convert(coefficients),
            shares: convert(shares),
        })
    }
}

/// What one pass finds.
pub(super) struct Found<T> {
    /// The squared distance of each grouped sample from its center, in the order of the groups.
    pub squares: Vec<T>,
    /// The loss of each sample differentiated by its features, `[batch_size, feature_dim]`; empty if
    /// not asked for.
    pub gradient: Vec<T>,
    /// The mean difference of a group's features from their center, for each group that has a row.
    pub pulls: Vec<T>,
}

/// Some groups, and the memory that their results go to.
struct Part<'a, 'b, T> {
    groups: Range<usize>,
    squares: &'a mut [T],
    gradient: Rows<'a, 'b, T>,
    pulls: &'a mut [T],
}

/// The rows of the gradient that a part writes.
enum Rows<'a, 'b, T> {
    None,
    /// The rows of all samples of the batch, in their order.
    All(&'a mut [MaybeUninit<T>]),
    /// The rows of the samples of the part, in the order of the groups, so that threads can share them.
    Some(&'a mut [&'b mut [MaybeUninit<T>]]),
}

impl<T: Float + Send + Sync> Pass<'_, T> {
    /// Reads features and centers once, and writes what is asked for once.
    pub fn run(&self) -> Found<T> {
        let places = self.groups.order.len();
        let mut squares = vec![T::zero(); places];
        let rows = self.pull_rows(0..self.groups.len());
        let mut pulls = vec![T::zero(); rows * self.feature_dim];
        let gradient = if self.wants_gradient {
            self.written(|rows| {
                if self.is_worth_threads(places, self.groups.len()) {
                    let mut rows = self.grouped(rows);
                    self.work(self.all(&mut squares, &mut pulls, Rows::Some(&mut rows)));
                } else {
                    self.work(self.all(&mut squares, &mut pulls, Rows::All(rows)));
                }
            })
        } else {
            self.work(self.all(&mut squares, &mut pulls, Rows::None));
            Vec::new()
        };
        Found {
            squares,
            gradient,
            pulls,
        }
    }

    fn all<'a, 'b>(
        &self,
        squares: &'a mut [T],
        pulls: &'a mut [T],
        gradient: Rows<'a, 'b, T>,
    ) -> Part<'a, 'b, T> {
        Part {
            groups: 0..self.groups.len(),
            squares,
            gradient,
            pulls,
        }
    }

    /// The gradient, of which `write` writes the rows of the grouped samples.
    fn written(&self, write: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
        let len = self.features.len();
        let mut gradient = Vec::with_capacity(len);
        let rows = &mut gradient.spare_capacity_mut()[..len];
        if self.groups.order.len() * self.feature_dim < len {
            rows.fill(MaybeUninit::new(T::zero()));
        }
        write(rows);
        // SAFETY: All `len` places were written: those of grouped samples by `write`, as `spread` fills each row that
        // it gets, and if any sample is in no group, all of them before.
        #[expect(
            unsafe_code,
            reason = "zeroing the gradient first would write it twice"
        )]
        unsafe {
            gradient.set_len(len);
        }
        gradient
    }

    /// The rows of the grouped samples, in the order of the groups.
    fn grouped<'b>(&self, rows: &'b mut [MaybeUninit<T>]) -> Vec<&'b mut [MaybeUninit<T>]> {
        let mut rows: Vec<Option<&mut [MaybeUninit<T>]>> =
            rows.chunks_exact_mut(self.feature_dim).map(Some).collect();
        let order = self.groups.order.iter();
        order.filter_map(|sample| rows[*sample].take()).collect()
    }

    /// Whether the pull of a group is written.
    #[inline(always)]
    fn has_row(&self, group: usize) -> bool {
        match self.wants {
            Wants::Nothing => false,
            Wants::Pulls => true,
            Wants::Step => self.groups.samples(group).len() > 1,
        }
    }

    fn pull_rows(&self, groups: Range<usize>) -> usize {
        groups.filter(|group| self.has_row(*group)).count()
    }

    fn is_worth_threads(&self, places: usize, groups: usize) -> bool {
        cfg!(feature = "rayon") && groups > 1 && places * self.feature_dim >= VALUES_FOR_THREADS
    }

    /// Does the work on as many threads as it is worth. No group is divided, so that the number of threads
    /// changes no result.
    fn work<'a>(&'a self, part: Part<'a, '_, T>) {
        #[cfg(feature = "rayon")]
        if self.is_worth_threads(part.squares.len(), part.groups.len()) {
            // This thread works too: it would wait longer for another one to wake up than a small part takes.
            return rayon::in_place_scope(|scope| self.divide(part, scope));
        }
        vectorized(Through { pass: self, part });
    }

    /// Halves the work until a half is too small for another thread.
    #[cfg(feature = "rayon")]
    fn divide<'scope, 'b: 'scope>(
        &'scope self,
        mut part: Part<'scope, 'b, T>,
        scope: &rayon::Scope<'scope>,
    ) {
        while self.is_worth_threads(part.squares.len(), part.groups.len()) {
            let (left, right) = self.halves(part);
            scope.spawn(move |scope| self.divide(right, scope));
            part = left;
        }
        vectorized(Through { pass: self, part });
    }

    #[cfg(feature = "rayon")]
    fn halves<'a, 'b>(&self, part: Part<'a, 'b, T>) -> (Part<'a, 'b, T>, Part<'a, 'b, T>) {
        let Range { start, end } = part.groups;
        let half = part.squares.len() / 2;
        // At least one group on either side.
        let middle = (start + 1..end - 1)
            .find(|group| self.groups.places(start..*group).len() >= half)
            .unwrap_or(end - 1);
        let places = self.groups.places(start..middle).len();
        let (left_squares, right_squares) = part.squares.split_at_mut(places);
        let (left_gradient, right_gradient) = match part.gradient {
            Rows::Some(rows) => {
                let (left, right) = rows.split_at_mut(places);
                (Rows::Some(left), Rows::Some(right))
            }
            Rows::None => (Rows::None, Rows::None),
            Rows::All(_) => {
                unreachable!("work that is divided has its rows in the order of the groups")
            }
        };
        let pulls = self.pull_rows(start..middle);
        let (left_pulls, right_pulls) = part.pulls.split_at_mut(pulls * self.feature_dim);
        (
            Part {
                groups: start..middle,
                squares: left_squares,
                gradient: left_gradient,
                pulls: left_pulls,
            },
            Part {
                groups: middle..end,
                squares: right_squares,
                gradient: right_gradient,
                pulls: right_pulls,
            },
        )
    }

    #[inline(always)]
    fn work_through<const PER_SAMPLE: bool>(&self, mut part: Part<'_, '_, T>, feature_dim: usize) {
        let (mut place, mut pulls) = (0, part.pulls.chunks_exact_mut(feature_dim));
        for group in part.groups.clone() {
            let center = row(self.centers, self.groups.classes[group], feature_dim);
            let samples = self.groups.samples(group);
            let mut pull = if self.has_row(group) {
                pulls.next()
            } else {
                None
            };
            for (nth, sample) in samples.iter().enumerate() {
                let features = row(self.features, *sample, feature_dim);
                let gradient = match &mut part.gradient {
                    Rows::None => None,
                    Rows::All(rows) => Some(&mut rows[sample * feature_dim..][..feature_dim]),
                    Rows::Some(rows) => Some(&mut *rows[place]),
                };
                let differences = Differences { features, center };
                let number = if PER_SAMPLE { *sample } else { group };
                let gradient = gradient.map(|row| (row, self.weights.coefficients[number]));
                let share = self.weights.shares[number];
                let pull = match (&mut pull, nth) {
                    (None, _) => Pull::None,
                    (Some(pull), 0) => Pull::First(pull, share),
                    (Some(pull), _) => Pull::Next(pull, share),
                };
                part.squares[place] = differences.spread(gradient, pull);
                place += 1;
            }
        }
    }
}

/// One thread's work.
struct Through<'a, 'b, 'c, T> {
    pass: &'a Pass<'a, T>,
    part: Part<'b, 'c, T>,
}

impl<T: Float + Send + Sync> Loops for Through<'_, '_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { pass, part } = self;
        // Feature maps have two columns. A known number of columns leaves no loop over them.
        match (pass.feature_dim, pass.weights.per_sample) {
            (2, false) => pass.work_through::<false>(part, 2),
            (2, true) => pass.work_through::<true>(part, 2),
            (feature_dim, false) => pass.work_through::<false>(part, feature_dim),
            (feature_dim, true) => pass.work_through::<true>(part, feature_dim),
        }
    }
}

/// Where the share of a sample in the pull of its group goes, and how large the share is.
enum Pull<'a, T> {
    None,
    /// In place of what is there.
    First(&'a mut [T], T),
    /// Added to what is there.
    Next(&'a mut [T], T),
}

/// The differences of a sample's features from its center.
struct Differences<'a, T> {
    features: &'a [T],
    center: &'a [T],
}

impl<T: Float> Differences<'_, T> {
    /// Their squared length. They are written to all of `gradient`, times the number beside it, and to `pull`.
    #[inline(always)]
    fn spread(self, mut gradient: Option<(&mut [MaybeUninit<T>], T)>, mut pull: Pull<'_, T>) -> T {
        let mut sums = [T::zero(); LANES];
        let (blocks, rest) = self.features.as_chunks::<LANES>();
        let (center_blocks, center_rest) = self.center.as_chunks::<LANES>();
        // Whole arrays at a time, which the compiler turns into vectors.
        for (block, (features, center)) in blocks.iter().zip(center_blocks).enumerate() {
            let differences: [T; LANES] = from_fn(|i| features[i] - center[i]);
            sums = from_fn(|i| sums[i] + differences[i] * differences[i]);
            match &mut pull {
                Pull::None => {}
                Pull::First(row, share) => {
                    let row = &mut row.as_chunks_mut::<LANES>().0[block];
                    *row = from_fn(|i| differences[i] * *share);
                }
                Pull::Next(row, share) => {
                    let row = &mut row.as_chunks_mut::<LANES>().0[block];
                    *row = from_fn(|i| row[i] + differences[i] * *share);
                }
            }
            if let Some((row, coefficient)) = &mut gradient {
                let row = &mut row.as_chunks_mut::<LANES>().0[block];
                *row = from_fn(|i| MaybeUninit::new(differences[i] * *coefficient));
            }
        }
        // With few columns, adding up the lanes would take longer than all else.
        let mut sum = if blocks.is_empty() {
            T::zero()
        } else {
            sums.into_iter().fold(T::zero(), |sum, lane| sum + lane)
        };
        let start = self.features.len() - rest.len();
        for (i, (x, c)) in rest.iter().zip(center_rest).enumerate() {
            let (i, difference) = (start + i, *x - *c);
            sum = sum + difference * difference;
            match &mut pull {
                Pull::None => {}
                Pull::First(row, share) => row[i] = difference * *share,
                Pull::Next(row, share) => row[i] = row[i] + difference * *share,
            }
            if let Some((row, coefficient)) = &mut gradient {
                row[i].write(difference * *coefficient);
            }
        }
        sum
    }
}

#[inline(always)]
fn row<T>(matrix: &[T], index: usize, columns: usize) -> &[T] {
    &matrix[index * columns..][..columns]
}

/// The largest of numbers that are not negative; `None` if one of them is not finite.
pub(super) fn largest<T: Float>(numbers: &[T]) -> Option<T> {
    let larger = |a: T, b: T| if a > b { a } else { b };
    let mut all_finite = true;
    let mut lanes = [T::zero(); LANES];
    let (blocks, rest) = numbers.as_chunks::<LANES>();
    for block in blocks {
        lanes = from_fn(|lane| larger(lanes[lane], block[lane]));
        all_finite &= block
            .iter()
            .fold(true, |all, number| all & number.is_finite());
    }
    all_finite &= rest.iter().all(|number| number.is_finite());
    let numbers = lanes.into_iter().chain(rest.iter().copied());
    all_finite.then(|| numbers.fold(T::zero(), larger))
}
