//! What every proxy loss does with a batch besides its formula.

use burn::tensor::{Int, Tensor};

use crate::batch::{Batch, BatchError, BatchRules, LeftOutCounter, Weighing};
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
    pub fn count<'w>(
        &self,
        batch: Batch,
        weighing: Weighing<'w>,
        may_train: bool,
    ) -> Result<(Counted<'w>, Tensor<2>), BatchError> {
        let batch = self
            .rules
            .fit(batch, self.centers.device(), self.centers.dtype())?;
        let proxies = if may_train && batch.is_autodiff {
            self.centers.tracked()
        } else {
            self.centers.constant()
        };
        Ok((engine::count(batch, &self.rules, weighing)?, proxies))
    }

    /// Features as the proxies are, in data type and device.
    pub fn fit(&self, features: Tensor<2>) -> Result<Tensor<2>, BatchError> {
        let [rows, _] = features.dims();
        let labels = Tensor::zeros([rows], &features.device().without_autodiff());
        let batch = Batch::new(features, labels);
        let (device, dtype) = (self.centers.device(), self.centers.dtype());
        Ok(self.rules.fit(batch, device, dtype)?.features)
    }

    /// The weighed losses of the samples, or their sum. Notes what deferred checking has left out. Under strict
    /// checking, bad samples are refused, and those whose loss or gradient is not finite.
    ///
    /// `slope` is the most that the loss of a sample changes with the direction of its feature, per
    /// radian.
    pub fn accept(
        &self,
        losses: Losses,
        counted: Counted,
        slope: f64,
        is_reduced: bool,
    ) -> Result<Tensor<1>, BatchError> {
        let centers = self.centers.constant();
        let value = counted
            .samples
            .accept(losses, &centers, slope, is_reduced)?;
        self.note(counted.left_out);
        Ok(value)
    }

    /// Refuses proxies that are not finite, where losses are not.
    pub fn check_finite(&self, losses: &[f64]) -> Result<(), BatchError> {
        engine::check_losses(losses, &self.centers.constant())
    }

    /// Adds to the counts of what deferred checking has left out.
    pub fn note(&self, left_out: Option<Tensor<1, Int>>) {
        if let Some(left_out) = left_out {
            self.left_out.add(left_out);
        }
    }

    /// A classifier of the directions of the proxies; each class has as many as `sub_centers`.
    pub fn nearest_center(&self, sub_centers: usize) -> Result<NearestCenter, KnnError> {
        NearestCenter::from_sub_directions(self.centers.constant(), sub_centers)
    }
}
