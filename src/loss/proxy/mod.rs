//! Losses over proxies: trained vectors of the classes that stand in for samples, so that no pairs or
//! triplets of samples are needed.

mod proxy_anchor;
mod proxy_nca;
mod soft_triple;

use burn::tensor::{Bool, Int, Tensor};

use super::common::{Call, LossConfig, check_batch};
use crate::batch::{CheckedBatch, Checking, LabelledBatch, row_magnitudes};
use crate::centers::Centers;
use crate::error::LossError;
use crate::reduce::{max_dim, sum_dim};
use crate::softmax::{Scale, logits};

pub use proxy_anchor::{ProxyAnchor, ProxyAnchorConfig};
pub use proxy_nca::{Denominator, ProxyNca, ProxyNcaConfig};
pub use soft_triple::{SoftTriple, SoftTripleConfig};

/// The exponent of a term that does not count: its exponential is 0 beside those of all others. It is finite,
/// since shaders may assume that no number is infinite.
const NO_EXPONENT: f64 = -1e37;

/// The samples of a batch that take part, and the proxies, on the graph if they get gradients.
fn check<C: LossConfig>(
    config: &C,
    checking: Checking,
    centers: &Centers,
    batch: LabelledBatch,
    call: Call,
) -> Result<(CheckedBatch, Tensor<2>), LossError> {
    let (mut batch, proxies) = check_batch(config.rules(checking), centers, batch, call)?;
    if checking == Checking::Deferred {
        // The formulas are taken of the samples that are left, so that no feature gets a gradient from proxies
        // that are not finite.
        batch.skip_losses([magnitudes(&batch, &centers.constant())]);
    }
    Ok((batch, proxies))
}

/// A number for each sample, `[batch_size]`, which is finite if all proxies are.
fn magnitudes(batch: &CheckedBatch, proxies: &Tensor<2>) -> Tensor<1> {
    let of_rows = row_magnitudes(proxies.clone()).unsqueeze_dim::<2>(0);
    row_magnitudes(of_rows).expand(batch.classes.dims())
}

/// The cosines between all features and all proxies times a scale, on the graphs of both.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - proxies: `[rows, feature_dim]`
/// - output: `[batch_size, rows]`
fn scaled_cosines(features: Tensor<2>, proxies: Tensor<2>, scale: f64) -> Tensor<2> {
    logits(features, proxies, 1, Scale::Fixed(scale))
}

/// Whether a class is that of the sample, `[batch_size, num_classes]`. `classes` is `[batch_size]`.
fn is_target_class(classes: &Tensor<1, Int>, num_classes: usize) -> Tensor<2, Bool> {
    let shape = [classes.dims()[0], num_classes];
    let all = Tensor::<1, Int>::arange(0..num_classes as i64, &classes.device());
    let all = all.cast(classes.dtype()).unsqueeze_dim::<2>(0);
    let target = classes.clone().unsqueeze_dim::<2>(1);
    target.expand(shape).equal(all.expand(shape))
}

/// `log(sum exp)` of each row, `[rows, 1]`. The largest exponent is subtracted first, so that nothing overflows
/// or vanishes.
fn log_sum_exp(exponents: Tensor<2>) -> Tensor<2> {
    let largest = max_dim(exponents.clone().without_autodiff(), 1);
    sum_dim((exponents - largest.clone()).exp(), 1).log() + largest
}

/// The score of the class of each sample, `[batch_size, 1]`.
fn target_scores(scores: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<2> {
    scores.gather(1, classes.clone().unsqueeze_dim::<2>(1))
}
