use burn::tensor::{IndexingUpdateOp, Int, Tensor};

#[cfg(feature = "_kernels")]
use crate::device::{Engine, engine_of};
use crate::reduce::sum_dim;

/// From this many samples on, the kernels do not look for samples of one class by comparing all pairs.
#[cfg(feature = "_kernels")]
pub(super) const MANY_SAMPLES: usize = 4096;

/// For each sample the total weight of its class, `[samples]`, without reading anything.
///
/// Tensor operations take a histogram over the classes, unless there are more classes than pairs of
/// samples. Then all pairs are compared, so that the cost does not grow with `num_classes`. The kernel
/// compares all pairs of up to 4096 samples, on all units of the device.
pub(crate) fn class_totals(
    classes: &Tensor<1, Int>,
    weights: &Tensor<1>,
    num_classes: usize,
) -> Tensor<1> {
    let [samples] = classes.dims();
    #[cfg(feature = "_kernels")]
    if samples < MANY_SAMPLES && matches!(engine_of(&weights.device()), Engine::Cube) {
        return super::cube::class_totals(classes, weights);
    }
    if num_classes <= samples.saturating_mul(samples) {
        by_histogram(classes, weights, num_classes)
    } else {
        by_comparison(classes, weights)
    }
}

/// Burn adds to one place in the order of the samples, so that equal inputs give equal bits.
fn by_histogram(classes: &Tensor<1, Int>, weights: &Tensor<1>, num_classes: usize) -> Tensor<1> {
    Tensor::zeros([num_classes], (&weights.device(), weights.dtype()))
        .select_assign(0, classes.clone(), weights.clone(), IndexingUpdateOp::Add)
        .select(0, classes.clone())
}

/// In pieces of at most 2^20 pairs, or of one row.
fn by_comparison(classes: &Tensor<1, Int>, weights: &Tensor<1>) -> Tensor<1> {
    let [batch_size] = classes.dims();
    let rows = ((1_usize << 20) / batch_size).clamp(1, batch_size);
    let all = classes.clone().unsqueeze_dim::<2>(0);
    let weights = weights.clone().unsqueeze_dim::<2>(0);
    let pieces = classes
        .clone()
        .split(rows, 0)
        .into_iter()
        .map(|piece| {
            let shape = [piece.dims()[0], batch_size];
            let is_other = piece
                .unsqueeze_dim::<2>(1)
                .expand(shape)
                .not_equal(all.clone().expand(shape));
            sum_dim(weights.clone().expand(shape).mask_fill(is_other, 0.0), 1).squeeze_dim::<1>(1)
        })
        .collect();
    Tensor::cat(pieces, 0)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use burn::tensor::Device;

    #[test]
    fn both_ways_give_the_total_weight_of_each_class() {
        let device = Device::flex();
        let classes: Vec<i64> = (0..300).map(|i| i * i % 17).collect();
        let weights: Vec<f64> = (0..300).map(|i| f64::from(i % 5)).collect();
        let expected: Vec<f64> = classes
            .iter()
            .map(|class| {
                let pairs = classes.iter().zip(&weights);
                pairs
                    .filter(|(other, _)| *other == class)
                    .map(|(_, weight)| weight)
                    .sum()
            })
            .collect();
        let classes = Tensor::<1, Int>::from_data(classes.as_slice(), &device);
        let weights = Tensor::<1>::from_data(weights.as_slice(), &device);
        for totals in [
            by_comparison(&classes, &weights),
            by_histogram(&classes, &weights, 17),
        ] {
            let totals: Vec<f64> = totals.into_data().iter::<f64>().collect();
            assert_eq!(totals, expected);
        }
    }
}
