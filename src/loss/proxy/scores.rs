//! Cosines between features and proxies, all at once.

use burn::tensor::{Bool, Int, Tensor};

use crate::engine::{self, Scale};

/// In place of an exponent that does not count: its exponential is 0 beside those of all others. It is finite,
/// since shaders may take for granted that nothing is infinite.
pub(super) const NO_EXPONENT: f64 = -1e37;

/// The cosines between all features and all proxies times a scale, on the graphs of both.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - proxies: `[rows, feature_dim]`
/// - output: `[batch_size, rows]`
pub(super) fn scaled_cosines(features: Tensor<2>, proxies: Tensor<2>, scale: f64) -> Tensor<2> {
    engine::logits(features, proxies, 1, Scale::Fixed(scale))
}

/// Which class is that of the sample, `[batch_size, num_classes]`. `classes` is `[batch_size]`.
pub(super) fn is_own_class(classes: &Tensor<1, Int>, num_classes: usize) -> Tensor<2, Bool> {
    let shape = [classes.dims()[0], num_classes];
    let all = Tensor::<1, Int>::arange(0..num_classes as i64, &classes.device());
    let own = classes.clone().unsqueeze_dim::<2>(1).expand(shape);
    own.equal(
        all.cast(classes.dtype())
            .unsqueeze_dim::<2>(0)
            .expand(shape),
    )
}
