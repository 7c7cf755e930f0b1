//! Labels of every integer type, at the ends of the classes and at the ends of the type.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{Checking, SkippedSamples};

use super::{AnyLoss, Case, Change, all_losses};
use crate::devices::{ONE_IN, devices_with, values};
use crate::fixtures::assert_close;
use crate::integers::{INTEGER_TYPES, extreme_values, typed_labels};
use crate::tensors::labels;

/// The ends of the type and of the classes with their neighbors, and numbers that are a class once they wrap.
fn interesting(dtype: DType, num_classes: i128) -> Vec<i128> {
    let mut labels = extreme_values(dtype);
    let (least, most) = (labels[0], labels[labels.len() - 1]);
    labels.extend((-2..2).map(|end| num_classes + end));
    for bits in [7, 8, 15, 16, 31, 32, 63] {
        labels.extend((-1..2).map(|end| (1 << bits) + end));
        labels.push(-(1_i128 << bits));
    }
    labels.retain(|label| (least..=most).contains(label));
    labels.sort_unstable();
    labels.dedup();
    labels
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Class,
    Ignored,
    Unknown,
}

/// A label beside label 0, whatever the loss.
struct Given {
    case: Case,
    label: i128,
    dtype: DType,
    kind: Kind,
    device: Device,
}

impl Given {
    fn batch(&self) -> (Tensor<2>, Tensor<1, burn::tensor::Int>) {
        let features = Tensor::<2>::from_data([[1.0, 0.5], [0.3, 2.0]], &self.device);
        (
            features,
            typed_labels(&[0, self.label], self.dtype, &self.device),
        )
    }

    /// The value that the label must give, by labels of the device's own type.
    fn expected(&self, loss: &AnyLoss) -> Vec<f64> {
        let (features, _) = self.batch();
        let (rows, y) = match self.kind {
            Kind::Class => (2, vec![0, self.label as i64]),
            Kind::Ignored | Kind::Unknown => (1, vec![0]),
        };
        let batch = (features.narrow(0, 0, rows), labels(&y, &self.device));
        let clone = loss.changed(Change::Clone);
        values(clone.try_forward(batch.into()).unwrap())
    }

    fn name(&self) -> String {
        let Self {
            label, dtype, kind, ..
        } = self;
        format!("{label}, {dtype:?}, {kind:?}: {:?}", self.case.config)
    }
}

/// Each type, number of classes, ignored label and label, in turn with each loss.
fn every_label(mut check: impl FnMut(&Given)) {
    // Also more classes than a type can count.
    let losses = [1, 3, 128, 300].map(|num_classes| all_losses(num_classes, 2));
    let mut count = 0;
    for dtype in INTEGER_TYPES {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            for losses in &losses {
                // A proxy needs another one, for the denominator of the other classes alone.
                let losses: Vec<&Case> = losses
                    .iter()
                    .filter(|case| {
                        case.num_classes() > 1 || !case.config.text().contains("OtherClasses")
                    })
                    .collect();
                let num_classes = losses[0].num_classes() as i128;
                let others = [-1, num_classes as i64, i64::MIN, i64::MAX, 255];
                for (i, label) in interesting(dtype, num_classes).into_iter().enumerate() {
                    // Once the label itself, then one that is another.
                    let itself = i64::try_from(label).ok().filter(|label| *label != 0);
                    for ignored in [itself.unwrap_or(-100), others[i % others.len()]] {
                        count += 1;
                        if !usize::is_multiple_of(count, ONE_IN) {
                            continue;
                        }
                        check(&Given {
                            case: losses[count % losses.len()].ignoring(ignored),
                            kind: match label {
                                label if label == i128::from(ignored) => Kind::Ignored,
                                label if (0..num_classes).contains(&label) => Kind::Class,
                                _ => Kind::Unknown,
                            },
                            label,
                            dtype,
                            device: device.clone(),
                        });
                    }
                }
            }
        }
    }
    assert!(count > 500, "{count} labels");
}

#[test]
fn strict_checking_names_the_label_as_it_is() {
    every_label(|given| {
        let loss = given.case.init(&given.device);
        let [num_classes, _] = loss.shape();
        let (before, expected) = (loss.state(), given.expected(&loss));
        let message = format!(
            "labels[1] is {}: it must be in 0..{num_classes}",
            given.label
        );
        let each = loss.changed(Change::Clone).try_each(given.batch().into());
        let found = [
            Some(loss.try_evaluate(given.batch().into()).map(drop)),
            each.map(|each| each.map(drop)),
            Some(loss.statistics(given.batch()).map(drop)),
            (given.case.config.sub_centers() == 1)
                .then(|| loss.init_from_data(vec![given.batch()]).map(drop)),
        ];
        for found in found.into_iter().flatten() {
            match given.kind {
                Kind::Unknown => {
                    assert_eq!(found.unwrap_err().to_string(), message, "{}", given.name())
                }
                Kind::Class | Kind::Ignored => {
                    found.unwrap_or_else(|error| panic!("{}: {error}", given.name()))
                }
            }
        }
        match (loss.try_forward(given.batch().into()), given.kind) {
            (Err(error), Kind::Unknown) => {
                assert_eq!(error.to_string(), message);
                assert_eq!(loss.state(), before, "{}", given.name());
            }
            (Ok(value), Kind::Class | Kind::Ignored) => {
                assert_close(&given.name(), &values(value), &expected, 1e-6);
            }
            (found, _) => panic!("{}: {found:?}", given.name()),
        }
    });
}

#[test]
fn deferred_checking_counts_labels_of_no_class() {
    every_label(|given| {
        let loss = given.case.checking(Checking::Deferred).init(&given.device);
        let expected = given.expected(&loss);
        let value = values(loss.try_forward(given.batch().into()).unwrap());
        assert_close(&given.name(), &value, &expected, 1e-6);
        let skipped = SkippedSamples {
            labels: u64::from(given.kind == Kind::Unknown),
            ..SkippedSamples::default()
        };
        assert_eq!(loss.take_skipped(), Ok(skipped), "{}", given.name());
    });
}

/// Acceptance case 6: insightface #1437 and #894, LightCNN #5, MagFace #15. And 2^32 is 0 in 32 bits.
#[test]
fn labels_from_one_on_and_labels_that_wrap_are_refused_by_name() {
    for dtype in [DType::I64, DType::U64] {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            for case in all_losses(3, 2) {
                for bad in [3, 1 << 32] {
                    let batch = (
                        Tensor::ones([2, 2], &device),
                        typed_labels(&[1, bad], dtype, &device),
                    );
                    assert_eq!(
                        case.init(&device)
                            .try_forward(batch.into())
                            .unwrap_err()
                            .to_string(),
                        format!("labels[1] is {bad}: it must be in 0..3")
                    );
                }
            }
        }
    }
}
