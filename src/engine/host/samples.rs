//! Labels and weights of a batch, read where the host reaches them.

use alloc::vec::Vec;
use burn::backend::Flex;
use burn::tensor::{Int, Tensor};

use crate::batch::{BatchRules, Meaning, NO_CLASS, read_labels};

/// The class of each sample; `None` if a label names none and is not the ignored one.
pub(super) fn host_classes(rules: &BatchRules, labels: &Tensor<1, Int>) -> Option<Vec<usize>> {
    let labels = labels.clone().try_into_primitive::<Flex>().ok()?;
    match (labels.as_slice::<i64>(), labels.as_slice::<i32>()) {
        (Some(labels), _) => classes(rules, labels.iter().copied()),
        (_, Some(labels)) => classes(rules, labels.iter().copied()),
        _ => classes(rules, read_labels(&labels.into_data()).into_iter()),
    }
}

fn classes<L: Copy + Into<i128> + TryInto<usize>>(
    rules: &BatchRules,
    labels: impl ExactSizeIterator<Item = L>,
) -> Option<Vec<usize>> {
    let mut classes = Vec::with_capacity(labels.len());
    for label in labels {
        classes.push(match rules.meaning(label) {
            Meaning::Class(class) => class,
            Meaning::Ignored => NO_CLASS,
            Meaning::Unknown => return None,
        });
    }
    Some(classes)
}

/// The weight of each sample, 0 for an ignored one; `None` if one is not a weight.
pub(super) fn host_weights(weights: &Tensor<1>, classes: &[usize]) -> Option<Vec<f64>> {
    let weights = weights.clone().try_into_data().ok()?;
    let weight = |(weight, class): (f64, &usize)| match *class {
        NO_CLASS => Some(0.0),
        _ => (weight.is_finite() && weight >= 0.0).then_some(weight),
    };
    weights.iter::<f64>().zip(classes).map(weight).collect()
}
