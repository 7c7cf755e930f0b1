use alloc::vec;
use alloc::vec::Vec;
use core::array::from_fn;
use core::mem::MaybeUninit;
use core::ops::Range;
use num_traits::Float;

use super::super::groups::Groups;

/// Below so many values, another thread costs more than it saves.
#[cfg(feature = "rayon")]
const VALUES_PER_THREAD: usize = 1 << 15;

/// Values that are summed side by side, for the vector units.
const LANES: usize = 16;

/// All that is needed of a batch, each matrix row by row.
pub(super) struct Pass<'a, T> {
    pub feature_dim: usize,
    pub features: &'a [T],
    pub centers: &'a [T],
    pub groups: &'a Groups,
    /// For each sample of the batch, what its half squared distance counts in the loss.
    pub coefficients: &'a [T],
    /// For each sample of the batch, its part in the mean of its class.
    pub shares: &'a [T],
}

/// What one pass finds.
pub(super) struct Found<T> {
    /// The squared distance of each grouped sample from its center, in the order of the groups.
    pub squares: Vec<T>,
    /// The loss of each sample differentiated by its features, `[batch_size, feature_dim]`, if asked for.
    pub gradient: Vec<T>,
    /// The mean difference of each group's features from their center, `[groups, feature_dim]`.
    pub pulls: Vec<T>,
}

/// Where the samples of some groups have their results.
struct Part<'a, 'b, T> {
    groups: Range<usize>,
    squares: &'a mut [T],
    gradient: Option<&'a mut [&'b mut [MaybeUninit<T>]]>,
    pulls: &'a mut [T],
}

impl<T: Float + Send + Sync> Pass<'_, T> {
    /// Reads features and centers once, and writes what is asked for once.
    pub fn run(&self, gradient: bool) -> Found<T> {
        let places = self.groups.order.len();
        let mut squares = vec![T::zero(); places];
        let mut pulls = vec![T::zero(); self.groups.len() * self.feature_dim];
        let mut derivative = Vec::new();
        let mut work = |gradient| {
            self.work(Part {
                groups: 0..self.groups.len(),
                squares: &mut squares,
                gradient,
                pulls: &mut pulls,
            });
        };
        if gradient {
            let len = self.features.len();
            derivative.reserve_exact(len);
            let mut rows: Vec<Option<&mut [MaybeUninit<T>]>> = derivative.spare_capacity_mut()
                [..len]
                .chunks_exact_mut(self.feature_dim)
                .map(Some)
                .collect();
            let mut grouped: Vec<&mut [MaybeUninit<T>]> = self
                .groups
                .order
                .iter()
                .filter_map(|sample| rows[*sample].take())
                .collect();
            work(Some(&mut grouped[..]));
            for row in rows.into_iter().flatten() {
                row.fill(MaybeUninit::new(T::zero()));
            }
            // SAFETY: `rows` are all of the first `len` places. Those of grouped samples were written in `squared_distance`, which
            // fills each row that it gets, the others in the loop above.
            #[expect(
                unsafe_code,
                reason = "zeroing the gradient first would write it twice"
            )]
            unsafe {
                derivative.set_len(len);
            }
        } else {
            work(None);
        }
        Found {
            squares,
            gradient: derivative,
            pulls,
        }
    }

    /// Halves the work until a half is too small for another thread. Which thread does what changes no result: a group
    /// is never divided.
    fn work(&self, part: Part<'_, '_, T>) {
        #[cfg(feature = "rayon")]
        if part.groups.len() > 1 && part.squares.len() * self.feature_dim >= 2 * VALUES_PER_THREAD {
            let (left, right) = self.halves(part);
            rayon::join(|| self.work(left), || self.work(right));
            return;
        }
        self.work_through(part);
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
        let (left_gradient, right_gradient) =
            part.gradient.map(|rows| rows.split_at_mut(places)).unzip();
        let (left_pulls, right_pulls) =
            part.pulls.split_at_mut((middle - start) * self.feature_dim);
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

    fn work_through(&self, mut part: Part<'_, '_, T>) {
        let mut place = 0;
        for (nth, group) in part.groups.clone().enumerate() {
            let center = row(self.centers, self.groups.classes[group], self.feature_dim);
            let pull = &mut part.pulls[nth * self.feature_dim..][..self.feature_dim];
            for sample in self.groups.samples(group) {
                let features = row(self.features, *sample, self.feature_dim);
                let gradient = part
                    .gradient
                    .as_deref_mut()
                    .map(|rows| (&mut *rows[place], self.coefficients[*sample]));
                let pull = (&mut *pull, self.shares[*sample]);
                part.squares[place] = squared_distance(features, center, gradient, pull);
                place += 1;
            }
        }
    }
}

/// The squared distance of features from their center. The difference, times the number beside them, is written to all of
/// `gradient` and added to `pull`.
fn squared_distance<T: Float>(
    features: &[T],
    center: &[T],
    mut gradient: Option<(&mut [MaybeUninit<T>], T)>,
    (pull, share): (&mut [T], T),
) -> T {
    let mut sums = [T::zero(); LANES];
    let (blocks, rest) = features.as_chunks::<LANES>();
    let (center_blocks, center_rest) = center.as_chunks::<LANES>();
    let (pull_blocks, pull_rest) = pull.as_chunks_mut::<LANES>();
    // Whole arrays at a time, which the compiler turns into vectors.
    for (block, ((features, center), pull)) in blocks
        .iter()
        .zip(center_blocks)
        .zip(pull_blocks)
        .enumerate()
    {
        let differences: [T; LANES] = from_fn(|i| features[i] - center[i]);
        sums = from_fn(|i| sums[i] + differences[i] * differences[i]);
        *pull = from_fn(|i| pull[i] + differences[i] * share);
        if let Some((row, coefficient)) = &mut gradient {
            let row = &mut row.as_chunks_mut::<LANES>().0[block];
            *row = from_fn(|i| MaybeUninit::new(differences[i] * *coefficient));
        }
    }
    let mut sum = sums.into_iter().fold(T::zero(), |sum, lane| sum + lane);
    let start = features.len() - rest.len();
    for (i, ((x, c), pull)) in rest.iter().zip(center_rest).zip(pull_rest).enumerate() {
        let difference = *x - *c;
        sum = sum + difference * difference;
        *pull = *pull + difference * share;
        if let Some((row, coefficient)) = &mut gradient {
            row[start + i].write(difference * *coefficient);
        }
    }
    sum
}

fn row<T>(matrix: &[T], index: usize, columns: usize) -> &[T] {
    &matrix[index * columns..][..columns]
}
