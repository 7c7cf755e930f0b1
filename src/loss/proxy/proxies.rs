//! What every proxy loss does with a batch besides its formula.

use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::Tensor;

use crate::batch::{Batch, BatchError, BatchRules, Checking, LeftOutCounter, PerSample, Weighing};
use crate::centers::Centers;
use crate::engine::{self, Counted, Losses};
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
            .fit(batch, self.centers.device(), self.centers.dtype())?;
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
        Ok(self.rules.fit(batch, device, dtype)?.features)
    }

    /// Notes what deferred checking has left out. Under strict checking, losses of samples that are not finite,
    /// or whose gradients are not, are refused. `losses` are those before they are weighed.
    ///
    /// `slope` is the most that the loss of a sample changes with the direction of its feature, per
    /// radian.
    pub fn accept(
        &self,
        losses: PerSample,
        counted: &Counted,
        slope: f64,
        is_reduced: bool,
    ) -> Result<(), BatchError> {
        if self.rules.checking == Checking::Strict {
            let losses = match losses {
                PerSample::Host(losses) => losses,
                PerSample::Device(losses) => read(losses)?,
            };
            self.check_finite(&losses)?;
            let dtype = self.centers.dtype().into();
            counted.check_overflow(&losses, slope, is_reduced, dtype)?;
        }
        self.note(counted);
        Ok(())
    }

    /// Refuses proxies that are not finite, where losses are not.
    pub fn check_finite(&self, losses: &[f64]) -> Result<(), BatchError> {
        if losses.iter().all(|loss| loss.is_finite()) {
            return Ok(());
        }
        engine::check_finite(self.centers.constant())
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

/// The losses of the samples, `[batch_size]`, as they are and weighed.
pub(super) fn weighed(losses: Tensor<1>, counted: &Counted, is_reduced: bool) -> Losses {
    let each = PerSample::Device(losses.clone().without_autodiff());
    let coefficients = counted.coefficients.clone();
    Losses {
        value: coefficients.weigh_all(losses, is_reduced),
        each,
    }
}

/// The values of a tensor on the host.
pub(super) fn read(tensor: Tensor<1>) -> Result<Vec<f64>, BatchError> {
    let data = tensor
        .try_into_data()
        .map_err(|error| BatchError::Read(error.to_string()))?;
    Ok(data.iter::<f64>().collect())
}
