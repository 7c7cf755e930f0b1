//! Labels of any integer type.

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

use super::check::BatchRules;

/// The meaning of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelKind {
    Class(usize),
    /// The sample takes no part.
    Ignored,
    /// The label names no class.
    Unknown,
}

impl BatchRules {
    /// The meaning of a label of any integer type.
    pub fn kind_of<L: Copy + Into<i128> + TryInto<usize>>(&self, label: L) -> LabelKind {
        if let Some(ignored) = self.ignore_label
            && i128::from(ignored) == label.into()
        {
            return LabelKind::Ignored;
        }
        match label.try_into() {
            Ok(class) if class < self.num_classes => LabelKind::Class(class),
            _ => LabelKind::Unknown,
        }
    }

    /// The labels below and above those that name a class, `[batch_size]` each. Labels are compared in their own
    /// type, where none wraps.
    pub fn outside(&self, labels: &Tensor<1, Int>) -> Vec<Tensor<1, Bool>> {
        let mut outside = vec![labels.clone().lower_elem(0)];
        if let Some(last) = self.last_class(labels.dtype()) {
            outside.push(labels.clone().greater_elem(last));
        }
        outside
    }

    /// The class of each sample in the device's own integer type. A label that names no class becomes one
    /// that does, since an index out of range is undefined on some backends.
    pub fn classes(&self, labels: &Tensor<1, Int>) -> Tensor<1, Int> {
        let labels = match self.last_class(labels.dtype()) {
            Some(last) => labels.clone().clamp(0, last),
            None => labels.clone().clamp_min(0),
        };
        let dtype = labels.device().settings().int_dtype;
        labels.cast(dtype)
    }

    /// The samples with the ignored label, `[batch_size]`, if the labels' type can hold it.
    pub fn is_ignored(&self, labels: &Tensor<1, Int>) -> Option<Tensor<1, Bool>> {
        let (least, largest) = least_and_largest(labels.dtype());
        self.ignore_label
            .filter(|label| (least..=largest).contains(label))
            .map(|label| labels.clone().equal_elem(label))
    }

    /// The last class, if the labels' type can hold it.
    fn last_class(&self, dtype: DType) -> Option<i64> {
        let (_, largest) = least_and_largest(dtype);
        i64::try_from(self.num_classes - 1)
            .ok()
            .filter(|last| *last <= largest)
    }
}

/// The least and the largest number that an integer type and `i64` have in common.
fn least_and_largest(dtype: DType) -> (i64, i64) {
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

/// Classes or rows as a tensor in the device's own integer type.
pub(crate) fn index(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
    Tensor::from_data(values.as_slice(), device)
}
