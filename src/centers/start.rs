//! How centers start: drawn at their first use, or given.

use burn::module::{Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{Device, FloatDType, Tensor};

use super::centers::with_autodiff_of;
use super::error::CentersError;
use crate::reduce::sum_dim;

/// A parameter of centers that the initializer draws at their first use.
pub(crate) fn drawn(
    shape: [usize; 2],
    initializer: Initializer,
    dtype: FloatDType,
    device: &Device,
    trainable: bool,
) -> Param<Tensor<2>> {
    Param::uninitialized(
        ParamId::new(),
        move |device: &Device, require_grad| {
            let [fan_out, fan_in] = shape;
            let device_of_values = device.clone().without_autodiff();
            let values = initializer
                .init_with::<2, _>(shape, Some(fan_in), Some(fan_out), &device_of_values)
                .val()
                .cast(dtype);
            with_autodiff_of(values, device).set_require_grad(require_grad)
        },
        device.clone(),
        trainable,
        shape.into(),
    )
}

/// Given centers in their data type, without autodiff, if they are of the shape and finite. Reads one
/// number per row back from the device.
pub(crate) fn accepted(
    centers: Tensor<2>,
    expected: [usize; 2],
    dtype: FloatDType,
) -> Result<Tensor<2>, CentersError> {
    let found = centers.dims();
    if found != expected {
        return Err(CentersError::Shape { found, expected });
    }
    let centers = centers.without_autodiff().cast(dtype);
    let magnitudes = centers.clone().abs().mul_scalar(1.0 / expected[1] as f64);
    let magnitudes = sum_dim(magnitudes, 1)
        .try_into_data()
        .map_err(|error| CentersError::Read(alloc::format!("{error}")))?;
    match magnitudes.iter::<f64>().position(|m| !m.is_finite()) {
        Some(class) => Err(CentersError::NotFinite { class }),
        None => Ok(centers),
    }
}
