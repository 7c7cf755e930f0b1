#[cfg(feature = "flex")]
use alloc::vec::Vec;
#[cfg(feature = "flex")]
use burn::backend::{Flex, tensor::FloatTensor};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param,
};
use burn::tensor::{Device, FloatDType, IndexingUpdateOp, Tensor};
#[cfg(feature = "flex")]
use burn::tensor::{Element, TensorData};
use burn_std::sync::Mutex;

use super::addition::Addition;

/// The class centers, `[num_classes, feature_dim]`: a parameter that can be moved in place from `&self`.
///
/// A leaf module around Burn's [`Param`], so that records, ids, lazy initialisation, freezing and moving between devices
/// are Burn's own. Updating takes the parameter out of its cell, which makes the tensor handle unique, and so costs what
/// the changed rows cost. While another handle is alive (a clone of the module, a snapshot of the centers), the first
/// update makes a copy instead and the other handle keeps its values.
pub(super) struct Centers {
    /// Empty only inside `take`, and there nothing can fail.
    cell: Mutex<Option<Param<Tensor<2>>>>,
    /// Whether the centers are an ordinary trainable parameter (the gradient rule).
    trainable: bool,
    dtype: FloatDType,
    /// What held the pulls of the last step, for those of the next one: memory of this size that is given back at every
    /// step comes from the system anew at every step, which can take longer than the step.
    #[cfg(feature = "flex")]
    spare: Mutex<Option<TensorData>>,
}

impl Centers {
    pub fn new(param: Param<Tensor<2>>, trainable: bool, dtype: FloatDType) -> Self {
        let param = if trainable {
            param
        } else {
            param.set_require_grad(false)
        };
        Self {
            cell: Mutex::new(Some(param)),
            trainable,
            dtype,
            #[cfg(feature = "flex")]
            spare: Mutex::new(None),
        }
    }

    pub fn shape(&self) -> [usize; 2] {
        self.with(|param| param.lazy_shape().dims())
    }

    /// The device of the values, with autodiff if the module trains.
    pub fn autodiff_device(&self) -> Device {
        self.with(|param| param.lazy_device())
    }

    /// The device of the values, without autodiff.
    pub fn device(&self) -> Device {
        self.autodiff_device().without_autodiff()
    }

    pub fn dtype(&self) -> FloatDType {
        self.dtype
    }

    /// The values as the gradient rule needs them: part of the autodiff graph if they are trainable.
    pub fn tracked(&self) -> Tensor<2> {
        self.with(|param| param.val())
    }

    /// The values as a constant, without autodiff.
    pub fn constant(&self) -> Tensor<2> {
        self.tracked().without_autodiff()
    }

    /// Takes a step, in place. A class that is named several times gets the sum.
    ///
    /// The classes must be in range and the pulls `[classes, feature_dim]`, in the centers' dtype and on their device: the
    /// caller has checked all, since a panic in here would lose the centers.
    pub fn take(&self, step: Addition) {
        let mut cell = self.cell.lock();
        if let Some(param) = cell.take() {
            let (id, values, mapper) = param.consume();
            let device = values.device();
            let values = values.without_autodiff();
            let values = match step {
                Addition::Rows(classes, rows) => {
                    values.select_assign(0, classes, rows, IndexingUpdateOp::Add)
                }
                #[cfg(feature = "_kernels")]
                Addition::ByKernels(step) => step.added_to(values),
                #[cfg(feature = "flex")]
                Addition::OnHost(step) => {
                    let values = step.added_to(values);
                    self.keep(step.into_pulls());
                    values
                }
            };
            let values = with_autodiff_of(values, &device);
            *cell = Some(Param::from_mapped_value(id, values, mapper));
        }
    }

    /// Keeps the memory of pulls that are not needed any more.
    #[cfg(feature = "flex")]
    fn keep(&self, pulls: FloatTensor<Flex>) {
        if pulls.is_unique() {
            *self.spare.lock() = Some(pulls.into_data());
        }
    }

    /// The last step's pulls, for their memory.
    #[cfg(feature = "flex")]
    pub fn spare<T: Element>(&self) -> Vec<T> {
        let spare = self.spare.lock().take();
        spare
            .and_then(|data| data.try_into_vec().ok())
            .unwrap_or_default()
    }

    /// The same parameter with other values; its id, device and place in the graph stay.
    pub fn with_values(self, values: Tensor<2>) -> Self {
        let (trainable, dtype) = (self.trainable, self.dtype);
        let param = self.into_param();
        let id = param.id;
        let values = with_autodiff_of(values, &param.lazy_device());
        Self::new(param.transform_for_load(values, id), trainable, dtype)
    }

    fn with<R>(&self, read: impl FnOnce(&Param<Tensor<2>>) -> R) -> R {
        read(
            self.cell
                .lock()
                .as_ref()
                .expect("the centers are only taken out during an update"),
        )
    }

    fn into_param(self) -> Param<Tensor<2>> {
        self.cell
            .into_inner()
            .expect("the centers are only taken out during an update")
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
            dtype: self.dtype,
            #[cfg(feature = "flex")]
            spare: Mutex::new(None),
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
        self.change(|param| with_dtype(Module::map(param, mapper), dtype))
    }

    fn valid(&self) -> Self {
        Self {
            cell: Mutex::new(Some(self.with(Module::valid))),
            trainable: self.trainable,
            dtype: self.dtype,
            #[cfg(feature = "flex")]
            spare: Mutex::new(None),
        }
    }

    fn train(self) -> Self {
        self.change(Module::train)
    }

    fn materialize(self) -> Self {
        self.change(Module::materialize)
    }
}

/// Brings plain values into the autodiff state of a device.
pub(super) fn with_autodiff_of(values: Tensor<2>, device: &Device) -> Tensor<2> {
    match device.gradient_checkpointing_strategy() {
        Some(strategy) => values
            .autodiff()
            .with_gradient_checkpointing_strategy(strategy),
        None => values,
    }
}

/// A record loads with its own dtype, and a half-precision model is made by mapping every parameter: the centers keep
/// theirs, since in half precision small steps would be rounded away.
fn with_dtype(param: Param<Tensor<2>>, dtype: FloatDType) -> Param<Tensor<2>> {
    if !param.is_initialized() || param.dtype() == dtype.into() {
        return param;
    }
    let (id, values, mapper) = param.consume();
    let (device, require_grad) = (values.device(), values.is_require_grad());
    let values = with_autodiff_of(values.without_autodiff().cast(dtype), &device);
    let values = match require_grad {
        true => values.require_grad(),
        false => values,
    };
    Param::from_mapped_value(id, values, mapper)
}

impl core::fmt::Debug for Centers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Centers")
            .field("shape", &self.shape())
            .field("trainable", &self.trainable)
            .finish()
    }
}

impl core::fmt::Display for Centers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ModuleDisplayDefault for Centers {
    fn content(&self, content: Content) -> Option<Content> {
        self.with(|param| param.content(content))
    }
}

impl ModuleDisplay for Centers {}
