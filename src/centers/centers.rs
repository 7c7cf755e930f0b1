use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, FloatDType, IndexingUpdateOp, Int, Tensor};
use burn_std::sync::Mutex;

use super::update::CenterUpdate;
use crate::batch::check_finite;
use crate::error::LossError;

/// The class centers, `[num_classes, feature_dim]`: a parameter that can be moved in place from `&self`.
///
/// This is a leaf module around Burn's [`Param`], so that records, ids, lazy initialisation, freezing
/// and moving between devices are Burn's own. An update takes the parameter out of its cell. The
/// tensor handle is then unique, so that the update costs what the changed rows cost. While another
/// handle is alive (a clone of the module, a snapshot of the centers), the first update makes a copy
/// and the other handle keeps its values.
pub(crate) struct Centers {
    /// Empty only during an update, and after one in which the backend failed.
    cell: Mutex<Option<Param<Tensor<2>>>>,
    /// Whether the centers are an ordinary trainable parameter (the gradient rule).
    trainable: bool,
    /// `[num_classes, feature_dim]`
    shape: [usize; 2],
    dtype: FloatDType,
    /// Without autodiff.
    device: Device,
}

impl Centers {
    /// Centers that the initializer draws at their first use.
    pub fn drawn(
        shape: [usize; 2],
        initializer: Initializer,
        trainable: bool,
        dtype: FloatDType,
        device: &Device,
    ) -> Self {
        let draw = move |device: &Device, require_grad| {
            let [fan_out, fan_in] = shape;
            let device_of_values = device.clone().without_autodiff();
            let values = initializer
                .init_with::<2, _>(shape, Some(fan_in), Some(fan_out), &device_of_values)
                .val()
                .cast(dtype);
            with_autodiff_of(values, device).set_require_grad(require_grad)
        };
        let id = ParamId::new();
        let param = Param::uninitialized(id, draw, device.clone(), trainable, shape.into());
        Self::new(param, trainable, dtype)
    }

    /// Given centers on their device, if they are of the shape and finite. Reads one number per row back
    /// from it.
    pub fn given(
        values: Tensor<2>,
        expected: [usize; 2],
        trainable: bool,
        dtype: FloatDType,
    ) -> Result<Self, LossError> {
        let found = values.dims();
        if found != expected {
            return Err(LossError::CentersShape { found, expected });
        }
        let device = values.device();
        let values = values.without_autodiff().cast(dtype);
        check_finite(&values)?;
        let param = Param::from_tensor(with_autodiff_of(values, &device));
        Ok(Self::new(param, trainable, dtype))
    }

    pub fn new(param: Param<Tensor<2>>, trainable: bool, dtype: FloatDType) -> Self {
        let shape = param.lazy_shape().dims();
        let device = param.lazy_device().without_autodiff();
        let param = if trainable {
            param
        } else {
            param.set_require_grad(false)
        };
        Self {
            cell: Mutex::new(Some(param)),
            trainable,
            shape,
            dtype,
            device,
        }
    }

    /// `[num_classes, feature_dim]`
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The device of the values, with autodiff if the module trains.
    pub fn autodiff_device(&self) -> Device {
        self.with(|param| param.lazy_device())
    }

    /// The device of the values, without autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn dtype(&self) -> FloatDType {
        self.dtype
    }

    /// Checks that the values are there.
    pub fn check_present(&self) -> Result<(), LossError> {
        match &*self.cell.lock() {
            Some(_) => Ok(()),
            None => Err(LossError::CentersLost),
        }
    }

    /// The values as the gradient rule needs them: part of the autodiff graph if they are trainable.
    pub fn tracked(&self) -> Tensor<2> {
        self.with(|param| param.val())
    }

    /// The values as a constant, without autodiff.
    pub fn constant(&self) -> Tensor<2> {
        self.tracked().without_autodiff()
    }

    /// Checks that an update fits.
    pub fn check_update(&self, update: &CenterUpdate) -> Result<(), LossError> {
        let [num_classes, feature_dim] = self.shape;
        update.check_like(feature_dim, DType::from(self.dtype))?;
        if update.num_classes > num_classes {
            return Err(LossError::Update {
                name: "num_classes",
                found: update.num_classes.to_string(),
                rule: "it must be at most",
                expected: num_classes.to_string(),
            });
        }
        Ok(())
    }

    /// Adds rows, `[rows, feature_dim]`, to the centers of the classes beside them. A class that is named
    /// several times gets the sum.
    pub fn add(&self, classes: Tensor<1, Int>, rows: Tensor<2>) -> Result<(), LossError> {
        self.replace(|centers| centers.select_assign(0, classes, rows, IndexingUpdateOp::Add))
    }

    /// Replaces the values, `[num_classes, feature_dim]`, which `change` receives without autodiff and
    /// as their only handle.
    ///
    /// The caller has checked all that `change` needs. If the backend fails in there all the same, the
    /// values are gone, since only a copy of all centers could bring them back. From then on this is an
    /// error.
    pub fn replace(&self, change: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Result<(), LossError> {
        let mut cell = self.cell.lock();
        let (id, values, mapper) = cell.take().ok_or(LossError::CentersLost)?.consume();
        let device = values.device();
        let values = change(values.without_autodiff());
        let values = with_autodiff_of(values, &device);
        *cell = Some(Param::from_mapped_value(id, values, mapper));
        Ok(())
    }

    /// The same parameter with other values; its id, device and place in the graph stay.
    pub fn with_values(self, values: Tensor<2>) -> Self {
        let (trainable, dtype) = (self.trainable, self.dtype);
        let param = self.into_param();
        let id = param.id;
        let values = with_autodiff_of(values, &param.lazy_device());
        Self::new(param.transform_for_load(values, id), trainable, dtype)
    }

    /// The same centers with more rows behind the present ones, as a parameter with an id of its own. It is
    /// frozen if this one is.
    pub fn extended(self, rows: Tensor<2>) -> Self {
        let values = Tensor::cat(vec![self.constant(), rows.to_device(&self.device)], 0);
        let (trainable, dtype) = (self.trainable, self.dtype);
        let param = self.into_param();
        let values = with_autodiff_of(values, &param.lazy_device());
        let param = param.transform_for_load(values, ParamId::new());
        Self::new(param, trainable, dtype)
    }

    fn with<R>(&self, read: impl FnOnce(&Param<Tensor<2>>) -> R) -> R {
        match &*self.cell.lock() {
            Some(param) => read(param),
            None => panic!("{}", LossError::CentersLost),
        }
    }

    fn into_param(self) -> Param<Tensor<2>> {
        match self.cell.into_inner() {
            Some(param) => param,
            None => panic!("{}", LossError::CentersLost),
        }
    }

    fn change(self, change: impl FnOnce(Param<Tensor<2>>) -> Param<Tensor<2>>) -> Self {
        let (trainable, dtype) = (self.trainable, self.dtype);
        Self::new(change(self.into_param()), trainable, dtype)
    }
}

impl Clone for Centers {
    fn clone(&self) -> Self {
        Self {
            cell: Mutex::new(Some(self.with(Param::clone))),
            trainable: self.trainable,
            shape: self.shape,
            dtype: self.dtype,
            device: self.device.clone(),
        }
    }
}

impl Module for Centers {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.with(|param| param.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        self.change(|param| param.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.change(|param| param.to_device(device))
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.with(|param| param.visit(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let dtype = self.dtype;
        self.change(|param| {
            // A cast parameter is no leaf of the graph, and has lost its flag.
            let requires_grad = |param: &Param<Tensor<2>>| param.val().is_require_grad();
            let lazy = (!param.is_initialized()).then(|| param.clone());
            let known = lazy.is_none() && requires_grad(&param);
            let mapped = Module::map(param, mapper);
            with_dtype(mapped, dtype, || lazy.as_ref().map_or(known, requires_grad))
        })
    }

    fn valid(&self) -> Self {
        Self {
            cell: Mutex::new(Some(self.with(Module::valid))),
            trainable: self.trainable,
            shape: self.shape,
            dtype: self.dtype,
            device: self.device.clone(),
        }
    }

    fn train(self) -> Self {
        self.change(Module::train)
    }

    fn materialize(self) -> Self {
        self.change(Module::materialize)
    }
}

/// The values on an autodiff device if `device` is one, with its gradient checkpointing.
pub(crate) fn with_autodiff_of(values: Tensor<2>, device: &Device) -> Tensor<2> {
    match device.gradient_checkpointing_strategy() {
        Some(strategy) => values
            .autodiff()
            .with_gradient_checkpointing_strategy(strategy),
        None => values,
    }
}

/// Brings the centers back into their data type. A record loads with its own type, and a
/// half-precision model is made by mapping every parameter, but in half precision small steps of the
/// centers would be rounded away.
fn with_dtype(
    param: Param<Tensor<2>>,
    dtype: FloatDType,
    requires_grad: impl FnOnce() -> bool,
) -> Param<Tensor<2>> {
    if !param.is_initialized() || param.dtype() == dtype.into() {
        return param;
    }
    let (id, values, mapper) = param.consume();
    let device = values.device();
    let values = values.without_autodiff();
    let values = match values.dtype() {
        DType::QFloat(_) => values.dequantize(),
        _ => values,
    };
    let values = with_autodiff_of(values.cast(dtype), &device);
    let values = match requires_grad() {
        true => values.require_grad(),
        false => values,
    };
    Param::from_mapped_value(id, values, mapper)
}

impl std::fmt::Debug for Centers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Centers")
            .field("shape", &self.shape())
            .field("trainable", &self.trainable)
            .finish()
    }
}

impl std::fmt::Display for Centers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ModuleDisplayDefault for Centers {
    fn content(&self, content: Content) -> Option<Content> {
        self.with(|param| param.content(content))
    }
}

impl ModuleDisplay for Centers {}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn centers() -> Centers {
        let values = Tensor::zeros([3, 2], &Device::flex());
        Centers::new(Param::from_tensor(values), false, FloatDType::F32)
    }

    #[test]
    fn replacing_gives_the_only_handle() {
        let centers = centers();
        centers.replace(|values| values + 1.0).unwrap();
        assert_eq!(centers.constant().into_data(), [[1.0_f32; 2]; 3].into());
        assert_eq!(centers.check_present(), Ok(()));
    }

    /// What a backend that fails in the middle of a step leaves behind.
    #[test]
    fn lost_centers_are_reported_and_can_still_be_shown() {
        let centers = centers();
        let failed = catch_unwind(AssertUnwindSafe(|| {
            centers.replace(|_| panic!("out of memory"))
        }));
        assert!(failed.is_err());
        assert_eq!(centers.check_present(), Err(LossError::CentersLost));
        assert_eq!(
            centers.replace(|values| values),
            Err(LossError::CentersLost)
        );
        assert_eq!(
            format!("{centers:?}"),
            "Centers { shape: [3, 2], trainable: false }"
        );
        let read = catch_unwind(AssertUnwindSafe(|| centers.constant()));
        let message = read.unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("load the last checkpoint"), "{message}");
    }
}
