//! Loops with the widest vectors that the processor has, chosen at run time.

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
