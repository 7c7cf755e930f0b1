//! The settings and errors that center loss alone has, and its schedules.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_center_loss::{
    CenterLossConfig, Checking, Schedule, SkippedSamples, UpdateRule, UpdateTiming,
};

use crate::devices::devices;
use crate::fixtures::assert_close;
use crate::tensors::labels;

fn config() -> CenterLossConfig {
    CenterLossConfig::new(3, 2)
}

fn refused(config: CenterLossConfig) -> String {
    config.try_init(&devices()[0]).unwrap_err().to_string()
}

#[test]
fn configurations_and_rates() {
    for (bad, written) in [(-0.5, "-0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let rule = format!("is {written}: it must be finite and not negative");
        let direct = UpdateRule::paper();
        assert_eq!(
            refused(config().with_update_rule(direct.clone().with_alpha(bad))),
            format!("alpha {rule}")
        );
        assert_eq!(refused(config().with_lambda(bad)), format!("lambda {rule}"));
        assert_eq!(refused(config().with_radius(bad)), format!("radius {rule}"));
        let schedule = Schedule::ExponentialDecay { gamma: bad };
        assert_eq!(
            refused(config().with_update_rule(direct.with_alpha_schedule(schedule))),
            format!("ExponentialDecay.gamma is {written}: it must be in 0..=1")
        );
    }
    assert_eq!(
        refused(config().with_lambda_schedule(Schedule::LinearWarmup { steps: 0 })),
        "LinearWarmup.steps is 0: it must be at least 1"
    );
    let loss = config().init(&devices()[0]);
    assert_eq!(
        loss.set_lambda(f64::NAN).unwrap_err().to_string(),
        "lambda is NaN: it must be finite and not negative"
    );
    assert_eq!(
        loss.set_alpha(-1.0).unwrap_err().to_string(),
        "alpha is -1: it must be finite and not negative"
    );
    assert_eq!((loss.lambda(), loss.alpha()), (1.0, Some(0.5)));
}

#[test]
fn updates_where_none_are_taken() {
    let device = Device::flex().autodiff();
    let batch = |columns| {
        (
            Tensor::<2>::ones([1, columns], &device),
            Tensor::<1, Int>::zeros([1], &device),
        )
    };
    for rule in [UpdateRule::Gradient, UpdateRule::Frozen] {
        let loss = config().with_update_rule(rule.clone()).init(&device);
        let (_, update) = loss.measure(batch(2)).unwrap();
        assert_eq!(loss.alpha(), None);
        let start = format!("update_rule is {rule:?}: only direct rules have ");
        for error in [
            loss.apply(update).unwrap_err(),
            loss.apply_pending().unwrap_err(),
            loss.set_alpha(0.5).unwrap_err(),
        ] {
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }
    let loss = config().init(&device).freeze();
    let (_, update) = loss.measure(batch(2)).unwrap();
    assert_eq!(
        loss.apply(update.clone()).unwrap_err().to_string(),
        "the centers are frozen (`freeze`, `valid`): they take no update"
    );
    let wide = CenterLossConfig::new(3, 5).init(&device);
    assert_eq!(
        wide.apply(update.clone()).unwrap_err().to_string(),
        "the update has feature_dim 2: it must be 5"
    );
    let (_, other) = wide.measure(batch(5)).unwrap();
    assert_eq!(
        update.merge(other).unwrap_err().to_string(),
        "the update has feature_dim 5: it must be 2"
    );
}

/// The refused call does not count its skipped sample either.
#[test]
fn updates_that_nobody_applies() {
    let device = Device::flex().autodiff();
    let loss = config()
        .with_update_rule(UpdateRule::paper().with_timing(UpdateTiming::OnStep))
        .with_checking(Checking::Deferred)
        .init(&device);
    let forward = |label| {
        let features = Tensor::<2>::ones([1, 2], &device);
        loss.try_forward((features, labels(&[label], &device)))
    };
    for _ in 0..4096 {
        forward(0).unwrap();
    }
    assert_eq!(
        forward(7).unwrap_err().to_string(),
        "4096 updates wait for apply_pending: call it where the optimizer steps"
    );
    assert_eq!(loss.take_skipped(), Ok(SkippedSamples::default()));
    assert_eq!(loss.apply_pending(), Ok(4096));
    forward(7).unwrap();
    assert_eq!(loss.take_skipped().unwrap().labels, 1);
}

/// One meaning of a step: a training call, or under `OnStep` all calls between two steps of the optimizer.
#[test]
fn schedules_follow_the_training_steps() {
    for timing in [UpdateTiming::Immediate, UpdateTiming::OnStep] {
        let device = Device::flex().autodiff();
        let schedule = Schedule::StepDecay {
            every: 2,
            factor: 0.1,
        };
        let rule = UpdateRule::paper().with_alpha_schedule(schedule);
        let loss = config()
            .with_lambda_schedule(Schedule::LinearWarmup { steps: 10 })
            .with_update_rule(rule.with_timing(timing))
            .init(&device);
        let batch = |label| {
            (
                Tensor::<2>::ones([1, 2], &device),
                labels(&[label], &device),
            )
        };
        let (mut lambdas, mut alphas) = (vec![], vec![]);
        for _ in 0..5 {
            lambdas.push(loss.lambda());
            alphas.push(loss.alpha().unwrap());
            let calls = if timing == UpdateTiming::OnStep { 3 } else { 1 };
            for _ in 0..calls {
                loss.try_forward(batch(0)).unwrap();
            }
            if timing == UpdateTiming::OnStep {
                assert_eq!(loss.apply_pending(), Ok(3));
            }
            loss.try_evaluate(batch(0)).unwrap();
            loss.try_forward(batch(9)).unwrap_err();
        }
        assert_eq!(lambdas, [0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_close("alpha", &alphas, &[0.5, 0.5, 0.05, 0.05, 0.005], 1e-12);
    }
}

#[test]
fn display_names_the_settings() {
    let loss = CenterLossConfig::new(10, 2).init(&Device::flex());
    assert_eq!(
        loss.to_string(),
        "CenterLoss {num_classes: 10, feature_dim: 2, update_rule: Paper, alpha: 0.5, lambda: 1, params: 20}"
    );
}
