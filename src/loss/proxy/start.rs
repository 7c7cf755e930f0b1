//! How proxies start: drawn at their first use, or given.

use burn::module::Param;
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::batch::{ClassWeights, ClassWeightsError};
use crate::centers::{Centers, CentersError, Precision, accepted, drawn, with_autodiff_of};

/// Proxies that the initializer draws at their first use; without one they are about 1 long.
pub(super) fn drawn_proxies(
    shape: [usize; 2],
    initializer: Option<Initializer>,
    precision: Precision,
    device: &Device,
) -> Result<Centers, CentersError> {
    precision.check_functions(&device.clone().without_autodiff())?;
    let [_, feature_dim] = shape;
    let initializer = initializer.unwrap_or(Initializer::Normal {
        mean: 0.0,
        std: 1.0 / num_traits::Float::sqrt(feature_dim as f64),
    });
    let dtype = precision.dtype();
    let param = drawn(shape, initializer, dtype, device, true);
    Ok(Centers::new(param, true, dtype))
}

/// Given proxies on their device, if they are of the shape and finite.
pub(super) fn given_proxies(
    proxies: Tensor<2>,
    shape: [usize; 2],
    precision: Precision,
) -> Result<Centers, CentersError> {
    let (device, dtype) = (proxies.device(), precision.dtype());
    precision.check_functions(&device.clone().without_autodiff())?;
    let proxies = accepted(proxies, shape, dtype)?;
    let param = Param::from_tensor(with_autodiff_of(proxies, &device));
    Ok(Centers::new(param, true, dtype))
}

/// Class weights on the device of the proxies.
pub(super) fn class_weights(
    weights: Option<&[f64]>,
    num_classes: usize,
    proxies: &Centers,
) -> Result<Option<ClassWeights>, ClassWeightsError> {
    let (device, dtype) = (proxies.autodiff_device(), proxies.dtype());
    ClassWeights::of_config(weights, num_classes, &device, dtype.into())
}
