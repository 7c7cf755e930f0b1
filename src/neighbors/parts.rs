//! Work on parts of a slice, on all threads where there are threads.

/// Calls `work` with each part of `size` items, of which the last may be shorter, and the number of the part's first item.
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
