//! Labels of any integer type.

use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use super::rules::BatchRules;

/// What a label says of its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Class(usize),
    /// The sample changes nothing.
    Ignored,
    /// The label names no class.
    Unknown,
}

impl BatchRules {
    /// What a label of any integer type says.
    pub fn meaning<L: Copy + Into<i128> + TryInto<usize>>(&self, label: L) -> Meaning {
        if let Some(ignored) = self.ignore_label
            && i128::from(ignored) == label.into()
        {
            return Meaning::Ignored;
        }
        match label.try_into() {
            Ok(class) if class < self.num_classes => Meaning::Class(class),
            _ => Meaning::Unknown,
        }
    }

    /// Which labels are in `0..num_classes`. They are compared in their own type, where none wraps.
    pub fn in_range(&self, labels: &Tensor<1, Int>) -> Tensor<1, Bool> {
        let from_zero = labels.clone().greater_equal_elem(0);
        let (_, largest) = least_and_largest(labels.dtype());
        match i64::try_from(self.num_classes - 1) {
            Ok(last) if last <= largest => {
                from_zero.bool_and(labels.clone().lower_equal_elem(last))
            }
            _ => from_zero,
        }
    }

    /// Which labels are the ignored one, if the labels' type can hold it.
    pub fn ignored(&self, labels: &Tensor<1, Int>) -> Option<Tensor<1, Bool>> {
        let (least, largest) = least_and_largest(labels.dtype());
        self.ignore_label
            .filter(|label| (least..=largest).contains(label))
            .map(|label| labels.clone().equal_elem(label))
    }
}

/// The least and the largest number that an integer type and `i64` have in common.
pub(crate) fn least_and_largest(dtype: DType) -> (i64, i64) {
    match dtype {
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        DType::U32 => (0, u32::MAX.into()),
        DType::U64 => (0, i64::MAX),
        _ => (i64::MIN, i64::MAX),
    }
}

/// Labels as numbers that hold every value of every integer type.
pub(crate) fn read_labels(data: &TensorData) -> Vec<i128> {
    if data.dtype() == DType::U64 {
        return data.iter::<u64>().map(i128::from).collect();
    }
    data.iter::<i64>().map(i128::from).collect()
}
