//! Losses: checked, together with their samples where these are not read yet, and weighed.

use alloc::string::ToString;
use burn::tensor::Tensor;

use super::counting::{Coefficients, Samples, magnitudes};
use super::overflow::{at_most, exceeds, limit, overflow};
use super::softmax::Losses;
use super::strict::{Known, not_finite};
use crate::batch::BatchError;

impl Samples<'_> {
    /// The weighed losses of the samples, `[batch_size]`, or their sum, `[1]`.
    ///
    /// Under strict checking a batch is refused if a sample is bad, or if its loss or gradient of the features
    /// is not finite: if a loss is not, the first class vector of `centers` that is not is named. `slope` is
    /// the most that the loss of a sample changes with the direction of its feature, per radian.
    pub fn accept(
        self,
        losses: Losses,
        centers: &Tensor<2>,
        slope: f64,
        is_reduced: bool,
    ) -> Result<Tensor<1>, BatchError> {
        let Losses {
            value,
            each,
            is_weighed,
        } = losses;
        let coefficients = match self {
            Self::Strict(samples) => {
                let (known, losses) = samples.read(each)?;
                check(&known, &losses, centers, slope, is_reduced)?;
                Coefficients::Host(known.coefficients)
            }
            Self::Deferred { coefficients, .. } => coefficients,
        };
        Ok(if is_weighed {
            value
        } else {
            coefficients.weigh_all(value, is_reduced)
        })
    }
}

/// Refuses samples whose loss or gradient of the features is not finite; see [`Samples::accept`].
fn check(
    known: &Known,
    losses: &[f64],
    centers: &Tensor<2>,
    slope: f64,
    is_reduced: bool,
) -> Result<(), BatchError> {
    let Known {
        lengths,
        coefficients,
        ..
    } = known;
    check_losses(losses, centers)?;
    let dtype = centers.dtype();
    let counts = |i: &usize| coefficients[*i] > 0.0;
    let limit = limit(dtype);
    let refuse = |what, most| Err(overflow(what, most, dtype));
    let samples = || (0..losses.len()).filter(counts);
    let magnitudes = samples().map(|i| (i, coefficients[i] * losses[i].abs()));
    let most = at_most(magnitudes.clone());
    let total = if is_reduced {
        magnitudes.map(|(_, loss)| loss).sum()
    } else {
        most.1
    };
    if exceeds(total, limit) {
        return refuse("loss", (most.0, total));
    }
    let slopes = samples().filter(|i| lengths[*i] > 0.0);
    let most = at_most(slopes.map(|i| (i, coefficients[i] * slope / lengths[i])));
    if exceeds(most.1, limit) {
        return refuse("gradient of the features", most);
    }
    Ok(())
}

/// Refuses centers, `[rows, feature_dim]` and without autodiff, if one of them is not finite. Goes through
/// them in blocks, so that no copy of them is made.
pub(crate) fn check_centers(centers: &Tensor<2>) -> Result<(), BatchError> {
    const VALUES: usize = 1 << 20;
    let [rows, columns] = centers.dims();
    let step = (VALUES / columns).max(1);
    for first in (0..rows).step_by(step) {
        let block = centers.clone().narrow(0, first, step.min(rows - first));
        let data = magnitudes(block)
            .try_into_data()
            .map_err(|error| BatchError::Read(error.to_string()))?;
        if let Some(row) = data.iter::<f64>().position(|value| !value.is_finite()) {
            let class = first + row;
            if let Some((dim, value)) = not_finite(centers, class)? {
                return Err(BatchError::Center { class, dim, value });
            }
        }
    }
    Ok(())
}

/// Refuses centers that are not finite, where losses are not.
pub(crate) fn check_losses(losses: &[f64], centers: &Tensor<2>) -> Result<(), BatchError> {
    if losses.iter().all(|loss| loss.is_finite()) {
        return Ok(());
    }
    check_centers(centers)
}
