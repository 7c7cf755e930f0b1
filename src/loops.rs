//! Loops over host memory: on all threads, and with the widest vectors that the processor has.

/// Calls `work` with each part of `size` items and the number of its first item. The last part may be shorter.
pub(crate) fn for_each_part<T: Send>(
    items: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    // Handing work to a pool of threads costs more than many a part.
    #[cfg(feature = "rayon")]
    if size < items.len() && 1 < threads() {
        use rayon::iter::{IndexedParallelIterator, ParallelIterator};
        use rayon::slice::ParallelSliceMut;
        return items
            .par_chunks_mut(size)
            .enumerate()
            .for_each(|(part, items)| work(part * size, items));
    }
    for (part, items) in items.chunks_mut(size).enumerate() {
        work(part * size, items);
    }
}

/// How many parts are worked on at a time.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    1
}

/// Work whose loops the compiler turns into vector instructions. Their width changes no result.
pub(crate) trait Loops {
    type Output;

    /// Must be `#[inline(always)]`, and so must everything in which it spends its time: only what becomes a part of the
    /// caller is compiled for the caller's vectors.
    fn run(self) -> Self::Output;
}

/// Runs the loops on the vectors of the processor.
#[cfg(feature = "simd")]
pub(crate) fn vectorized<L: Loops>(loops: L) -> L::Output {
    struct OnVectors<L>(L);

    impl<L: Loops> macerator::WithSimd for OnVectors<L> {
        type Output = L::Output;

        #[inline(always)]
        fn with_simd<S: macerator::Simd>(self) -> L::Output {
            self.0.run()
        }
    }

    macerator::AutoArch::new().dispatch(OnVectors(loops))
}

/// Runs the loops on the vectors that every processor of this kind has.
#[cfg(not(feature = "simd"))]
pub(crate) fn vectorized<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

/// The sum in `f64` of the terms of the values of two rows.
#[cfg(feature = "flex")]
#[inline(always)]
pub(crate) fn sum_of<T: Copy + Into<f64>>(
    one: &[T],
    other: &[T],
    term: impl Fn(f64, f64) -> f64,
) -> f64 {
    const LANES: usize = 16;
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest: f64 = rest.map(|(x, y)| term((*x).into(), (*y).into())).sum();
    // Adding up lanes of zeros takes longer than the few terms.
    if one.len() < LANES {
        return rest;
    }
    let mut sums = [0.0; LANES];
    for (x, y) in ones.zip(others) {
        for lane in 0..LANES {
            sums[lane] += term(x[lane].into(), y[lane].into());
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_in_parts_of_the_given_size() {
        check_parts();
    }

    #[cfg(feature = "rayon")]
    #[test]
    fn one_thread_works_on_the_same_parts() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        pool.unwrap().install(check_parts);
    }

    fn check_parts() {
        for count in [0, 1, 5, 12, 13, 1000] {
            for size in [1, 4, 12, 2000] {
                let mut items = vec![None; count];
                for_each_part(&mut items, size, |first, part| {
                    let len = part.len();
                    for (at, item) in part.iter_mut().enumerate() {
                        *item = Some((item.is_none(), first + at, first, len));
                    }
                });
                let expected: Vec<_> = (0..count)
                    .map(|at| {
                        let first = at / size * size;
                        Some((true, at, first, size.min(count - first)))
                    })
                    .collect();
                assert_eq!(items, expected);
            }
        }
    }

    #[test]
    fn there_is_a_thread() {
        assert!((1..=1 << 16).contains(&threads()));
    }
}
