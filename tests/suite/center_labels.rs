//! Labels of every integer type, at the ends of the classes and at the ends of the type.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_center_loss::{CenterLoss, CenterLossConfig, CenterLossError, Checking, LeftOut};

use crate::devices::{ONE_IN, devices_with, values};

const TYPES: [DType; 8] = [
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U64,
    DType::U32,
    DType::U16,
    DType::U8,
];

fn range(dtype: DType) -> (i128, i128) {
    match dtype {
        DType::I64 => (i64::MIN.into(), i64::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U64 => (0, u64::MAX.into()),
        DType::U32 => (0, u32::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        other => panic!("{other:?} is no integer type"),
    }
}

/// The ends of the type and of the classes with their neighbors, and numbers that are a class once they wrap.
fn interesting(dtype: DType, num_classes: usize) -> Vec<i128> {
    let (least, most) = range(dtype);
    let num_classes = num_classes as i128;
    let mut labels = vec![least, least + 1, most - 1, most, -1, 0, 1];
    labels.extend([
        num_classes - 2,
        num_classes - 1,
        num_classes,
        num_classes + 1,
    ]);
    for bits in [7, 8, 15, 16, 31, 32, 63] {
        labels.extend([
            (1 << bits) - 1,
            1 << bits,
            (1 << bits) + 1,
            -(1_i128 << bits),
        ]);
    }
    labels.retain(|label| (least..=most).contains(label));
    labels.sort_unstable();
    labels.dedup();
    labels
}

fn labels(values: &[i128], dtype: DType, device: &Device) -> Tensor<1, Int> {
    let shape = [values.len()];
    // Through the type itself: `i64` does not hold every value of `u64`.
    let data = if dtype == DType::U64 {
        TensorData::new(
            values.iter().map(|value| *value as u64).collect::<Vec<_>>(),
            shape,
        )
    } else {
        TensorData::new(
            values.iter().map(|value| *value as i64).collect::<Vec<_>>(),
            shape,
        )
    };
    Tensor::from_data(data, (device, dtype))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Meaning {
    Class(usize),
    Ignored,
    Nothing,
}

fn meaning(label: i128, num_classes: usize, ignored: Option<i64>) -> Meaning {
    if ignored.map(i128::from) == Some(label) {
        return Meaning::Ignored;
    }
    match usize::try_from(label) {
        Ok(class) if class < num_classes => Meaning::Class(class),
        _ => Meaning::Nothing,
    }
}

/// Every way to give a loss two samples: the first of class 0, the second of the given label.
fn results(
    loss: &CenterLoss,
    label: i128,
    dtype: DType,
    device: &Device,
) -> Vec<(&'static str, Result<(), CenterLossError>)> {
    let batch = || {
        let features = Tensor::<2>::from_data([[0.0], [4.0]], device);
        (features, labels(&[0, label], dtype, device))
    };
    let (features, y) = batch();
    vec![
        ("evaluate", loss.try_evaluate(batch()).map(drop)),
        ("measure", loss.measure(batch()).map(drop)),
        (
            "forward_no_reduction",
            loss.clone().try_forward_no_reduction(batch()).map(drop),
        ),
        ("statistics", loss.statistics(features, y).map(drop)),
        ("init_from_data", loss.init_from_data([batch()]).map(drop)),
    ]
}

/// Calls `check` with each type, number of classes, ignored label and label.
fn every_label(mut check: impl FnMut(&CenterLossConfig, i128, DType, &Device)) {
    let mut cases = vec![];
    for dtype in TYPES {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            // Also more classes than a type can count.
            for num_classes in [1, 3, 128, 300] {
                let (least, most) = range(dtype);
                let ends =
                    [least, most].map(|end| end.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
                let all = [
                    -1,
                    0,
                    num_classes as i64,
                    i64::MIN,
                    i64::MAX,
                    ends[0],
                    ends[1],
                    255,
                ];
                for (i, label) in interesting(dtype, num_classes).into_iter().enumerate() {
                    // Once the label itself, then none, then one that is another.
                    let itself = i64::try_from(label).ok().filter(|label| *label != 0);
                    for ignored in [itself, None, Some(all[i % all.len()])] {
                        if ignored == Some(0) {
                            continue;
                        }
                        let config =
                            CenterLossConfig::new(num_classes, 1).with_ignore_label(ignored);
                        cases.push((config, label, dtype, device.clone()));
                    }
                }
            }
        }
    }
    assert!(cases.len() > 1000, "{} labels", cases.len());
    for (config, label, dtype, device) in cases.into_iter().step_by(ONE_IN) {
        check(&config, label, dtype, &device);
    }
}

#[test]
fn strict_checking_names_the_label_as_it_is() {
    every_label(|config, label, dtype, device| {
        let num_classes = config.num_classes;
        let loss = config
            .init_with_centers(Tensor::zeros([num_classes, 1], device))
            .unwrap();
        let meaning = meaning(label, num_classes, config.ignore_label);
        let message = format!("labels[1] is {label}: it must be in 0..{num_classes}");
        let features = Tensor::<2>::from_data([[0.0], [4.0]], device);
        let forward = loss.try_forward((features, labels(&[0, label], dtype, device)));
        let centers = values(loss.centers());
        match (meaning, forward) {
            (Meaning::Nothing, Err(error)) => {
                assert_eq!(error.to_string(), message, "{dtype:?}");
                assert!(centers.iter().all(|value| *value == 0.0), "{message}");
            }
            (Meaning::Class(class), Ok(value)) => {
                assert_eq!(values(value), [4.0]);
                // By the paper's rule, with two samples if both are of class 0.
                let expected = if class == 0 { 2.0 / 3.0 } else { 1.0 };
                assert!(
                    (centers[class] - expected).abs() < 1e-6,
                    "{dtype:?} {label}: {}",
                    centers[class]
                );
            }
            (Meaning::Ignored, Ok(value)) => {
                assert_eq!(values(value), [0.0]);
                assert!(centers.iter().all(|value| *value == 0.0), "{label}");
            }
            (meaning, result) => panic!("{dtype:?} {label} is {meaning:?}, but {result:?}"),
        }
        for (name, result) in results(&loss, label, dtype, device) {
            match (meaning, result) {
                (Meaning::Nothing, Err(error)) => assert_eq!(error.to_string(), message, "{name}"),
                (Meaning::Class(_) | Meaning::Ignored, Ok(())) => {}
                (_, result) => panic!("{name}, {dtype:?}: {label} is {meaning:?}, but {result:?}"),
            }
        }
    });
}

#[test]
fn deferred_checking_counts_labels_of_no_class() {
    every_label(|config, label, dtype, device| {
        let num_classes = config.num_classes;
        let loss = config
            .clone()
            .with_checking(Checking::Deferred)
            .init_with_centers(Tensor::zeros([num_classes, 1], device))
            .unwrap();
        let meaning = meaning(label, num_classes, config.ignore_label);
        let features = Tensor::<2>::from_data([[0.0], [4.0]], device);
        let y = labels(&[0, label], dtype, device);
        let value = values(loss.try_forward((features, y)).unwrap());
        let left_out = loss.take_left_out().unwrap();
        let is_class = matches!(meaning, Meaning::Class(_));
        let expected = if is_class { 4.0 } else { 0.0 };
        assert!(
            (value[0] - expected).abs() < 1e-5,
            "{dtype:?} {label}: {value:?}"
        );
        let expected = LeftOut {
            labels: u64::from(meaning == Meaning::Nothing),
            ..LeftOut::default()
        };
        assert_eq!(
            left_out, expected,
            "{dtype:?} {label} of {num_classes}, ignored {:?}",
            config.ignore_label
        );
        let moved: Vec<usize> = values(loss.centers())
            .iter()
            .enumerate()
            .filter(|(_, value)| **value != 0.0)
            .map(|(class, _)| class)
            .collect();
        match meaning {
            Meaning::Class(class) => assert_eq!(moved, [class], "{dtype:?} {label}"),
            _ => assert!(moved.is_empty(), "{dtype:?} {label}: {moved:?}"),
        }
    });
}

#[test]
fn the_greatest_label_of_all() {
    for device in devices_with(DType::U64) {
        let loss = CenterLossConfig::new(3, 1).init(&device);
        for (name, result) in results(&loss, u64::MAX.into(), DType::U64, &device) {
            assert_eq!(
                result.unwrap_err().to_string(),
                "labels[1] is 18446744073709551615: it must be in 0..3",
                "{name}"
            );
        }
    }
}
