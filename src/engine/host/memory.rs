use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

/// The tensor without gaps between its rows, if the host reaches it.
pub(super) fn contiguous(tensor: Tensor<2>) -> Option<FloatTensor<Flex>> {
    let primitive = tensor.try_into_primitive::<Flex>().ok()?;
    Some(if primitive.is_contiguous() {
        primitive
    } else {
        primitive.to_contiguous()
    })
}
