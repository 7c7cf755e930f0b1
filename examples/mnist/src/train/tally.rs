//! Loss and accuracy over the batches of an epoch.

use std::mem::take;

use anyhow::{Result, ensure};
use burn::tensor::{Int, Tensor};

/// Loss and accuracy over the batches so far.
#[derive(Default)]
pub struct Tally {
    samples: usize,
    loss_sum: f64,
    correct: usize,
    unread_losses: Vec<Tensor<1>>,
    unread_hits: Vec<Tensor<1, Int>>,
}

impl Tally {
    /// `loss` is the mean over the batch. Nothing is read from the device.
    pub fn add(&mut self, loss: Tensor<1>, logits: Tensor<2>, labels: Tensor<1, Int>) {
        let [batch_size] = labels.dims();
        self.unread_losses.push(loss.mul_scalar(batch_size as f64));
        let hits = logits.argmax(1).flatten::<1>(0, 1).equal(labels).int();
        self.unread_hits.push(hits);
    }

    /// Reads what was added from the device.
    pub fn read(&mut self) -> Result<()> {
        let losses = Tensor::cat(take(&mut self.unread_losses), 0);
        let hits = Tensor::cat(take(&mut self.unread_hits), 0);
        self.loss_sum += losses.try_into_vec_as::<f64>()?.iter().sum::<f64>();
        let hits = hits.try_into_vec_as::<i64>()?;
        self.samples += hits.len();
        self.correct += hits.iter().sum::<i64>() as usize;
        ensure!(
            self.loss_sum.is_finite(),
            "the loss is not finite; try a smaller --lr"
        );
        Ok(())
    }

    pub fn samples(&self) -> usize {
        self.samples
    }

    pub fn loss(&self) -> f64 {
        self.loss_sum / self.samples as f64
    }

    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }
}
