use core::iter::Sum;
use num_traits::Float;

/// The inner product of two rows, summed in as many lanes side by side, for the vector units.
#[inline(always)]
pub(super) fn dot<const LANES: usize, T: Float + Sum>(x: &[T], y: &[T]) -> T {
    // Adding up lanes of zeros takes longer than the few products.
    if x.len() < LANES {
        return x.iter().zip(y).map(|(x, y)| *x * *y).sum();
    }
    let mut sums = [T::zero(); LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest = xs.remainder().iter().zip(ys.remainder());
    let rest: T = rest.map(|(x, y)| *x * *y).sum();
    for (x, y) in xs.zip(ys) {
        for lane in 0..LANES {
            sums[lane] = sums[lane] + x[lane] * y[lane];
        }
    }
    sums.into_iter().sum::<T>() + rest
}
