//! The samples that are far from the dominant sub-center of their class, against a loop.

use burn::tensor::{DType, Device};
use burn_center_loss::margin::Outliers;
use burn_center_loss::{Checking, MarginSoftmax, MarginSoftmaxConfig};
use proptest::prelude::*;

use crate::contract::{Change, changed};
use crate::devices::{devices, property_cases};
use crate::plain::cosine;
use crate::tensors::{labels, typed_matrix};

const CLASSES: usize = 4;

fn degrees(angle: f64) -> f64 {
    angle.to_radians()
}

/// As `get_outliers` of pytorch-metric-learning 2.9 goes about it, class by class.
fn by_loop(
    features: &[Vec<f64>],
    classes: &[i64],
    centers: &[Vec<f64>],
    sub_centers: usize,
    angle: f64,
) -> Outliers {
    let mut found = Outliers {
        samples: Vec::new(),
        dominant: Vec::new(),
    };
    for (class, own) in (0..).zip(centers.chunks(sub_centers)) {
        let samples: Vec<usize> = (0..features.len())
            .filter(|sample| classes[*sample] == class)
            .collect();
        let mut counts = vec![0; sub_centers];
        for sample in &samples {
            let cosines: Vec<f64> = own.iter().map(|w| cosine(&features[*sample], w)).collect();
            let most = cosines.iter().copied().fold(f64::MIN, f64::max);
            counts[cosines.iter().position(|cosine| *cosine == most).unwrap()] += 1;
        }
        let most = counts.iter().max().unwrap();
        let first = counts.iter().position(|count| count == most).unwrap();
        found.dominant.push((!samples.is_empty()).then_some(first));
        let is_far = |sample: &usize| cosine(&features[*sample], &own[first]) < angle.cos();
        found.samples.extend(samples.into_iter().filter(is_far));
    }
    found.samples.sort_unstable();
    found
}

fn loss(centers: &[Vec<f64>], sub_centers: usize, device: &Device) -> MarginSoftmax {
    MarginSoftmaxConfig::new(CLASSES, 3)
        .with_sub_centers(sub_centers)
        .with_ignore_label(Some(-1))
        // A batch with a bad sample is refused all the same.
        .with_checking(Checking::Deferred)
        .init_with_centers(typed_matrix(centers, DType::F32, device))
        .unwrap()
}

proptest! {
    #![proptest_config(property_cases(200))]

    #[test]
    fn as_a_loop_finds_them(
        sub_centers in 1..4_usize,
        rows in prop::collection::vec(prop::collection::vec(-1.0..1.0_f32, 3), 12 + 3 * CLASSES),
        classes in prop::collection::vec(-1..CLASSES as i64, 12),
        angle in 10.0..170.0,
    ) {
        let rows: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| row.iter().copied().map(f64::from).collect())
            .collect();
        let (features, centers) = rows.split_at(12);
        let centers = &centers[..sub_centers * CLASSES];
        let angle = degrees(angle);
        // Rounding must not decide.
        let near = |a: f64, b: f64| (a - b).abs() < 1e-5;
        for x in features {
            let cosines: Vec<f64> = centers.iter().map(|w| cosine(x, w)).collect();
            prop_assume!(!cosines.iter().any(|cosine| near(*cosine, angle.cos())));
            for own in cosines.chunks(sub_centers) {
                let pairs = own.iter().enumerate().flat_map(|(i, a)| own[..i].iter().map(move |b| (a, b)));
                prop_assume!(!pairs.clone().any(|(a, b)| near(*a, *b)));
            }
        }
        let expected = by_loop(features, &classes, centers, sub_centers, angle);
        for device in devices() {
            for device in [device.clone(), device.autodiff()] {
                let loss = loss(centers, sub_centers, &device);
                let features = typed_matrix(features, DType::F32, &device);
                let found = loss.outliers(features, labels(&classes, &device), angle).unwrap();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}

#[test]
fn a_tie_goes_to_the_first_sub_center_and_a_zero_feature_is_at_a_right_angle() {
    let centers = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]].repeat(CLASSES);
    let centers: Vec<Vec<f64>> = centers.iter().map(|row| row.to_vec()).collect();
    for device in devices() {
        let loss = loss(&centers, 2, &device);
        let features = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0; 3]];
        let features: Vec<Vec<f64>> = features.iter().map(|row| row.to_vec()).collect();
        let features = typed_matrix(&features, DType::F32, &device);
        let found = loss
            .outliers(features, labels(&[2, 2, 1], &device), degrees(75.0))
            .unwrap();
        assert_eq!(found.samples, [1, 2]);
        assert_eq!(found.dominant, [None, Some(0), Some(0), None]);
    }
}

#[test]
fn bad_input_is_named() {
    for device in devices() {
        let loss = loss(&vec![vec![1.0, 0.0, 0.0]; CLASSES], 1, &device);
        let refused = |row: [f64; 3], label, angle| {
            let features = typed_matrix(&[row.to_vec()], DType::F32, &device);
            let found = loss.outliers(features, labels(&[label], &device), angle);
            found.unwrap_err().to_string()
        };
        assert_eq!(
            refused([0.0; 3], 0, 75.0),
            "angle is 75: it must be at least 0 and below pi, in radians (degrees times pi / 180)"
        );
        assert_eq!(
            refused([0.0; 3], 4, 1.0),
            "labels[0] is 4: it must be in 0..4"
        );
        assert!(refused([0.0, f64::NAN, 0.0], 0, 1.0).starts_with("features[0][1] is NaN"));
    }
}

/// A class vector that is not finite has no angle, so that samples of its class would pass for clean ones.
#[test]
fn class_vectors_that_are_not_finite_are_named() {
    for device in devices() {
        for (value, text) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            // A row of class 2, which has no samples.
            let loss = loss(&vec![vec![1.0; 3]; CLASSES], 1, &device);
            let loss = changed(loss, Change::Spoil(2, 1, value));
            let features = typed_matrix(&[vec![1.0; 3]], DType::F32, &device);
            let found = loss.outliers(features, labels(&[0], &device), 1.0);
            let message = found.unwrap_err().to_string();
            assert!(message.contains(&format!("[2][1] is {text}")), "{message}");
        }
    }
}
