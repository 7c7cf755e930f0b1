use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Device, FloatDType, Int, Tensor, TensorData};

use super::error::CentersError;
use super::pulls::Singles;
use crate::batch::{PerSample, index};

/// What is added to the centers: `factors[i] * pulls[i]` to center `classes[i]`. Classes may repeat.
pub(crate) struct Step {
    pub classes: Classes,
    /// `[entries, feature_dim]`
    pub pulls: Tensor<2>,
    pub factors: PerSample,
    /// All classes are below this number.
    pub num_classes: usize,
    /// Entries whose pulls are not in `pulls`; only the engine that left them out takes such a step.
    #[cfg_attr(
        not(feature = "flex"),
        expect(dead_code, reason = "only the host engine leaves out pulls")
    )]
    pub singles: Option<Box<Singles>>,
}

/// The classes of a step.
pub(crate) enum Classes {
    Host(Vec<usize>),
    Device(Box<Tensor<1, Int>>),
}

/// The centers that a step is meant for.
pub(crate) struct Target {
    /// `[num_classes, feature_dim]`
    pub shape: [usize; 2],
    pub dtype: FloatDType,
    /// Without autodiff.
    pub device: Device,
}

impl Target {
    /// Checks that pulls of classes below `num_classes` fit.
    pub fn check(&self, pulls: &Tensor<2>, num_classes: usize) -> Result<(), CentersError> {
        let [own_classes, expected] = self.shape;
        let [_, found] = pulls.dims();
        if found != expected {
            return Err(CentersError::UpdateFeatureDim { found, expected });
        }
        if num_classes > own_classes {
            return Err(CentersError::UpdateClasses {
                found: num_classes,
                num_classes: own_classes,
            });
        }
        let (found, expected) = (pulls.dtype(), DType::from(self.dtype));
        if found != expected {
            return Err(CentersError::UpdateDType {
                found: format!("{found:?}"),
                expected: format!("{expected:?}"),
            });
        }
        Ok(())
    }
}

impl Step {
    /// The classes and the rows to add, as tensors. A row whose factor is 0 changes no bit of a center.
    pub fn rows(self) -> (Tensor<1, Int>, Tensor<2>) {
        let (device, dtype) = (self.pulls.device(), self.pulls.dtype());
        let (factors, resting) = match self.factors {
            PerSample::Host(factors) => {
                let resting: Vec<bool> = factors.iter().map(|factor| *factor == 0.0).collect();
                let resting = resting.contains(&true).then(|| {
                    let rows = resting.len();
                    Tensor::<2, Bool>::from_data(TensorData::new(resting, [rows, 1]), &device)
                });
                (PerSample::Host(factors), resting)
            }
            PerSample::Device(factors) => {
                let resting = factors.clone().equal_elem(0.0).unsqueeze_dim(1);
                (PerSample::Device(factors), Some(resting))
            }
        };
        let rows = self.pulls * factors.column(&device, dtype);
        let rows = match resting {
            // Adding -0 leaves every value as it is, bit by bit. Adding +0 turns -0 into +0.
            Some(resting) => {
                let shape = rows.dims();
                rows.mask_fill(resting.expand(shape), -0.0)
            }
            None => rows,
        };
        (self.classes.on(&device), rows)
    }
}

impl Classes {
    /// The classes as a tensor.
    pub fn on(self, device: &Device) -> Tensor<1, Int> {
        match self {
            Self::Host(classes) => index(&classes, device),
            Self::Device(classes) => *classes,
        }
    }
}

/// A quarter of the largest finite number: steps must be smaller.
pub(crate) fn largest_step(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX / 4.0,
        _ => f64::from(f32::MAX) / 4.0,
    }
}
