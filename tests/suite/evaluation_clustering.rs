//! Agreement of labelings against golden numbers, all permutations, its properties and each of its errors.

use crate::devices::devices;
use crate::fixtures::cases;
use crate::messages::assert_messages;
use crate::tensors::matrix;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_center_loss::NearestCenter;
use burn_center_loss::evaluation::{Contingency, clusters_by_nearest_center, label_values};
use proptest::prelude::*;
use serde::Deserialize;

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Case {
    name: String,
    labels: Vec<i64>,
    clusters: Vec<i64>,
    nmi: f64,
    ami: f64,
    ari: f64,
}

fn values<A: Ord, B: Ord>(labels: &[A], clusters: &[B]) -> [f64; 3] {
    let agreement = Contingency::new(labels, clusters).unwrap();
    [
        agreement.normalized_mutual_information(),
        agreement.adjusted_mutual_information(),
        agreement.adjusted_rand_index(),
    ]
}

#[test]
fn golden_agreement() {
    for case in cases::<Case>("clustering.json") {
        for (actual, expected) in values(&case.labels, &case.clusters)
            .iter()
            .zip([case.nmi, case.ami, case.ari])
        {
            assert!(
                (actual - expected).abs() <= TOLERANCE,
                "{}: {actual} is not {expected}",
                case.name
            );
        }
    }
}

fn share(values: &[u8], value: u8) -> f64 {
    values.iter().filter(|other| **other == value).count() as f64 / values.len() as f64
}

fn naive_entropy(values: &[u8]) -> f64 {
    (0..64)
        .map(|value| share(values, value))
        .filter(|share| *share > 0.0)
        .map(|share| -share * share.ln())
        .sum()
}

fn naive_information(a: &[u8], b: &[u8]) -> f64 {
    let pairs: Vec<u8> = a.iter().zip(b).map(|(a, b)| a * 16 + b).collect();
    naive_entropy(a) + naive_entropy(b) - naive_entropy(&pairs)
}

fn naive_rand(a: &[u8], b: &[u8]) -> [f64; 4] {
    let mut counts = [0.0; 4];
    for i in 0..a.len() {
        for j in 0..i {
            let (in_a, in_b) = (a[i] == a[j], b[i] == b[j]);
            for (count, hit) in counts.iter_mut().zip([in_a && in_b, in_a, in_b, true]) {
                *count += f64::from(u8::from(hit));
            }
        }
    }
    counts
}

/// Calls `visit` with every order of the values.
fn permutations(values: &mut Vec<u8>, fixed: usize, visit: &mut dyn FnMut(&[u8])) {
    if fixed == values.len() {
        return visit(values);
    }
    for at in fixed..values.len() {
        values.swap(fixed, at);
        permutations(values, fixed + 1, visit);
        values.swap(fixed, at);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What chance gives is the mean over all permutations of one labeling.
    #[test]
    fn against_all_permutations(pairs in prop::collection::vec((0_u8..4, 0_u8..4), 2..8)) {
        let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
        let one_group = |values: &[u8]| values.iter().all(|value| *value == values[0]);
        prop_assume!(!one_group(&a) && !one_group(&b));
        let information = naive_information(&a, &b);
        let mean = (naive_entropy(&a) + naive_entropy(&b)) / 2.0;
        prop_assume!((information - mean).abs() > 1e-9);

        let (mut chance, mut count) = (0.0, 0.0);
        permutations(&mut b.clone(), 0, &mut |b| {
            chance += naive_information(&a, b);
            count += 1.0;
        });
        chance /= count;
        let [both, in_a, in_b, all] = naive_rand(&a, &b);
        let expected_pairs = in_a * in_b / all;
        let expected = [
            information / mean,
            (information - chance) / (mean - chance),
            (both - expected_pairs) / ((in_a + in_b) / 2.0 - expected_pairs),
        ];
        for (actual, expected) in values(&a, &b).iter().zip(expected) {
            prop_assert!((actual - expected).abs() < TOLERANCE, "{actual} is not {expected}");
        }
    }

    /// Names of groups, the order of samples and which labeling comes first change nothing.
    #[test]
    fn names_order_and_sides_change_nothing(
        pairs in prop::collection::vec((0_u8..5, 0_u8..5), 1..60),
    ) {
        let (a, b): (Vec<u8>, Vec<u8>) = pairs.iter().copied().unzip();
        let expected = values(&a, &b);
        let renamed: Vec<String> = a.iter().map(|value| format!("{}", 9 - value)).collect();
        let (back_a, back_b): (Vec<u8>, Vec<u8>) = pairs.iter().rev().copied().unzip();
        for other in [values(&renamed, &b), values(&back_a, &back_b), values(&b, &a)] {
            for (actual, expected) in other.iter().zip(expected) {
                prop_assert!((actual - expected).abs() < 1e-12);
            }
        }
        prop_assert_eq!(values(&a, &a), [1.0; 3]);
    }
}

/// Probabilities of counts in large groups underflow unless they are taken relative to each other.
#[test]
fn large_independent_labelings_have_nothing_in_common() {
    let count = 200_000_u32;
    let labels: Vec<u32> = (0..count).map(|sample| sample % 10).collect();
    let clusters: Vec<u32> = (0..count).map(|sample| sample / 10 % 7).collect();
    let [nmi, ami, ari] = values(&labels, &clusters);
    assert!((0.0..1e-4).contains(&nmi), "{nmi}");
    assert!(ami.abs() < 1e-4, "{ami}");
    assert!(ari.abs() < 1e-4, "{ari}");
}

#[test]
fn single_groups_and_single_samples() {
    let one = [0, 0, 0];
    let each = [0, 1, 2];
    let two = [0, 0, 1];
    assert_eq!(values(&one, &one), [1.0; 3]);
    assert_eq!(values(&each, &each), [1.0; 3]);
    assert_eq!(values(&one, &each), [0.0; 3]);
    assert_eq!(values(&one, &two), [0.0; 3]);
    let [nmi, ami, ari] = values(&each, &two);
    assert!(nmi > 0.0 && ami.abs() < 1e-12 && ari == 0.0);
}

#[test]
fn clusters_of_centers_and_labels_of_tensors() {
    for device in devices() {
        let centers = matrix(&[vec![0.0], vec![10.0]], &device);
        let features = matrix(&[vec![9.0], vec![-4.0], vec![11.0]], &device);
        let classifier = NearestCenter::from_centers(centers).unwrap();
        assert_eq!(
            clusters_by_nearest_center(&classifier, features).unwrap(),
            [1, 0, 1]
        );
    }
    let values = TensorData::new(vec![u64::MAX, 0], [2]);
    let labels = Tensor::<1, Int>::from_data(values, (&Device::flex(), DType::U64));
    assert_eq!(label_values(labels).unwrap(), [i128::from(u64::MAX), 0]);
}

#[test]
fn bad_labelings_are_named() {
    assert_messages! {
        Contingency::new::<u8, u8>(&[], &[]) => "labels is empty; it must hold at least 1 value";
        Contingency::new(&[1, 2], &[1]) => "labels has 2 entries and clusters has 1; the numbers must be equal";
    }
}
