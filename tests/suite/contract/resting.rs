//! Samples that take no part: ignored ones, those of weight 0, and those that deferred checking skips. They change
//! nothing and get no gradient, whatever they hold and whatever arrives in the backward pass.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{CenterDType, Checking, SkippedSamples};

use super::{Case, all_losses};
use crate::devices::{ONE_IN, autodiff_devices, devices_with, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, Weighing};

const IGNORED: i64 = -7;

/// A sample: features, label and weight.
type Sample = (Vec<f64>, i64, f64);

/// Features that nothing may be computed from, with the largest and the smallest numbers of the type.
fn extremes(dtype: DType) -> [f64; 7] {
    let (most, least) = match dtype {
        DType::F64 => (f64::MAX, f64::from_bits(1)),
        DType::F16 => (65504.0, 6e-8),
        _ => (f32::MAX.into(), f32::from_bits(1).into()),
    };
    let infinite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    [infinite.as_slice(), &[most, -most, least, 0.0]]
        .concat()
        .try_into()
        .unwrap()
}

/// Samples that take no part under any checking.
fn resting(dtype: DType) -> Vec<Sample> {
    let ignored = extremes(dtype)
        .into_iter()
        .flat_map(|x| [vec![x, x], vec![1.0, x]]);
    let ignored = ignored.map(|row| (row, IGNORED, 1.0));
    let least = extremes(dtype)[5];
    let weightless = [vec![least, least], vec![0.0, 0.0], vec![0.5, -2.0]];
    ignored.chain(weightless.map(|row| (row, 0, 0.0))).collect()
}

/// Samples that deferred checking skips, and how many for which reason. A sample counts under the first.
fn skipped(dtype: DType) -> (Vec<Sample>, SkippedSamples) {
    let mut samples = vec![];
    for x in extremes(dtype) {
        samples.push((vec![1.0, x], -1, 1.0));
        samples.push((vec![x, x], 4, f64::NAN));
    }
    let labels = samples.len() as u64;
    for x in &extremes(dtype)[..3] {
        // A weight of zero does not make them good.
        for weight in [1.0, 0.0] {
            samples.push((vec![*x, 0.5], 2, weight));
            samples.push((vec![1.0, *x], 0, weight));
        }
    }
    let features = samples.len() as u64 - labels;
    for weight in [
        -1.0,
        f64::NAN,
        f64::INFINITY,
        2_f64.powi(60),
        2_f64.powi(-60),
    ] {
        samples.push((vec![0.5, 0.25], 3, weight));
    }
    let counts = SkippedSamples {
        labels,
        features,
        weights: 5,
        losses: 0,
    };
    (samples, counts)
}

fn batch(samples: &[Sample], centers: &[Vec<f64>]) -> Plain {
    Plain {
        features: samples.iter().map(|(row, ..)| row.clone()).collect(),
        labels: samples.iter().map(|(_, label, _)| *label).collect(),
        weights: Some(samples.iter().map(|(.., weight)| *weight).collect()),
        centers: centers.to_vec(),
    }
}

/// Every loss, strict and deferred, reduced in every way and not.
fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for case in all_losses(4, 2) {
        for checking in [Checking::Strict, Checking::Deferred] {
            let case = case.checking(checking).ignoring(IGNORED);
            let Some(weighing) = case.weighing() else {
                cases.push(case);
                continue;
            };
            for (reduction, per_sample) in [
                (Reduction::Mean, false),
                (Reduction::Sum, false),
                (Reduction::BatchMean, false),
                (Reduction::Mean, true),
            ] {
                cases.push(case.weighed(&Weighing {
                    reduction,
                    per_sample,
                    ..weighing.clone()
                }));
            }
        }
    }
    cases
}

/// Factors of the values that arrive from further up the graph: 1 at the given places, `other` elsewhere.
fn factors(places: &[usize], other: f64, value: &Tensor<1>) -> Tensor<1> {
    let factors: Vec<f64> = (0..value.dims()[0])
        .map(|i| if places.contains(&i) { 1.0 } else { other })
        .collect();
    Tensor::from_data(factors.as_slice(), (&value.device(), value.dtype()))
}

/// Checks a batch with samples that take no part against the same batch without them.
fn check(case: &Case, dtype: DType, device: &Device) {
    let centers = case.batch().centers;
    let taking_part: Vec<Sample> = (0..5)
        .map(|i| {
            let at = i as f64;
            (
                vec![0.5 + at, 1.75 - at],
                [0, 2, 3, 2, 0][i],
                [1.0, 0.5, 2.0, 1.0, 3.0][i],
            )
        })
        .collect();
    let (mut all, mut expected_counts) = (resting(dtype), SkippedSamples::default());
    if case.config.boxed().settings().checking == &Checking::Deferred {
        let (samples, counts) = skipped(dtype);
        all.extend(samples);
        expected_counts = counts;
    }
    // First, last and between the others.
    let places = [0, 1, 9, 10, all.len() + 4];
    for (place, sample) in places.iter().zip(&taking_part) {
        all.insert(*place, sample.clone());
    }
    let (all, alone) = (batch(&all, &centers), batch(&taking_part, &centers));
    // Anything may arrive for a sample that takes no part.
    let arriving = [1.0, f64::INFINITY, f64::NAN];
    let arriving = arriving
        .into_iter()
        .take(if case.per_sample { 3 } else { 1 });
    for other in arriving {
        let name = format!("{}, {dtype:?}, {other}", case.name());
        let with = case.run_with(&all, dtype, device, |value| match case.per_sample {
            true => (factors(&places, other, &value) * value).sum(),
            false => value,
        });
        let mut without = case.run_with(&alone, dtype, device, Tensor::sum);
        assert_eq!(with.loss.take_skipped(), Ok(expected_counts), "{name}");
        let is_row_mean = !case.counts_weights() && !case.per_sample;
        if is_row_mean {
            // The mean over the rows counts them all.
            let share = 5.0 / all.labels.len() as f64;
            let gradients = without.features.iter_mut().flatten();
            let of_centers = without.of_centers.iter_mut().flatten();
            for value in gradients.chain(of_centers).chain(&mut without.value) {
                *value *= share;
            }
        }
        for (i, row) in with.features.iter().enumerate() {
            if !places.contains(&i) {
                assert_eq!(
                    *row,
                    [0.0, 0.0],
                    "{name}: gradient of {:?}",
                    all.features[i]
                );
            }
        }
        let tolerance = match dtype {
            DType::F64 => 1e-12,
            DType::F16 => 2e-3,
            _ => 1e-5,
        };
        let kept: Vec<f64> = places
            .iter()
            .flat_map(|i| with.features[*i].clone())
            .collect();
        assert_close(&name, &kept, &without.features.concat(), tolerance);
        let value = match case.per_sample {
            true => places.map(|place| with.value[place]).to_vec(),
            false => with.value.clone(),
        };
        assert_close(&name, &value, &without.value, tolerance);
        if case.per_sample {
            let sum: f64 = with.value.iter().map(|value| value.abs()).sum();
            let of_kept: f64 = value.iter().map(|value| value.abs()).sum();
            assert!(
                (sum - of_kept).abs() <= 1e-6 * of_kept,
                "{name}: {:?}",
                with.value
            );
        }
        if let (Some(with), Some(without)) = (&with.of_centers, &without.of_centers) {
            assert_close(&name, with, without, tolerance);
        }
        let [with, without] = [&with.loss, &without.loss].map(|loss| values(loss.centers()));
        assert_close(&name, &with, &without, tolerance);
    }
}

#[test]
fn in_single_precision() {
    for device in autodiff_devices() {
        cases()
            .iter()
            .step_by(ONE_IN)
            .for_each(|case| check(case, DType::F32, &device));
    }
}

#[test]
fn in_double_precision() {
    for device in f64_devices() {
        for case in cases().iter().step_by(ONE_IN) {
            check(&case.in_type(CenterDType::F64), DType::F64, &device);
        }
    }
}

#[test]
fn in_half_precision() {
    for device in devices_with(DType::F16).into_iter().map(Device::autodiff) {
        cases()
            .iter()
            .step_by(ONE_IN)
            .for_each(|case| check(case, DType::F16, &device));
    }
}

/// The derivative of the square root of a loss of 0 is infinite.
#[test]
fn a_batch_in_which_no_sample_takes_part() {
    for device in autodiff_devices() {
        for case in cases() {
            let ignored = resting(DType::F32).into_iter().take(4).collect::<Vec<_>>();
            let plain = batch(&ignored, &case.batch().centers);
            let before = case.loss(&plain, &device);

            let found = case.run_with(&plain, DType::F32, &device, |value| value.sqrt().sum());
            let name = case.name();
            assert!(
                found.value.iter().all(|value| *value == 0.0),
                "{name}: {:?}",
                found.value
            );
            assert_eq!(found.features.concat(), [0.0; 8], "{name}");
            let of_centers = found.of_centers.unwrap_or_default();
            assert!(
                of_centers.iter().all(|value| *value == 0.0),
                "{name}: {of_centers:?}"
            );
            assert_eq!(found.loss.state()[0], before.state()[0], "{name}");
        }
    }
}

#[test]
fn counts_are_told_once_and_shared_by_clones() {
    for device in autodiff_devices() {
        for case in all_losses(4, 2) {
            let case = case.checking(Checking::Deferred).ignoring(IGNORED);
            let (samples, counts) = skipped(DType::F32);
            let plain = batch(&samples, &case.batch().centers);
            let loss = case.loss(&plain, &device);
            let clone = loss.changed(super::Change::Clone);
            clone
                .try_forward(plain.batch_of(plain.typed(DType::F32, &device)))
                .unwrap();
            assert_eq!(loss.take_skipped(), Ok(counts), "{}", case.name());
            assert_eq!(clone.take_skipped(), Ok(SkippedSamples::default()));
        }
    }
    let counts = SkippedSamples {
        labels: 2,
        features: 1,
        weights: 3,
        losses: 0,
    };
    assert_eq!(counts.total(), 6);
    assert_eq!(
        counts.to_string(),
        "2 samples with a label outside 0..num_classes, 1 with a feature that is not finite, 3 with a weight outside \
         its range and 0 with a loss that is not finite"
    );
}
