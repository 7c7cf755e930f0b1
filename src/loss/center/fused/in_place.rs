use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};
use num_traits::Float;

use super::super::groups::Groups;
use super::super::samples::PerSample;
use super::super::update::{Classes, Step};
use crate::simd::{Loops, vectorized};

/// A step that changes centers in memory that the host can reach.
pub(in super::super) struct InPlace {
    classes: Vec<usize>,
    factors: Vec<f64>,
    /// Of each class but those of `singles`, in their order, without gaps.
    pulls: FloatTensor<Flex>,
    singles: Option<Singles>,
}

/// Classes that are pulled by a single sample, and not in `pulls` for that.
struct Singles {
    /// Those of the batch, without gaps.
    features: FloatTensor<Flex>,
    /// The single sample of each class, if it has just one.
    samples: Vec<Option<usize>>,
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
                singles: None,
            }),
            (classes, factors) => Err(Box::new(Step {
                classes,
                factors,
                pulls: step.pulls,
            })),
        }
    }

    /// The step of a batch whose pulls have been worked out.
    pub fn of_batch(classes: Vec<usize>, factors: Vec<f64>, pulls: FloatTensor<Flex>) -> Self {
        Self {
            classes,
            factors,
            pulls,
            singles: None,
        }
    }

    /// The same step where the pulls are those of the groups with several samples only.
    pub fn with_singles(mut self, groups: &Groups, features: FloatTensor<Flex>) -> Self {
        let samples = (0..groups.len())
            .map(|group| match groups.samples(group) {
                [sample] => Some(*sample),
                _ => None,
            })
            .collect();
        self.singles = Some(Singles { features, samples });
        self
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
            DType::F64 => vectorized(
                self.adding(
                    self.pulls.storage::<f64>(),
                    self.features()
                        .and_then(|features| features.as_slice::<f64>()),
                    centers.storage_mut::<f64>(),
                    feature_dim,
                ),
            ),
            _ => vectorized(
                self.adding(
                    self.pulls.storage::<f32>(),
                    self.features()
                        .and_then(|features| features.as_slice::<f32>()),
                    centers.storage_mut::<f32>(),
                    feature_dim,
                ),
            ),
        }
        Tensor::from_primitive::<Flex>(centers)
    }

    /// Those that single samples are read from, which may be a part of a larger storage.
    fn features(&self) -> Option<&FloatTensor<Flex>> {
        self.singles.as_ref().map(|singles| &singles.features)
    }

    fn adding<'a, T>(
        &'a self,
        pulls: &'a [T],
        features: Option<&'a [T]>,
        centers: &'a mut [T],
        feature_dim: usize,
    ) -> Adding<'a, T> {
        let singles = self.singles.as_ref();
        Adding {
            classes: &self.classes,
            factors: &self.factors,
            pulls,
            singles: features.zip(singles.map(|singles| &singles.samples[..])),
            centers,
            feature_dim,
        }
    }

    pub fn into_pulls(self) -> FloatTensor<Flex> {
        self.pulls
    }
}

/// A step on its way into the centers.
struct Adding<'a, T> {
    classes: &'a [usize],
    factors: &'a [f64],
    pulls: &'a [T],
    /// Features, and the single sample of each class.
    singles: Option<(&'a [T], &'a [Option<usize>])>,
    centers: &'a mut [T],
    feature_dim: usize,
}

impl<T: Float> Loops for Adding<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut pulls = self.pulls.chunks_exact(self.feature_dim);
        for (nth, (class, factor)) in self.classes.iter().zip(self.factors).enumerate() {
            let center = &mut self.centers[class * self.feature_dim..][..self.feature_dim];
            let single = self
                .singles
                .and_then(|(features, samples)| Some((features, samples[nth]?)));
            let row = match single {
                Some((features, sample)) => &features[sample * self.feature_dim..],
                None => pulls.next().unwrap_or_default(),
            };
            // What has no weight changes no bit of its center: even adding zero would turn -0 into +0.
            if *factor == 0.0 {
                continue;
            }
            let factor = T::from(*factor).unwrap_or_else(T::nan);
            match single {
                Some(_) => {
                    for (center, x) in center.iter_mut().zip(row) {
                        *center = *center + (*x - *center) * factor;
                    }
                }
                None => {
                    for (center, pull) in center.iter_mut().zip(row) {
                        *center = *center + *pull * factor;
                    }
                }
            }
        }
    }
}
