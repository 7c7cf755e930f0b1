//! Burn's multi-device training gives every loss what one device gives with the same batches.

use burn::tensor::{Device, Tensor};
use burn::train::{ExecutionStrategy, MultiDeviceOptim, TrainingStrategy};
use burn_center_loss::{
    ArcFace, CenterLossConfig, CosFace, DirectRule, Margin, MarginSoftmaxConfig, ProxyAnchorConfig,
    ProxyNcaConfig, SoftTripleConfig, SphereFace, UpdateRule, UpdateTiming,
};

use crate::fixtures::assert_close;
use crate::models::{CLASSES, Loss, Model, WIDTH, learn};

fn rows(count: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..count * WIDTH).map(|i| (i as f32 * 1.7).sin()).collect();
    Tensor::<1>::from_data(values.as_slice(), device).reshape([count, WIDTH])
}

/// Trains on one device and on two, which take the batches of the one in turn.
fn compare(name: &str, loss: &dyn Fn(&Device) -> Box<dyn Training>) {
    let device = Device::flex().autodiff();
    // The loader gives the first device the first half of the items.
    let halves = vec![0, 1, 2, 3, 10, 11, 5, 9, 8, 7, 4, 6];
    let in_turn = vec![0, 1, 5, 9, 2, 3, 8, 7, 10, 11, 4, 6];
    for accumulation in [1, 3] {
        let expected = loss(&device).on(None, in_turn.clone(), 2 * accumulation);
        for strategy in [
            MultiDeviceOptim::OptimMainDevice,
            MultiDeviceOptim::OptimSharded,
        ] {
            let found = loss(&device).on(Some(strategy), halves.clone(), accumulation);
            let name = format!("{name}, {accumulation} batches, {strategy:?}");
            assert_close(&name, &found, &expected, 1e-5);
        }
    }
}

/// A training of a model with one of the losses.
trait Training {
    fn on(
        self: Box<Self>,
        strategy: Option<MultiDeviceOptim>,
        items: Vec<i64>,
        accumulation: usize,
    ) -> Vec<f64>;
}

impl<L: Loss> Training for L {
    fn on(
        self: Box<Self>,
        strategy: Option<MultiDeviceOptim>,
        items: Vec<i64>,
        accumulation: usize,
    ) -> Vec<f64> {
        let device = Device::flex().autodiff();
        let before = Model::new(*self, &device);
        let start = before.numbers();
        let trained = learn(before, items, 2, |training| {
            let training = training.grads_accumulation(accumulation);
            match strategy {
                None => training,
                Some(strategy) => training.with_training_strategy(TrainingStrategy::Default(
                    ExecutionStrategy::multi(vec![device.clone(), device], strategy),
                )),
            }
        });
        let numbers = trained.model.numbers();
        assert_ne!(numbers, start);
        numbers
    }
}

#[test]
fn center_loss_by_each_rule() {
    for rule in [
        DirectRule::paper(),
        DirectRule::mean(),
        DirectRule::sum().with_alpha(0.1),
    ] {
        let rule = rule.with_timing(UpdateTiming::OnStepShared);
        let config = CenterLossConfig::new(CLASSES, WIDTH).with_update_rule(rule.into());
        compare(&format!("{:?}", config.update_rule), &|device| {
            Box::new(config.init_with_centers(rows(CLASSES, device)).unwrap())
        });
    }
    for rule in [UpdateRule::Gradient, UpdateRule::Frozen] {
        let config = CenterLossConfig::new(CLASSES, WIDTH).with_update_rule(rule);
        compare(&format!("{:?}", config.update_rule), &|device| {
            Box::new(config.init_with_centers(rows(CLASSES, device)).unwrap())
        });
    }
}

#[test]
fn margin_softmax_by_each_margin() {
    let margins: [Margin; 4] = [
        ArcFace::new().into(),
        CosFace::new().into(),
        SphereFace::new().into(),
        Margin::None,
    ];
    for margin in margins {
        for sub_centers in [1, 2] {
            let config = MarginSoftmaxConfig::new(CLASSES, WIDTH)
                .with_margin(margin.clone())
                .with_scale(4.0)
                .with_sub_centers(sub_centers);
            compare(&format!("{margin:?}, {sub_centers}"), &|device| {
                let rows = rows(sub_centers * CLASSES, device);
                Box::new(config.init_with_centers(rows).unwrap())
            });
        }
    }
}

#[test]
fn proxy_losses() {
    compare("ProxyAnchor", &|device| {
        let config = ProxyAnchorConfig::new(CLASSES, WIDTH).with_alpha(4.0);
        Box::new(config.init_with_centers(rows(CLASSES, device)).unwrap())
    });
    compare("ProxyNca", &|device| {
        let config = ProxyNcaConfig::new(CLASSES, WIDTH);
        Box::new(config.init_with_centers(rows(CLASSES, device)).unwrap())
    });
    compare("SoftTriple", &|device| {
        let config = SoftTripleConfig::new(CLASSES, WIDTH).with_sub_centers(2);
        Box::new(config.init_with_centers(rows(2 * CLASSES, device)).unwrap())
    });
}

/// What `docs/training.md` says of schedules and statistics: they are counted in forks, which Burn drops.
#[test]
fn schedules_and_statistics_stay_where_they_are() {
    let device = Device::flex().autodiff();
    let config = MarginSoftmaxConfig::adaface(CLASSES, WIDTH);
    let loss = config.init_with_centers(rows(CLASSES, &device)).unwrap();
    let before = loss.norm_statistics();
    let train = |strategy| {
        let model = Model::new(loss.clone(), &device);
        let trained = learn(model, (0..8).collect(), 2, |training| {
            training.with_training_strategy(TrainingStrategy::Default(strategy))
        });
        (
            trained.model.loss.step(),
            trained.model.loss.norm_statistics(),
        )
    };
    let several = ExecutionStrategy::multi(
        vec![device.clone(), device.clone()],
        MultiDeviceOptim::OptimMainDevice,
    );
    assert_eq!(train(several), (0, before));
    let (steps, statistics) = train(ExecutionStrategy::single(device.clone()));
    assert_eq!(steps, 8);
    assert_ne!(statistics, before);
}
