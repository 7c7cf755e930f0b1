use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use num_traits::Float;
use thiserror::Error;

/// Why class weights were refused.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ClassWeightsError {
    /// There is not one class weight per class.
    #[error(
        "class_weights has {found} values: it must have one for each of the {num_classes} classes"
    )]
    Count {
        /// How many class weights there are.
        found: usize,
        /// How many there must be.
        num_classes: usize,
    },
    /// A class weight is negative, infinite or NaN.
    #[error("class_weights[{class}] is {value}: it must be finite and not negative")]
    Value {
        /// The class.
        class: usize,
        /// Its weight.
        value: f64,
    },
}

/// One factor per class for the loss of its samples, on the host and on the device.
#[derive(Module, Debug)]
pub(crate) struct ClassWeights {
    #[module(skip)]
    values: Arc<Vec<f64>>,
    /// `[num_classes]`: the roots of the weights relative to the largest. A product of two roots
    /// stays in the range of `f32` where a product of two weights leaves it.
    roots: Tensor<1>,
    #[module(skip)]
    largest: f64,
}

impl ClassWeights {
    pub fn new(
        values: Vec<f64>,
        num_classes: usize,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, ClassWeightsError> {
        Self::check(&values, num_classes)?;
        let largest = values.iter().copied().fold(0.0, f64::max);
        let root = |value: &f64| {
            if largest > 0.0 {
                Float::sqrt(value / largest)
            } else {
                0.0
            }
        };
        let roots: Vec<f64> = values.iter().map(root).collect();
        let device = device.clone().without_autodiff();
        Ok(Self {
            roots: Tensor::from_data(roots.as_slice(), (&device, dtype)),
            values: Arc::new(values),
            largest,
        })
    }

    /// Checks that there is one weight per class, finite and not negative.
    pub fn check(values: &[f64], num_classes: usize) -> Result<(), ClassWeightsError> {
        if values.len() != num_classes {
            return Err(ClassWeightsError::Count {
                found: values.len(),
                num_classes,
            });
        }
        let is_bad = |weight: &f64| !(weight.is_finite() && *weight >= 0.0);
        match values.iter().position(is_bad) {
            Some(class) => Err(ClassWeightsError::Value {
                class,
                value: values[class],
            }),
            None => Ok(()),
        }
    }

    pub fn of(&self, class: usize) -> f64 {
        self.values[class]
    }

    /// The largest weight.
    pub fn largest(&self) -> f64 {
        self.largest
    }

    /// `[num_classes]`: the root of each weight's share of the largest.
    pub fn roots(&self) -> Tensor<1> {
        self.roots.clone().without_autodiff()
    }
}
