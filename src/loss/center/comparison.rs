//! What is faster against the tensor operations, on the same device.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use proptest::prelude::*;

use super::Input;
use crate::{
    CenterLoss, CenterLossConfig, CenterUpdate, Checking, ClassBalance, Precision, Reduction,
    UpdateRule,
};

/// A faster way to the loss of a batch and its update.
pub(super) type Fast = fn(&CenterLoss, &Input) -> Option<(Tensor<1>, CenterUpdate)>;

/// Loss, gradient of the features, moved centers and report of one step.
pub(super) struct Outcome {
    pub loss: Vec<f64>,
    pub gradient: Vec<f64>,
    pub centers: Vec<f64>,
    pub left_out: String,
}

/// The outcome of the faster way, or of the tensor operations.
pub(super) fn outcome(
    loss: &CenterLoss,
    fast: Option<Fast>,
    features: &Tensor<2>,
    labels: &Tensor<1, Int>,
    weights: Option<&Tensor<1>>,
) -> Outcome {
    let loss = loss.clone();
    let features = features.clone().detach().require_grad();
    let input = loss
        .fitting(features.clone(), labels.clone(), weights.cloned())
        .expect("the shapes fit");
    let (value, update) = match fast {
        Some(fast) => fast(&loss, &input).expect("the batch is one for the faster way"),
        None => loss
            .measure_by_operations(input, false)
            .expect("the batch is in order"),
    };
    loss.apply(update).expect("nothing overflows");
    // Unequal factors from further up, which the gradient has to be multiplied by.
    let factors = Tensor::<1, Int>::arange(1..value.dims()[0] as i64 + 1, &value.device());
    let gradients = (value.clone() * factors.float().cast(value.dtype()))
        .sum()
        .backward();
    let gradient = features.grad(&gradients).expect("features are tracked");
    Outcome {
        loss: host(value.inner()),
        gradient: host(gradient),
        centers: host(loss.centers()),
        left_out: loss
            .check()
            .map_or_else(|error| error.to_string(), |()| String::new()),
    }
}

pub(super) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

pub(super) fn assert_close(name: &str, fast: &[f64], plain: &[f64], tolerance: f64) {
    assert_eq!(fast.len(), plain.len(), "{name}");
    for (fast, plain) in fast.iter().zip(plain) {
        let scale = plain.abs().max(1.0);
        assert!(
            (fast - plain).abs() <= tolerance * scale,
            "{name}: {fast} and {plain}"
        );
    }
}

/// A configuration and a batch.
#[derive(Clone, Debug)]
pub(super) struct Case {
    shape: [usize; 3],
    rule: UpdateRule,
    reduction: Reduction,
    balanced: bool,
    ignoring: bool,
    weighted: bool,
    class_weighted: bool,
    checking: Checking,
    strided: bool,
    /// Whether some samples have bad labels, features and weights; only under deferred checking.
    spoiled: bool,
    lambda: f64,
    seed: u64,
}

prop_compose! {
    /// Any case; with bad samples in it, if they `may_be_spoiled`.
    pub(super) fn cases(may_be_spoiled: bool)(
        shape in [1_usize..40, 1_usize..12, 1_usize..40],
        rule in prop_oneof![Just(UpdateRule::Paper), Just(UpdateRule::Mean), Just(UpdateRule::Sum)],
        reduction in prop_oneof![Just(Reduction::Mean), Just(Reduction::Sum), Just(Reduction::None)],
        [balanced, ignoring, weighted, class_weighted, deferred, strided, spoiled] in any::<[bool; 7]>(),
        lambda in 0.0..2.0,
        seed in any::<u64>(),
    ) -> Case {
        Case {
            shape,
            rule,
            reduction,
            balanced,
            ignoring,
            weighted,
            class_weighted,
            checking: if deferred { Checking::Deferred } else { Checking::Strict },
            strided,
            spoiled: deferred && spoiled && may_be_spoiled,
            lambda,
            seed,
        }
    }
}

/// A loss and a batch for it.
pub(super) struct Problem {
    pub loss: CenterLoss,
    pub features: Tensor<2>,
    pub labels: Tensor<1, Int>,
    pub weights: Option<Tensor<1>>,
}

impl Case {
    /// Both ways, on an autodiff device.
    pub fn check(&self, fast: Fast, device: &Device, precision: Precision, tolerance: f64) {
        let Problem {
            loss,
            features,
            labels,
            weights,
        } = self.problem(device, precision);
        let [fast, plain] = [Some(fast), None]
            .map(|fast| outcome(&loss, fast, &features, &labels, weights.as_ref()));
        assert_close("loss", &fast.loss, &plain.loss, tolerance);
        assert_close("gradient", &fast.gradient, &plain.gradient, tolerance);
        assert_close("centers", &fast.centers, &plain.centers, tolerance);
        assert_eq!(fast.left_out, plain.left_out);
    }

    pub fn problem(&self, device: &Device, precision: Precision) -> Problem {
        let [batch_size, num_classes, feature_dim] = self.shape;
        let mut config = CenterLossConfig::new(num_classes, feature_dim)
            .with_precision(precision)
            .with_update_rule(self.rule)
            .with_reduction(self.reduction)
            .with_lambda(self.lambda)
            .with_checking(self.checking)
            .with_alpha(0.01);
        if self.balanced {
            config = config.with_class_balance(ClassBalance::Histogram);
        }
        if self.class_weighted {
            let weights = (0..num_classes).map(|class| class as f64 / 2.0).collect();
            config = config.with_class_weights(Some(weights));
        }
        let mut labels: Vec<i64> = (0..batch_size as u64)
            .map(|i| (self.seed.wrapping_mul(i + 1) >> 33) as i64 % num_classes as i64)
            .collect();
        if self.ignoring {
            config = config.with_ignore_label(Some(-1));
            let ignored = labels.iter_mut().step_by(3).skip(1);
            ignored.for_each(|label| *label = -1);
        }
        let options = (device, DType::from(precision.dtype()));
        let random = |shape: [usize; 2]| Tensor::random(shape, Distribution::Default, options);
        let loss = config
            .init_with_centers(random([num_classes, feature_dim]))
            .unwrap();
        let mut features = match self.strided {
            true => random([feature_dim, batch_size]).transpose(),
            // A part of a larger matrix, which starts within its memory.
            false => random([batch_size + 2, feature_dim]).narrow(0, 2, batch_size),
        };
        let mut weights: Vec<f64> = (0..batch_size).map(|i| i as f64 / 3.0).collect();
        if self.spoiled {
            for (label, bad) in labels.iter_mut().step_by(5).zip([num_classes as i64, -3]) {
                *label = bad;
            }
            let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            for (sample, value) in (0..batch_size).skip(2).step_by(4).zip(values) {
                let entry = [sample..sample + 1, feature_dim - 1..feature_dim];
                features = features.slice_fill(entry, value);
            }
            let values = [-1.0, f64::NAN, f64::INFINITY];
            for (weight, value) in weights.iter_mut().skip(1).step_by(3).zip(values) {
                *weight = value;
            }
        }
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), device);
        let weights = self
            .weighted
            .then(|| Tensor::<1>::from_data(weights.as_slice(), options));
        Problem {
            loss,
            features,
            labels,
            weights,
        }
    }
}
