//! What every proxy loss does with a batch besides its formula.

use alloc::string::ToString;
use alloc::vec::Vec;
use burn::nn::loss::Reduction;
use burn::tensor::Tensor;

use crate::batch::{Batch, BatchError, BatchRules, Checking, LeftOutCounter, Weighing};
use crate::centers::Centers;
use crate::engine::{self, Counted};
use crate::neighbors::{KnnError, NearestCenter};

/// The proxies of a loss, and what the loss demands of a batch.
pub(super) struct Proxies<'a> {
    pub centers: &'a Centers,
    pub rules: BatchRules,
    pub left_out: &'a LeftOutCounter,
}

impl Proxies<'_> {
    /// What counts of a batch, and the proxies that it is compared with: on the autodiff graph if they may
    /// train and the features are on an autodiff device.
    pub fn count(
        &self,
        batch: Batch,
        weighing: &Weighing,
        may_train: bool,
    ) -> Result<(Counted, Tensor<2>), BatchError> {
        let batch = self
            .rules
            .fit(batch, &self.centers.device(), self.centers.dtype())?;
        let proxies = if may_train && batch.is_autodiff {
            self.centers.tracked()
        } else {
            self.centers.constant()
        };
        Ok((engine::count(&batch, &self.rules, weighing)?, proxies))
    }

    /// Features as the proxies are, in data type and device.
    pub fn fit(&self, features: Tensor<2>) -> Result<Tensor<2>, BatchError> {
        let [rows, _] = features.dims();
        let labels = Tensor::zeros([rows], &features.device().without_autodiff());
        let batch = Batch::new(features, labels);
        let (device, dtype) = (self.centers.device(), self.centers.dtype());
        Ok(self.rules.fit(batch, &device, dtype)?.features)
    }

    /// The losses of the samples, `[batch_size]`, weighed and reduced. Under strict checking those that
    /// are not finite, or whose gradients are not, are refused.
    ///
    /// `slope` is the most that the loss of a sample changes with the direction of its feature, per
    /// radian.
    pub fn reduce(
        &self,
        losses: Tensor<1>,
        counted: Counted,
        slope: f64,
        reduction: Option<&Reduction>,
    ) -> Result<Tensor<1>, BatchError> {
        if self.rules.checking == Checking::Strict {
            let values = self.read(losses.clone())?;
            counted.check_overflow(&values, slope, reduction.is_some(), losses.dtype())?;
        }
        self.note(&counted);
        let losses = counted.coefficients.weigh(losses);
        Ok(match reduction {
            Some(_) => losses.sum(),
            None => losses,
        })
    }

    /// Losses on the host. A proxy that makes one of them infinite or NaN is refused by its name.
    pub fn read(&self, losses: Tensor<1>) -> Result<Vec<f64>, BatchError> {
        let read = losses
            .without_autodiff()
            .try_into_data()
            .map_err(|error| BatchError::Read(error.to_string()))?;
        let values: Vec<f64> = read.iter::<f64>().collect();
        if !values.iter().all(|loss| loss.is_finite()) {
            engine::check_finite(self.centers.constant())?;
        }
        Ok(values)
    }

    /// Adds to the counts of what deferred checking has left out.
    pub fn note(&self, counted: &Counted) {
        if let Some(left_out) = &counted.left_out {
            self.left_out.add(left_out.clone());
        }
    }

    /// A classifier of the directions of the proxies; each class has as many as `sub_centers`.
    pub fn nearest_center(&self, sub_centers: usize) -> Result<NearestCenter, KnnError> {
        NearestCenter::from_sub_directions(self.centers.constant(), sub_centers)
    }
}
