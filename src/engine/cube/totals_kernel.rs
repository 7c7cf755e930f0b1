use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

/// For each sample the total weight of its class, added in the order of the batch.
#[cube(launch)]
fn totals_kernel<F: Float, I: Int>(
    classes: &Tensor<I>,
    weights: &Tensor<F>,
    totals: &mut Tensor<F>,
    #[define(F, I)] _types: [ElemType; 2],
) {
    let sample = ABSOLUTE_POS;
    let batch_size = classes.shape(0);
    if sample >= batch_size {
        terminate!();
    }
    let class = classes[sample];
    let mut total = F::new(0.0);
    for other in 0..batch_size {
        if classes[other] == class {
            total += weights[other];
        }
    }
    totals[sample] = total;
}

/// For each sample the total weight of its class, `[batch_size]`, like both inputs.
pub(super) fn totals(classes: CubeTensor, weights: CubeTensor) -> CubeTensor {
    let [classes, weights] = [classes, weights].map(into_contiguous);
    let [batch_size] = classes.meta.shape().dims();
    let client = weights.client.clone();
    let totals = empty_device_dtype(
        client.clone(),
        weights.device.clone(),
        weights.meta.shape().clone(),
        weights.dtype,
    );
    let types = [weights.dtype, classes.dtype].map(dtype_to_storage_type);
    let dim = CubeDim::new(&client, batch_size);
    totals_kernel::launch(
        &client,
        calculate_cube_count_elemwise(&client, batch_size, dim),
        dim,
        classes.into_tensor_arg(),
        weights.into_tensor_arg(),
        totals.clone().into_tensor_arg(),
        types,
    );
    totals
}
