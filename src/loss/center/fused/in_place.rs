use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};
use num_traits::Float;

use super::super::samples::PerSample;
use super::super::update::{Classes, Step};
use crate::simd::{Loops, vectorized};

/// A [`Step`] that changes centers in memory that the host can reach.
pub(in super::super) struct InPlace {
    classes: Vec<usize>,
    factors: Vec<f64>,
    /// `[classes, feature_dim]`, without gaps.
    pulls: FloatTensor<Flex>,
}

impl InPlace {
    /// The step itself, where it is somewhere else or not known to the host.
    pub fn new(step: Step) -> Result<Self, Box<Step>> {
        let pulls = match step.pulls.clone().try_into_primitive::<Flex>() {
            Ok(pulls) if matches!(pulls.dtype(), DType::F32 | DType::F64) => pulls,
            _ => return Err(Box::new(step)),
        };
        match (step.classes, step.factors) {
            (Classes::Host(classes), PerSample::Host(factors)) => Ok(Self {
                classes,
                factors,
                pulls: pulls.to_contiguous(),
            }),
            (classes, factors) => Err(Box::new(Step {
                classes,
                factors,
                pulls: step.pulls,
            })),
        }
    }

    /// The centers, which are on the device of the step and of its data type, after the step.
    pub fn added_to(&self, centers: Tensor<2>) -> Tensor<2> {
        let [_, feature_dim] = centers.dims();
        let centers = centers
            .try_into_primitive::<Flex>()
            .expect("centers and step are on one device");
        // Copies nothing unless the centers are a view of something else.
        let mut centers = match centers.layout().contiguous_offsets() {
            Some((0, _)) => centers,
            _ => centers.to_contiguous(),
        };
        match self.pulls.dtype() {
            DType::F64 => vectorized(Adding {
                step: self,
                pulls: self.pulls.storage::<f64>(),
                centers: centers.storage_mut::<f64>(),
                feature_dim,
            }),
            _ => vectorized(Adding {
                step: self,
                pulls: self.pulls.storage::<f32>(),
                centers: centers.storage_mut::<f32>(),
                feature_dim,
            }),
        }
        Tensor::from_primitive::<Flex>(centers)
    }

    pub fn into_pulls(self) -> FloatTensor<Flex> {
        self.pulls
    }
}

/// The pulls of a step on their way to the centers.
struct Adding<'a, T> {
    step: &'a InPlace,
    pulls: &'a [T],
    centers: &'a mut [T],
    feature_dim: usize,
}

impl<T: Float> Loops for Adding<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let entries = self
            .step
            .classes
            .iter()
            .zip(&self.step.factors)
            .zip(self.pulls.chunks_exact(self.feature_dim));
        for ((class, factor), pull) in entries {
            // What has no weight changes no bit of its center: even adding zero would turn -0 into +0.
            if *factor == 0.0 {
                continue;
            }
            let factor = T::from(*factor).unwrap_or_else(T::nan);
            let center = &mut self.centers[class * self.feature_dim..][..self.feature_dim];
            for (center, pull) in center.iter_mut().zip(pull) {
                *center = *center + *pull * factor;
            }
        }
    }
}
