//! Making a margin softmax: from its configuration, and from class vectors.

use alloc::sync::Arc;
use burn::module::Param;
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use super::config::MarginSoftmaxConfig;
use super::error::MarginSoftmaxError;
use super::margin::Margin;
use super::margin_softmax::MarginSoftmax;
use super::norm_statistics::RunningNorms;
use crate::batch::{ClassWeights, LeftOutCounter};
use crate::centers::{Centers, accepted, drawn, with_autodiff_of};
use crate::schedule::Rates;

impl MarginSoftmaxConfig {
    /// Makes the loss, with class vectors drawn by the initializer at their first use.
    ///
    /// # Panics
    ///
    /// With the message of [`try_init`](Self::try_init).
    pub fn init(&self, device: &Device) -> MarginSoftmax {
        self.try_init(device)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes the loss, with class vectors drawn by the initializer at their first use.
    ///
    /// # Errors
    ///
    /// [`SettingError`](crate::SettingError) for a number of classes, columns or sub-centers of zero, and
    /// for a margin, scale, smoothing or schedule outside its range.
    /// [`ClassWeightsError`](crate::ClassWeightsError) for class weights, and
    /// [`MarginSoftmaxError`] for class margins, that are not one per class or not in their range.
    /// [`CentersError`](crate::CentersError) for [`Precision::F64`](crate::Precision) on a device that has no
    /// exponentials in it.
    pub fn try_init(&self, device: &Device) -> Result<MarginSoftmax, MarginSoftmaxError> {
        self.validate()?;
        let initializer = self.initializer.clone().unwrap_or(Initializer::Normal {
            mean: 0.0,
            std: 1.0 / num_traits::Float::sqrt(self.feature_dim as f64),
        });
        self.assemble(drawn(
            [self.rows(), self.feature_dim],
            initializer,
            self.precision.dtype(),
            device,
            true,
        ))
    }

    /// Makes the loss around the given class vectors, `[num_classes * sub_centers, feature_dim]`, on their
    /// device; the sub-centers of a class follow each other. Reads one number per row back from it.
    ///
    /// A checkpoint of insightface or pytorch-metric-learning 3 has them in this layout; one of
    /// pytorch-metric-learning 2 has them transposed.
    ///
    /// # Errors
    ///
    /// As [`try_init`](Self::try_init), and [`CentersError`](crate::CentersError) for class vectors of
    /// another shape or with a value that is not finite.
    pub fn init_with_centers(
        &self,
        centers: Tensor<2>,
    ) -> Result<MarginSoftmax, MarginSoftmaxError> {
        self.validate()?;
        let device = centers.device();
        let shape = [self.rows(), self.feature_dim];
        let centers = accepted(centers, shape, self.precision.dtype())?;
        self.assemble(Param::from_tensor(with_autodiff_of(centers, &device)))
    }

    fn assemble(&self, centers: Param<Tensor<2>>) -> Result<MarginSoftmax, MarginSoftmaxError> {
        let device = centers.lazy_device();
        let dtype = self.precision.dtype();
        let plain = device.clone().without_autodiff();
        self.precision.check_functions(&plain)?;
        let class_weights = ClassWeights::of_config(
            self.class_weights.as_deref(),
            self.num_classes,
            &device,
            dtype.into(),
        )?;
        let norms = match &self.margin {
            Margin::AdaFace(_) => Some(RunningNorms::new(&device, dtype)),
            _ => None,
        };
        Ok(MarginSoftmax {
            centers: Centers::new(centers, true, dtype),
            updating: Param::from_bool(true),
            rates: Rates::new([1.0], &plain),
            norms,
            class_weights,
            config: Arc::new(self.clone()),
            left_out: LeftOutCounter::default(),
        })
    }
}
