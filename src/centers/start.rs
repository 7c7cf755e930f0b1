//! How centers start: drawn at their first use, or given.

use burn::module::{Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{Device, FloatDType, Tensor};

use super::centers::with_autodiff_of;
use super::error::CentersError;
use super::finite::check_finite;

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
    check_finite(&centers)?;
    Ok(centers)
}
