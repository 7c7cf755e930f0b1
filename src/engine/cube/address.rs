use burn_cubecl::cubecl::ir::AddressType;
use burn_cubecl::tensor::CubeTensor;

/// The narrowest address type that reaches every element of all tensors.
pub(super) fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors
        .iter()
        .map(|tensor| tensor.required_address_type())
        .max()
        .unwrap_or_default()
}
