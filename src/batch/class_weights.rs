use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor};
use num_traits::Float;
use thiserror::Error;

use super::scaled::Scaled;

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
    /// `[num_classes]`: the roots of the weights are `mantissas * 2^exponents`, since they may be beyond
    /// the data type of the device.
    mantissas: Tensor<1>,
    exponents: Tensor<1>,
}

impl ClassWeights {
    pub fn new(
        values: Vec<f64>,
        num_classes: usize,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, ClassWeightsError> {
        Self::check(&values, num_classes)?;
        let (mantissas, exponents): (Vec<f64>, Vec<f64>) = values
            .iter()
            .map(|value| apart(Float::sqrt(*value)))
            .unzip();
        let device = device.clone().without_autodiff();
        let upload = |values: Vec<f64>| Tensor::from_data(values.as_slice(), (&device, dtype));
        Ok(Self {
            mantissas: upload(mantissas),
            exponents: upload(exponents),
            values: Arc::new(values),
        })
    }

    /// The weights of a configuration, where it has some.
    pub fn of_config(
        values: Option<&[f64]>,
        num_classes: usize,
        device: &Device,
        dtype: DType,
    ) -> Result<Option<Self>, ClassWeightsError> {
        values
            .map(|values| Self::new(values.to_vec(), num_classes, device, dtype))
            .transpose()
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

    /// The roots of the weights of some classes, `[samples]`.
    pub fn roots(&self, classes: &Tensor<1, Int>) -> Scaled {
        let of_classes = |values: &Tensor<1>| {
            let values = values.clone().without_autodiff();
            values.select(0, classes.clone())
        };
        Scaled::from_parts(of_classes(&self.mantissas), of_classes(&self.exponents))
    }
}

/// A mantissa between 1 and 2, and the exponent of 2 that it is multiplied by. 0 has the mantissa 0. The
/// value is 0 or a normal number.
pub(super) fn apart(value: f64) -> (f64, f64) {
    if value == 0.0 {
        return (0.0, 0.0);
    }
    let exponent = (value.to_bits() >> 52) as i32 - 1023;
    // In two steps, since the power alone may be beyond `f64`.
    let half = exponent / 2;
    let mantissa = value * Float::powi(2.0, -half) * Float::powi(2.0, half - exponent);
    (mantissa, f64::from(exponent))
}
