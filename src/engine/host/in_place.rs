use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};
use num_traits::Float;

use crate::batch::PerSample;
use crate::centers::{Classes, Singles, Step};
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
    /// The step itself if its classes are not on the host, or its data type is neither `f32` nor `f64`.
    pub fn new(step: Step) -> Result<Self, Box<Step>> {
        let Step {
            classes,
            pulls,
            factors,
            num_classes,
            singles,
        } = step;
        match (classes, factors, pulls.clone().try_into_primitive::<Flex>()) {
            (Classes::Host(classes), PerSample::Host(factors), Ok(pulls))
                if matches!(pulls.dtype(), DType::F32 | DType::F64) =>
            {
                Ok(Self {
                    classes,
                    factors,
                    pulls: pulls.to_contiguous(),
                    singles: singles.map(InPlaceSingles::new),
                })
            }
            (classes, factors, _) => Err(Box::new(Step {
                classes,
                pulls,
                factors,
                num_classes,
                singles,
            })),
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

impl InPlaceSingles {
    fn new(singles: Singles) -> Self {
        let features = singles.features.try_into_primitive::<Flex>();
        let features = features.expect("only the host engine leaves out pulls");
        Self {
            features: features.to_contiguous(),
            samples: singles.samples,
        }
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
