//! [`PkBatches`]: its guarantees over random labels, its frozen outputs, and each of its errors.

use std::collections::{BTreeMap, BTreeSet};

use burn_center_loss::{PkBatches, SamplingError};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::messages::assert_messages;

/// Labels of up to 8 classes with gaps between them, in any order, some of them much larger than others; P, K and a seed.
fn problems() -> impl Strategy<Value = (Vec<i64>, usize, usize, u64)> {
    let sizes = prop::collection::vec(prop_oneof![3 => 1_usize..6, 1 => 1_usize..60], 1..=8);
    let labels = sizes.prop_flat_map(|sizes| {
        let labels = sizes.iter().enumerate();
        let labels = labels.flat_map(|(class, size)| vec![class as i64 * 3 - 7; *size]);
        Just(labels.collect::<Vec<_>>()).prop_shuffle()
    });
    let seed = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    (labels, any::<Index>(), 1_usize..10, seed).prop_map(|(labels, index, k, seed)| {
        let classes = BTreeSet::from_iter(&labels).len();
        // As many classes as there are, more often than by chance.
        let p = classes.min(index.index(classes + 3) + 1);
        (labels, p, k, seed)
    })
}

/// The samples of each class.
fn classes_of(labels: &[i64]) -> BTreeMap<i64, Vec<usize>> {
    let mut classes = BTreeMap::<_, Vec<usize>>::new();
    for (sample, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(sample);
    }
    classes
}

/// Asserts that the greatest count is at most one more than the least.
fn assert_even(counts: impl Iterator<Item = usize>) {
    let counts: Vec<usize> = counts.collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 1, "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_batch_is_p_by_k_and_draws_are_even(
        (labels, p, k, seed) in problems(),
        epoch in 0_usize..5,
        count in prop::option::of(1_usize..60),
    ) {
        let mut batches = PkBatches::new(&labels, p, k, seed).unwrap();
        if let Some(count) = count {
            batches = batches.with_batches(count).unwrap();
        }
        let classes = classes_of(&labels);
        let mut draws: BTreeMap<i64, usize> = classes.keys().map(|label| (*label, 0)).collect();
        let mut times = vec![0; labels.len()];
        let epoch = batches.epoch(epoch);
        prop_assert_eq!(epoch.len(), batches.num_batches());
        for batch in &epoch {
            prop_assert_eq!(batch.len(), p * k);
            let mut drawn = BTreeSet::new();
            for samples in batch.chunks(k) {
                let label = labels[samples[0]];
                prop_assert!(drawn.insert(label), "a class twice in {batch:?}");
                *draws.get_mut(&label).unwrap() += 1;
                let own = &classes[&label];
                prop_assert!(samples.iter().all(|sample| own.contains(sample)));
                for sample in own {
                    let found = samples.iter().filter(|other| *other == sample).count();
                    times[*sample] += found;
                    prop_assert!([0, 1].contains(&(found - k / own.len())), "{samples:?}");
                }
            }
            assert_even(draws.values().copied());
            for own in classes.values() {
                assert_even(own.iter().map(|sample| times[*sample]));
            }
        }
        if count.is_none() {
            prop_assert!(times.iter().all(|times| *times > 0), "{times:?}");
        }
    }

    #[test]
    fn equal_classes_that_divide_evenly_are_drawn_exactly_once(
        p in 1_usize..5, groups in 1_usize..4, k in 1_usize..6, draws in 1_usize..4, seed in any::<u64>(),
    ) {
        let classes = p * groups;
        let labels: Vec<usize> = (0..classes * k * draws).map(|sample| sample % classes).collect();
        let mut drawn = PkBatches::new(&labels, p, k, seed).unwrap().epoch(1).concat();
        drawn.sort_unstable();
        prop_assert_eq!(drawn, Vec::from_iter(0..labels.len()));
    }

    #[test]
    fn ignored_and_small_classes_are_never_drawn((labels, _, k, seed) in problems(), ignored: Index, size in 0_usize..8) {
        let ignored = *ignored.get(&labels);
        let (small, large): (BTreeMap<_, _>, BTreeMap<_, _>) = classes_of(&labels)
            .into_iter()
            .filter(|(label, _)| *label != ignored)
            .partition(|(_, samples)| samples.len() < size);
        let batches = PkBatches::new(&labels, 1, k, seed).unwrap();
        let ignored = i128::from(ignored);
        let one_way = batches.clone().with_ignore_label(ignored).and_then(|batches| batches.with_min_class_size(size));
        let other_way = batches.with_min_class_size(size).and_then(|batches| batches.with_ignore_label(ignored));
        prop_assert_eq!(&one_way, &other_way);
        let Ok(batches) = one_way else {
            prop_assert!(large.is_empty());
            return Ok(());
        };
        let small: Vec<i128> = small.into_keys().map(i128::from).collect();
        prop_assert_eq!(batches.skipped_classes(), small);
        let drawn: BTreeSet<usize> = batches.epoch(1).into_iter().flatten().collect();
        let rest: BTreeSet<usize> = large.into_values().flatten().collect();
        prop_assert_eq!(drawn, rest);
    }

    #[test]
    fn an_epoch_depends_on_its_number_the_seed_and_the_classes_alone((labels, p, k, seed) in problems()) {
        let batches = PkBatches::new(&labels, p, k, seed).unwrap();
        let third = batches.epoch(3);
        batches.epoch(1);
        prop_assert_eq!(&batches.epoch(3), &third);
        // The names of the classes do not matter, only their order.
        let renamed: Vec<u8> = labels.iter().map(|label| (label + 7) as u8).collect();
        prop_assert_eq!(PkBatches::new(&renamed, p, k, seed).unwrap().epoch(3), third);
    }
}

/// The numbers are those of a second program, written in Python from the description of the batches.
#[test]
fn frozen_outputs() {
    let batches = PkBatches::new(&[0, 1, 0, 1, 2, 0, 0, 2], 2, 2, 7).unwrap();
    let first = [[4, 7, 3, 1], [2, 6, 4, 7], [3, 1, 0, 5]];
    let second = [[0, 5, 1, 3], [7, 4, 1, 3], [4, 7, 6, 2]];
    assert_eq!(batches.epoch(1), first);
    assert_eq!(batches.epoch(2), second);

    // Classes smaller than K, and P = C.
    let batches = PkBatches::new(&[-3, 5, -3, 9, -3, 5], 3, 4, u64::MAX).unwrap();
    let third = [[5, 1, 5, 1, 3, 3, 3, 3, 4, 2, 0, 0]];
    assert_eq!(batches.epoch(3), third);

    let batches = PkBatches::new(&[0; 1000], 1, 7, 0).unwrap();
    let epoch = batches.epoch(0);
    assert_eq!(epoch.len(), 143);
    assert_eq!(epoch[0], [55, 308, 1, 234, 131, 408, 896]);
    assert_eq!(epoch[2], [506, 812, 872, 403, 578, 487, 321]);
}

/// All orders of a pass over four samples are as frequent as each other, and so are those of the next epoch.
#[test]
fn orders_are_uniform() {
    let mut frequencies = BTreeMap::new();
    for seed in 0..1200 {
        let batches = PkBatches::new(&[0; 4], 1, 4, seed).unwrap();
        for epoch in [1, 2] {
            *frequencies.entry(batches.epoch(epoch)).or_insert(0) += 1;
        }
    }
    assert_eq!(frequencies.len(), 24);
    // 100 expected: chi-squared of 23 degrees of freedom is below 49.7 with probability 0.999.
    let differences = frequencies.values().map(|count| f64::from(count - 100));
    let chi_squared: f64 = differences
        .map(|difference| difference.powi(2) / 100.0)
        .sum();
    assert!(chi_squared < 49.7, "{chi_squared}");
}

/// Labels of every integer type, the largest and smallest included.
#[test]
fn labels_of_any_integer_type() {
    macro_rules! check {
        ($($integer:ty),*) => {$(
            let labels = [<$integer>::MAX, <$integer>::MIN, <$integer>::MAX];
            let mut drawn = PkBatches::new(&labels, 2, 2, 1).unwrap().epoch(1).concat();
            drawn.sort_unstable();
            assert_eq!(drawn, [0, 1, 1, 2]);
        )*};
    }
    check!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, usize);
}

#[test]
fn errors_name_value_and_rule() {
    let labels = [0, 0, 1, 2, 2];
    let classes = |found, rule| {
        format!(
            "classes_per_batch is {found}: it must be at least 1 and at most {rule}, the number of classes"
        )
    };
    let batches = |p| PkBatches::new(&labels, p, 2, 1);
    assert_messages! {
        PkBatches::new::<i64>(&[], 1, 1, 1) => "labels is empty: it must have at least 1 value";
        PkBatches::new(&[1, u128::MAX], 1, 1, 1) => "labels[1] is too large: it must be at most i128::MAX";
        batches(0) => classes(0, 3);
        batches(4) => classes(4, 3);
        batches(3).unwrap().with_ignore_label(1) => classes(3, 2);
        batches(3).unwrap().with_min_class_size(2) => classes(3, 2);
        batches(1).unwrap().with_min_class_size(3) => classes(1, 0);
        PkBatches::new(&labels, 1, 0, 1) => "samples_per_class is 0: it must be at least 1";
        batches(3).unwrap().with_batches(0) => "batches is 0: it must be at least 1";
    }
    let error = batches(4).unwrap_err();
    let numbers = SamplingError::ClassesPerBatch {
        classes_per_batch: 4,
        classes: 3,
    };
    assert_eq!(error, numbers);
}
