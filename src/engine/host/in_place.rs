use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};
use num_traits::Float;

use crate::batch::PerSample;
use crate::centers::{Classes, Step};
use crate::simd::{Loops, vectorized};

/// A step that changes centers in memory that the host reaches.
pub(crate) struct InPlace {
    classes: Vec<usize>,
    factors: Vec<f64>,
    /// One row for each class that is not in `singles`, without gaps.
    pulls: FloatTensor<Flex>,
    singles: Option<InPlaceSingles>,
}

/// [`Singles`] in memory that the host reaches.
struct InPlaceSingles {
    /// Without gaps.
    features: FloatTensor<Flex>,
    samples: Vec<Option<usize>>,
}

impl InPlace {
    /// A step on the device of this engine; the step itself if its classes or factors are not on the host,
    /// or its data type is neither `f32` nor `f64`.
    pub fn new(step: Step) -> Result<Self, Box<Step>> {
        let is_supported = matches!(step.pulls.dtype(), DType::F32 | DType::F64);
        match step {
            Step {
                classes: Classes::Host(classes),
                factors: PerSample::Host(factors),
                pulls,
                singles,
                ..
            } if is_supported => Ok(Self {
                classes,
                factors,
                pulls: contiguous(pulls),
                singles: singles.map(|singles| InPlaceSingles {
                    features: contiguous(singles.features),
                    samples: singles.samples,
                }),
            }),
            step => Err(Box::new(step)),
        }
    }

    /// The centers, which are on the device of the step and of its data type, after the step.
    pub fn add_to(self, centers: Tensor<2>) -> Tensor<2> {
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
                step: &self,
                pulls: self.pulls.storage::<f64>(),
                singles: self.singles(|features| features.as_slice()),
                centers: centers.storage_mut::<f64>(),
                feature_dim,
            }),
            _ => vectorized(Adding {
                step: &self,
                pulls: self.pulls.storage::<f32>(),
                singles: self.singles(|features| features.as_slice()),
                centers: centers.storage_mut::<f32>(),
                feature_dim,
            }),
        }
        Tensor::from_primitive::<Flex>(centers)
    }
}

impl InPlace {
    /// Features, and the single sample of each class.
    fn singles<T>(
        &self,
        values: fn(&FloatTensor<Flex>) -> Option<&[T]>,
    ) -> Option<(&[T], &[Option<usize>])> {
        let InPlaceSingles { features, samples } = self.singles.as_ref()?;
        Some((values(features)?, samples))
    }
}

/// The tensor, which is on the device of this engine, without gaps between its rows.
fn contiguous(tensor: Tensor<2>) -> FloatTensor<Flex> {
    let primitive = tensor
        .try_into_primitive::<Flex>()
        .expect("the step is on the device of its engine");
    if primitive.is_contiguous() {
        primitive
    } else {
        primitive.to_contiguous()
    }
}

/// A step on its way into the centers.
struct Adding<'a, T> {
    step: &'a InPlace,
    pulls: &'a [T],
    singles: Option<(&'a [T], &'a [Option<usize>])>,
    centers: &'a mut [T],
    feature_dim: usize,
}

impl<T: Float> Loops for Adding<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut pulls = self.pulls.chunks_exact(self.feature_dim);
        let classes = self.step.classes.iter().zip(&self.step.factors);
        for (entry, (class, factor)) in classes.enumerate() {
            let single = self
                .singles
                .and_then(|(features, samples)| Some((features, samples[entry]?)));
            let row = match single {
                Some((features, sample)) => &features[sample * self.feature_dim..],
                None => pulls.next().unwrap_or_default(),
            };
            // A class without weight keeps every bit of its center: even adding +0 turns -0 into +0.
            if *factor == 0.0 {
                continue;
            }
            let factor = T::from(*factor).unwrap_or_else(T::nan);
            let center = &mut self.centers[class * self.feature_dim..][..self.feature_dim];
            match single {
                // Between center and feature nothing is beyond what is finite.
                Some(_) if factor <= T::one() => {
                    for (center, x) in center.iter_mut().zip(row) {
                        *center = *center + (*x - *center) * factor;
                    }
                }
                Some(_) => {
                    for (center, x) in center.iter_mut().zip(row) {
                        add(center, (*x - *center) * factor);
                    }
                }
                None => {
                    for (center, pull) in center.iter_mut().zip(row) {
                        add(center, *pull * factor);
                    }
                }
            }
        }
    }
}

/// Adds to a value, unless the sum is not finite.
#[inline(always)]
fn add<T: Float>(value: &mut T, summand: T) {
    let sum = *value + summand;
    *value = if sum.is_finite() { sum } else { *value };
}
