//! Sample and class weights over their whole range, against the formulas in f64.

use burn::nn::loss::Reduction;
use burn_center_loss::{CenterDType, CenterLossConfig, Checking, ClassBalance, UpdateRule};
use proptest::prelude::*;

use crate::center_plain::{Formulas, direct_rules};
use crate::contract::Case;
use crate::devices::{autodiff_devices, f64_devices, property_cases, values};
use crate::fixtures::assert_close;
use crate::plain::{Plain, Weighing};

/// A batch of which everything but the weights is ordinary.
#[derive(Clone, Debug)]
struct Weighted {
    config: CenterLossConfig,
    weighing: Weighing,
    plain: Plain,
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        1 => Just(0.0),
        1 => prop::sample::select(vec![1e-15, 0.3, 1.0, 7.0, 1e15]),
        2 => (-14.9..14.9).prop_map(|exponent| 10_f64.powf(exponent)),
    ]
}

prop_compose! {
    fn weighted()(
        rule in prop::sample::select([direct_rules(0.3).to_vec(), vec![UpdateRule::Gradient]].concat()),
        // One value per sample has no reduction.
        reduction in prop::option::of(prop::sample::select(vec![
            Reduction::Mean,
            Reduction::Sum,
            Reduction::BatchMean,
        ])),
        is_balanced in any::<bool>(),
        class_weights in prop::option::of(prop::collection::vec(weight(), 3)),
        labels in prop::collection::vec(0..3_i64, 4),
        // Some values are those of a center, which gives differences of zero.
        features in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec![0.5, -1.0, 2.0, 3.0, -1.75, 0.125]), 2),
            4,
        ),
        weights in prop::collection::vec(weight(), 4),
    ) -> Weighted {
        let weighing = Weighing {
            class_balance: if is_balanced { ClassBalance::Histogram } else { ClassBalance::None },
            per_sample: reduction.is_none(),
            reduction: reduction.unwrap_or(Reduction::Mean),
            class_weights,
            ignore_label: None,
        };
        let centers = [[0.5, -1.0], [2.0, 0.0], [-0.25, 3.0]].map(|row| row.to_vec());
        Weighted {
            config: CenterLossConfig::new(3, 2).with_update_rule(rule),
            weighing,
            plain: Plain { features, labels, weights: Some(weights), centers: centers.to_vec() },
        }
    }
}

impl Weighted {
    fn check(&self, dtype: CenterDType) {
        let Self {
            config,
            weighing,
            plain,
        } = self;
        let (tolerance, devices) = match dtype {
            CenterDType::F64 => (1e-12, f64_devices()),
            CenterDType::F32 => (1e-5, autodiff_devices()),
        };
        let formulas = Formulas { config, weighing };
        let case = Case::new(config.clone()).weighed(weighing).in_type(dtype);
        for device in devices {
            for checking in [Checking::Strict, Checking::Deferred] {
                let (case, name) = (case.checking(checking), case.name());
                let found = case.run(plain, &device);
                assert_eq!(found.loss.take_skipped().unwrap().total(), 0, "{name}");
                assert_close(&name, &found.value, &formulas.losses(plain), tolerance);
                // The derivative of a half squared distance is the difference, with the factor of the loss.
                let of_ones = plain.weighed(
                    &Weighing {
                        per_sample: true,
                        ..weighing.clone()
                    },
                    |_| 1.0,
                );
                let reduced =
                    |loss: &dyn Fn(usize) -> f64| plain.weighed(weighing, loss).iter().sum::<f64>();
                let each: f64 = of_ones.iter().sum();
                let share = if each > 0.0 {
                    reduced(&|_| 1.0) / each
                } else {
                    0.0
                };
                for (i, row) in found.features.iter().enumerate() {
                    let center = &plain.centers[plain.labels[i] as usize];
                    let differences = plain.features[i].iter().zip(center).map(|(x, c)| x - c);
                    let expected: Vec<f64> = differences.map(|d| share * of_ones[i] * d).collect();
                    assert_close(&name, row, &expected, 2.0 * tolerance);
                }
                let centers = values(found.loss.centers());
                let updated = formulas.updated(plain);
                // A center that moves to nearly zero is as exact as it was before.
                for (class, before) in plain.centers.iter().enumerate() {
                    let [found, expected] = [&centers, &updated]
                        .map(|after| [&after[2 * class..][..2], before.as_slice()].concat());
                    assert_close(&name, &found, &expected, tolerance);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(property_cases(300))]

    #[test]
    fn in_single_precision(weighted in weighted()) {
        weighted.check(CenterDType::F32);
    }

    #[test]
    fn in_double_precision(weighted in weighted()) {
        weighted.check(CenterDType::F64);
    }
}
