//! Labels of every integer type and every value.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// All integer types.
pub const INTEGER_TYPES: [DType; 8] = [
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U64,
    DType::U32,
    DType::U16,
    DType::U8,
];

/// The least and the greatest value of an integer type, the values next to them, and those around zero and around the
/// greatest value of the signed type.
pub fn extreme_values(dtype: DType) -> Vec<i128> {
    let (least, greatest) = match dtype {
        DType::I64 => (i64::MIN.into(), i64::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U64 => (0, u64::MAX.into()),
        DType::U32 => (0, u32::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        other => panic!("{other:?} is no integer type"),
    };
    let middle = greatest / 2;
    let mut values = vec![
        least,
        least + 1,
        -1,
        0,
        1,
        2,
        middle,
        middle + 1,
        greatest - 1,
        greatest,
    ];
    values.retain(|value: &i128| (least..=greatest).contains(value));
    values
}

/// Labels of an integer type, which must hold the values.
pub fn typed_labels(values: &[i128], dtype: DType, device: &Device) -> Tensor<1, Int> {
    let count = [values.len()];
    let data = match dtype {
        DType::U64 => TensorData::new(values.iter().map(|v| *v as u64).collect(), count),
        _ => TensorData::new(values.iter().map(|v| *v as i64).collect(), count),
    };
    Tensor::from_data(data, (device, dtype))
}

/// The values of an integer tensor of any type.
pub fn wide_values(tensor: Tensor<1, Int>) -> Vec<i128> {
    let data = tensor.into_data();
    match data.dtype() {
        DType::U64 => data.iter::<u64>().map(i128::from).collect(),
        _ => data.iter::<i64>().map(i128::from).collect(),
    }
}
