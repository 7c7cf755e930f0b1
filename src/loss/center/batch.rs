use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Device, Int, IntDType, Tensor, TensorData, Transaction};

use super::samples::{DeviceSamples, HostSamples, Samples};
use super::{CenterLossConfig, CenterLossError, Checking};

/// A batch whose shapes and devices fit, on the way to being checked sample by sample.
///
/// Labels that name no class are replaced by 0 before anything is looked up with them, since an index out of range is
/// undefined on some backends.
pub(super) struct Batch {
    /// As the caller gave them.
    given: Tensor<1, Int>,
    weights: Option<Tensor<1>>,
    /// In range and in the device's own integer type.
    pub classes: Tensor<1, Int>,
    /// `[batch_size]`: the label names a class.
    named: Tensor<1, Bool>,
    /// `[batch_size]`: the label is the ignored one.
    ignored: Option<Tensor<1, Bool>>,
}

/// A batch with every sample decided on.
pub(super) struct CheckedBatch {
    pub samples: Samples,
    /// `[batch_size]`: samples that must not change anything; none if every sample counts.
    pub masked: Option<Tensor<1, Bool>>,
    /// Counts of labels, features and weights that were left out, for deferred checking.
    pub left_out: Option<Tensor<1, Int>>,
}

/// Refuses tensors whose shapes or devices don't fit each other and the centers, which are on `device`.
pub(super) fn check_fit(
    config: &CenterLossConfig,
    device: &Device,
    features: &Tensor<2>,
    labels: &Tensor<1, Int>,
    weights: Option<&Tensor<1>>,
) -> Result<(), CenterLossError> {
    let found = features.dims();
    let [batch_size, feature_dim] = found;
    if feature_dim != config.feature_dim {
        return Err(CenterLossError::FeaturesShape {
            found,
            feature_dim: config.feature_dim,
        });
    }
    if batch_size == 0 {
        return Err(CenterLossError::EmptyBatch);
    }
    let lengths = [
        ("labels", Some(labels.dims()[0])),
        ("weights", weights.map(|w| w.dims()[0])),
    ];
    for (name, found) in lengths {
        if let Some(found) = found.filter(|found| *found != batch_size) {
            return Err(CenterLossError::SampleCount {
                name,
                found,
                batch_size,
            });
        }
    }
    let devices = [
        ("features", Some(features.device())),
        ("labels", Some(labels.device())),
        ("weights", weights.map(|w| w.device())),
    ];
    for (name, found) in devices {
        // Devices are compared without regard to autodiff.
        if let Some(found) = found.filter(|found| found != device) {
            return Err(CenterLossError::Device {
                name,
                found: format!("{:?}", found.without_autodiff()),
                expected: format!("{device:?}"),
            });
        }
    }
    Ok(())
}

impl Batch {
    /// A batch that [`check_fit`] has let pass.
    pub fn new(
        config: &CenterLossConfig,
        device: &Device,
        labels: Tensor<1, Int>,
        weights: Option<Tensor<1>>,
    ) -> Self {
        let given = labels.without_autodiff();
        let named = in_range(&given, config.num_classes);
        let ignored = config
            .ignore_label
            .filter(|label| fits(*label, given.dtype()))
            .map(|label| given.clone().equal_elem(label));
        let index_dtype: IntDType = device.settings().int_dtype;
        let classes = given
            .clone()
            .mask_fill(named.clone().bool_not(), 0)
            .cast(index_dtype);
        Self {
            given,
            weights: weights.map(Tensor::without_autodiff),
            classes,
            named,
            ignored,
        }
    }

    /// Decides on every sample. `pulls` is `[batch_size, feature_dim]`: a sample whose row is not finite is bad.
    /// `features` serve the error message alone.
    pub fn check(
        self,
        config: &CenterLossConfig,
        pulls: Tensor<2>,
        features: &Tensor<2>,
    ) -> Result<CheckedBatch, CenterLossError> {
        // One number per row that is not finite if any entry is not; divided first, so that finite rows stay finite.
        let magnitudes: Tensor<1> = pulls
            .abs()
            .mul_scalar(1.0 / config.feature_dim as f64)
            .sum_dim(1)
            .squeeze_dim(1);
        match config.checking {
            Checking::Strict => self.check_on_host(config, magnitudes, features),
            Checking::Deferred => Ok(self.mask_on_device(magnitudes)),
        }
    }

    fn check_on_host(
        self,
        config: &CenterLossConfig,
        magnitudes: Tensor<1>,
        features: &Tensor<2>,
    ) -> Result<CheckedBatch, CenterLossError> {
        let dtype = magnitudes.dtype();
        let mut reads = Transaction::default()
            .register(self.given)
            .register(magnitudes);
        if let Some(weights) = &self.weights {
            // In the centers' type: what is finite in f64 need not be in f32.
            reads = reads.register(weights.clone().cast(dtype));
        }
        let data = reads
            .try_execute()
            .map_err(|error| CenterLossError::Read(error.to_string()))?;
        let labels = host_labels(&data[0]);
        let magnitudes: Vec<f64> = data[1].iter::<f64>().collect();
        let given_weights: Option<Vec<f64>> = data.get(2).map(|data| data.iter::<f64>().collect());

        let mut host = HostSamples {
            classes: Vec::with_capacity(labels.len()),
            weights: Vec::with_capacity(labels.len()),
            reach: 0.0,
        };
        let mut ignored = 0;
        for (sample, label) in labels.iter().copied().enumerate() {
            if config.ignore_label == Some(label) {
                ignored += 1;
                host.classes.push(0);
                host.weights.push(0.0);
                continue;
            }
            let class = usize::try_from(label)
                .ok()
                .filter(|class| *class < config.num_classes)
                .ok_or(CenterLossError::Label {
                    sample,
                    label,
                    num_classes: config.num_classes,
                })?;
            if !magnitudes[sample].is_finite() {
                return Err(not_finite(features, sample, class, dtype));
            }
            let weight = given_weights.as_ref().map_or(1.0, |w| w[sample]);
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(CenterLossError::Weight {
                    sample,
                    value: weight,
                });
            }
            host.classes.push(class);
            host.weights.push(weight);
            host.reach = host
                .reach
                .max(magnitudes[sample] * config.feature_dim as f64);
        }
        Ok(CheckedBatch {
            samples: Samples::Host(host),
            masked: self.ignored.filter(|_| ignored > 0),
            left_out: None,
        })
    }

    fn mask_on_device(self, magnitudes: Tensor<1>) -> CheckedBatch {
        let dtype = magnitudes.dtype();
        let finite = magnitudes.clone().is_finite();
        let counted = |flags: Tensor<1, Bool>| match &self.ignored {
            Some(ignored) => flags.bool_and(ignored.clone().bool_not()),
            None => flags,
        };
        let weights = match self.weights {
            Some(weights) => weights.cast(dtype),
            None => magnitudes.ones_like(),
        };
        let weighable = weights
            .clone()
            .is_finite()
            .bool_and(weights.clone().greater_equal_elem(0.0));

        let bad_label = counted(self.named.clone().bool_not());
        let readable = counted(self.named.clone());
        let bad_features = readable.clone().bool_and(finite.clone().bool_not());
        let readable = readable.bool_and(finite);
        let bad_weight = readable.clone().bool_and(weighable.clone().bool_not());
        let masked = readable.bool_and(weighable).bool_not();

        let left_out = Tensor::cat(
            [bad_label, bad_features, bad_weight]
                .map(|bad| bad.int().sum())
                .to_vec(),
            0,
        );
        let weights = weights.mask_fill(masked.clone(), 0.0);
        CheckedBatch {
            samples: Samples::Device(Box::new(DeviceSamples {
                classes: self.classes,
                weights,
            })),
            masked: Some(masked),
            left_out: Some(left_out),
        }
    }
}

/// Why a row of pulls is not finite: a bad feature, or a good one too far away.
fn not_finite(features: &Tensor<2>, sample: usize, class: usize, dtype: DType) -> CenterLossError {
    let row = features
        .clone()
        .without_autodiff()
        .narrow(0, sample, 1)
        .try_into_data();
    let row: Vec<f64> = match row {
        Ok(row) => row.iter::<f64>().collect(),
        Err(error) => return CenterLossError::Read(error.to_string()),
    };
    match row.iter().position(|value| !value.is_finite()) {
        Some(dim) => CenterLossError::Feature {
            sample,
            dim,
            value: row[dim],
        },
        None => CenterLossError::Difference {
            sample,
            class,
            dtype: format!("{dtype:?}"),
        },
    }
}

/// Which labels are in `0..num_classes`, compared in the labels' own type, where nothing wraps.
fn in_range(labels: &Tensor<1, Int>, num_classes: usize) -> Tensor<1, Bool> {
    let from_zero = labels.clone().greater_equal_elem(0);
    match i64::try_from(num_classes - 1) {
        Ok(last) if fits(last, labels.dtype()) => {
            from_zero.bool_and(labels.clone().lower_equal_elem(last))
        }
        _ => from_zero,
    }
}

/// Whether an integer type has the value.
fn fits(value: i64, dtype: DType) -> bool {
    let (least, largest) = limits(dtype);
    (least..=largest).contains(&value)
}

/// The least and the largest number that an integer type and `i64` have in common.
pub(super) fn limits(dtype: DType) -> (i64, i64) {
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

pub(super) fn host_labels(data: &TensorData) -> Vec<i64> {
    if data.dtype() == DType::U64 {
        let clamp = |label| i64::try_from(label).unwrap_or(i64::MAX);
        return data.iter::<u64>().map(clamp).collect();
    }
    data.iter::<i64>().collect()
}
