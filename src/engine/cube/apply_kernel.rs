use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::address::address_type;
use super::grid::Grid;
use super::measure_kernel::is_finite;

/// The samples of each class as a chain in the order of the batch: whether a sample is the first of its
/// class, and which sample follows it (the batch size after the last). A sample whose factor is zero is
/// in no chain.
#[cube(launch)]
#[allow(
    clippy::if_same_then_else,
    reason = "a kernel evaluates both sides of an `or`, and would read beyond the batch"
)]
fn chain_kernel<F: Float, I: Int>(
    classes: &Tensor<I>,
    factors: &Tensor<F>,
    chain: &mut Tensor<u32>,
    #[define(F, I)] _types: [ElemType; 2],
) {
    let sample = ABSOLUTE_POS;
    let batch_size = classes.shape(0);
    if sample >= batch_size {
        terminate!();
    }
    let class = classes[sample];
    let mut first = factors[sample] != F::new(0.0);
    let mut other = 0usize;
    while first && other < sample {
        if classes[other] == class && factors[other] != F::new(0.0) {
            first = false;
        }
        other += 1;
    }
    let mut next = sample + 1;
    let mut searching = true;
    while searching {
        if next >= batch_size {
            searching = false;
        } else if classes[next] == class && factors[next] != F::new(0.0) {
            searching = false;
        } else {
            next += 1;
        }
    }
    chain[sample] = u32::cast_from(first);
    chain[batch_size + sample] = u32::cast_from(next);
}

/// Adds the rows of each chain, times their factors, to the center of their class. Every value that is
/// written has one owner, so that the order of the sums is fixed without atomics.
#[cube(launch, address_type = "dynamic")]
fn apply_kernel<F: Float, I: Int>(
    centers: &mut Tensor<F>,
    classes: &Tensor<I>,
    pulls: &Tensor<F>,
    factors: &Tensor<F>,
    chain: &Tensor<u32>,
    #[comptime] width: usize,
    #[comptime] rows: usize,
    #[define(F, I)] _types: [ElemType; 2],
) {
    let sample = CUBE_POS * rows + UNIT_POS_Y as usize;
    let batch_size = classes.shape(0);
    let feature_dim = pulls.shape(1);
    if sample >= batch_size {
        terminate!();
    }
    if chain[sample] == 0 {
        terminate!();
    }
    let center = usize::cast_from(classes[sample]) * feature_dim;
    let mut column = UNIT_POS_X as usize;
    while column < feature_dim {
        let mut value = centers[center + column];
        let mut link = sample;
        while link < batch_size {
            value += pulls[link * feature_dim + column] * factors[link];
            link = usize::cast_from(chain[batch_size + link]);
        }
        if is_finite::<F>(value) {
            centers[center + column] = value;
        }
        column += width;
    }
}

/// The centers after the step, in place if their handle is the only one, as Burn's own in-place
/// operations decide it. Besides the centers this touches `O(batch_size x feature_dim)` values, however
/// many classes there are.
pub(super) fn apply(
    centers: CubeTensor,
    classes: CubeTensor,
    pulls: CubeTensor,
    factors: CubeTensor,
) -> CubeTensor {
    let centers = into_contiguous(centers);
    let centers = if centers.can_mut() {
        centers
    } else {
        centers.copy()
    };
    let [classes, pulls, factors] = [classes, pulls, factors].map(into_contiguous);
    let [batch_size, feature_dim] = pulls.meta.shape().dims();
    let client = centers.client.clone();
    let chain = empty_device_dtype(
        client.clone(),
        centers.device.clone(),
        Shape::new([2, batch_size]),
        DType::U32,
    );
    let types = [centers.dtype, classes.dtype].map(dtype_to_storage_type);
    let dim = CubeDim::new(&client, batch_size);
    chain_kernel::launch(
        &client,
        calculate_cube_count_elemwise(&client, batch_size, dim),
        dim,
        classes.clone().into_tensor_arg(),
        factors.clone().into_tensor_arg(),
        chain.clone().into_tensor_arg(),
        types,
    );
    let grid = Grid::new(&client, batch_size, feature_dim);
    apply_kernel::launch(
        &client,
        grid.count,
        grid.dim,
        address_type(&[&centers, &pulls]),
        centers.clone().into_tensor_arg(),
        classes.into_tensor_arg(),
        pulls.into_tensor_arg(),
        factors.into_tensor_arg(),
        chain.into_tensor_arg(),
        grid.width,
        grid.rows,
        types,
    );
    centers
}
