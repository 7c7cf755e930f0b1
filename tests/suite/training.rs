//! The ways people train in Burn: a loop of one's own, the learner, gradient accumulation and several devices.

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn::train::{ExecutionStrategy, MultiDeviceOptim, TrainingStrategy};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, LossError, Margin, MarginSoftmax, MarginSoftmaxConfig,
    ProxyAnchor, ProxyAnchorConfig, ProxyNca, ProxyNcaConfig, SoftTriple, SoftTripleConfig,
    UpdateRule, UpdateTiming,
};

use crate::devices::{autodiff_devices, values};
use crate::fixtures::assert_close;
use crate::models::{Batch, CLASSES, Loss, Model, RATE, WIDTH, learn};
use crate::tensors::labels;

fn rows(count: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..count * WIDTH).map(|i| (i as f32 * 1.7).sin()).collect();
    Tensor::<1>::from_data(values.as_slice(), device).reshape([count, WIDTH])
}

fn center_loss(rule: UpdateRule, device: &Device) -> CenterLoss {
    let config = CenterLossConfig::new(CLASSES, WIDTH).with_update_rule(rule);
    config.init_with_centers(rows(CLASSES, device)).unwrap()
}

/// A model after two epochs of the given batches, by hand.
fn by_hand<L: Loss>(mut model: Model<L>, batches: &[&[i64]], device: &Device) -> Model<L> {
    let mut optimizer = SgdConfig::new().init();
    for items in [batches, batches].concat() {
        let (value, _) = model.value(Batch::new(items, device));
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        model.loss.on_step();
        model = optimizer.step(RATE, model, gradients);
    }
    model
}

#[test]
fn a_hand_written_loop() {
    for device in autodiff_devices() {
        let mut model = Model::new(center_loss(UpdateRule::paper(), &device), &device);
        let mut optimizer = AdamConfig::new().init();
        let mut losses = vec![];
        for _ in 0..20 {
            let (value, _) = model.value(Batch::new(&[0, 1, 2, 3], &device));
            losses.push(values(value.clone())[0]);
            let gradients = GradientsParams::from_grads(value.backward(), &model);
            model = optimizer.step(0.05, model, gradients);
        }
        assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
        assert_eq!(model.loss.step(), 20);
    }
}

#[test]
fn the_learner_moves_the_centers_once_per_training_step_and_not_in_validation() {
    let device = Device::flex().autodiff();
    let model = || Model::new(center_loss(UpdateRule::paper(), &device), &device);
    let trained = learn(model(), vec![0, 1, 2, 3, 4, 9], 2, |training| training).model;
    assert_eq!(trained.loss.step(), 6);
    let expected = by_hand(model(), &[&[0, 1], &[2, 3], &[4, 9]], &device);
    assert_close("numbers", &trained.numbers(), &expected.numbers(), 1e-6);
}

#[test]
fn accumulated_batches_move_the_centers_as_one() {
    let device = Device::flex().autodiff();
    let model = |timing| {
        let rule = UpdateRule::paper().with_timing(timing);
        Model::new(center_loss(rule, &device), &device)
    };
    let items = vec![0, 1, 2, 3, 4, 9];
    let trained = learn(model(UpdateTiming::OnStep), items, 1, |training| {
        training.grads_accumulation(3)
    });
    assert_eq!(trained.model.loss.step(), 4);

    // The sum of the gradients of three batches of one, and the update of the batch of three.
    let mut expected = model(UpdateTiming::Immediate);
    let mut optimizer = SgdConfig::new().init();
    for items in [[0, 1, 2], [3, 4, 9], [0, 1, 2], [3, 4, 9]] {
        let whole = Batch::new(&items, &device);
        let features = expected.features.forward(whole.images);
        let config = expected
            .loss
            .config()
            .clone()
            .with_reduction(Reduction::Sum);
        let sum = config
            .init_with_centers(expected.loss.centers().autodiff())
            .unwrap();
        let value = sum.evaluate(features.clone(), whole.labels.clone());
        let (_, update) = expected.loss.measure((features, whole.labels)).unwrap();
        let gradients = GradientsParams::from_grads(value.backward(), &expected);
        expected.loss.apply(update).unwrap();
        expected = optimizer.step(RATE, expected, gradients);
    }
    assert_close(
        "numbers",
        &trained.model.numbers(),
        &expected.numbers(),
        1e-6,
    );
}

/// Trains on one device and on two, which take the batches of the one in turn.
fn compare<L: Loss>(name: &str, loss: impl Fn(&Device) -> L) {
    let device = Device::flex().autodiff();
    let train = |strategy: Option<MultiDeviceOptim>, items: &[i64], accumulation| {
        let before = Model::new(loss(&device), &device);
        let start = before.numbers();
        let trained = learn(before, items.to_vec(), 2, |training| {
            let training = training.grads_accumulation(accumulation);
            match strategy {
                None => training,
                Some(strategy) => training.with_training_strategy(TrainingStrategy::Default(
                    ExecutionStrategy::multi(vec![device.clone(), device.clone()], strategy),
                )),
            }
        });
        let numbers = trained.model.numbers();
        assert_ne!(numbers, start);
        numbers
    };
    // The loader gives the first device the first half of the items.
    let halves = [0, 1, 2, 3, 10, 11, 5, 9, 8, 7, 4, 6];
    let in_turn = [0, 1, 5, 9, 2, 3, 8, 7, 10, 11, 4, 6];
    for accumulation in [1, 3] {
        let expected = train(None, &in_turn, 2 * accumulation);
        for strategy in [
            MultiDeviceOptim::OptimMainDevice,
            MultiDeviceOptim::OptimSharded,
        ] {
            let found = train(Some(strategy), &halves, accumulation);
            let name = format!("{name}, {accumulation} batches, {strategy:?}");
            assert_close(&name, &found, &expected, 1e-5);
        }
    }
}

#[test]
fn several_devices_with_center_loss_by_each_rule() {
    let shared = |rule: UpdateRule| rule.with_timing(UpdateTiming::OnStepShared);
    for rule in [
        shared(UpdateRule::paper()),
        shared(UpdateRule::mean()),
        shared(UpdateRule::sum().with_alpha(0.1)),
        UpdateRule::Gradient,
        UpdateRule::Frozen,
    ] {
        compare(&format!("{rule:?}"), |device| {
            center_loss(rule.clone(), device)
        });
    }
}

/// The loss around [`rows`] on a device.
macro_rules! around_rows {
    ($config:expr, $count:expr) => {
        |device| $config.init_with_centers(rows($count, device)).unwrap()
    };
}

#[test]
fn several_devices_with_margins_and_proxies() {
    for margin in [Margin::arcface(0.5), Margin::sphereface(4), Margin::None] {
        for sub_centers in [1, 2] {
            let config = MarginSoftmaxConfig::new(CLASSES, WIDTH)
                .with_margin(margin.clone())
                .with_scale(4.0)
                .with_sub_centers(sub_centers);
            compare(
                &config.to_string(),
                around_rows!(config, sub_centers * CLASSES),
            );
        }
    }
    let config = ProxyAnchorConfig::new(CLASSES, WIDTH).with_scale(4.0);
    compare("ProxyAnchor", around_rows!(config, CLASSES));
    let config = ProxyNcaConfig::new(CLASSES, WIDTH);
    compare("ProxyNca", around_rows!(config, CLASSES));
    let config = SoftTripleConfig::new(CLASSES, WIDTH).with_sub_centers(2);
    compare("SoftTriple", around_rows!(config, 2 * CLASSES));
}

/// What `docs/devices.md` says of schedules and statistics: they are counted in forks, which Burn drops.
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

/// A parameter group gives the centers a rate of their own.
#[test]
fn a_rate_of_their_own_for_the_centers() {
    fn check<L: Loss>(loss: L, group: burn::module::ParamGroup, device: &Device) {
        let model = Model::new(loss, device);
        let mut optimizer =
            AdamConfig::new()
                .init()
                .with_group(group.clone(), SgdConfig::new().build(), None);
        let mut rates =
            ModuleLrScheduler::new(ConstantLr::new(0.0)).with_group(group, ConstantLr::new(0.5));
        let (weight, centers) = (
            values(model.features.weight.val()),
            values(model.loss.rows()),
        );
        let (value, _) = model.value(Batch::new(&[0, 1, 5], device));
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        let gradient = gradients
            .get::<2>(crate::contract::centers_id(&model.loss))
            .unwrap();
        let expected = centers
            .iter()
            .zip(values(gradient))
            .map(|(c, g)| c - 0.5 * g);
        let expected: Vec<f64> = expected.collect();
        let model = optimizer.step(rates.step(), model, gradients);
        assert_close("centers", &values(model.loss.rows()), &expected, 1e-6);
        assert_eq!(values(model.features.weight.val()), weight);
    }
    for device in &autodiff_devices() {
        let loss = center_loss(UpdateRule::Gradient, device);
        check(loss, CenterLoss::centers_param_group("loss"), device);
        let loss = MarginSoftmaxConfig::new(CLASSES, WIDTH)
            .with_scale(4.0)
            .init(device);
        check(loss, MarginSoftmax::centers_param_group("loss"), device);
        let loss = ProxyAnchorConfig::new(CLASSES, WIDTH).init(device);
        check(loss, ProxyAnchor::centers_param_group("loss"), device);
        let loss = ProxyNcaConfig::new(CLASSES, WIDTH).init(device);
        check(loss, ProxyNca::centers_param_group("loss"), device);
        let loss = SoftTripleConfig::new(CLASSES, WIDTH).init(device);
        check(loss, SoftTriple::centers_param_group("loss"), device);
    }
}

fn timed(timing: UpdateTiming, device: &Device) -> CenterLoss {
    center_loss(UpdateRule::paper().with_timing(timing), device)
}

/// One update by each of the losses.
fn forward_each(losses: &[&CenterLoss], device: &Device) {
    for loss in losses {
        loss.forward(Tensor::ones([2, WIDTH], device), labels(&[0, 1], device));
    }
}

#[test]
fn clones_go_their_own_way_with_a_copy_of_the_waiting_updates() {
    let device = Device::flex().autodiff();
    let first = timed(UpdateTiming::OnStep, &device);
    forward_each(&[&first], &device);
    let clone = first.clone();
    forward_each(&[&first, &first, &clone], &device);
    assert_eq!(clone.apply_pending(), Ok(2));
    assert_eq!(clone.apply_pending(), Ok(0));
    assert_eq!(first.apply_pending(), Ok(3));
    assert_eq!((first.step(), clone.step()), (1, 1));
}

#[test]
fn clones_share_the_waiting_updates_if_asked_to() {
    let device = Device::flex().autodiff();
    let first = timed(UpdateTiming::OnStepShared, &device);
    let clone = first.clone();
    forward_each(&[&first, &clone, &clone.clone().fork(&device)], &device);
    assert_eq!(first.apply_pending(), Ok(3));
    assert_eq!(clone.apply_pending(), Ok(0));
    assert_eq!(first.step(), 1);
}

#[test]
fn frozen_and_validating_losses_leave_the_waiting_updates_alone() {
    let device = Device::flex().autodiff();
    for timing in [UpdateTiming::OnStep, UpdateTiming::OnStepShared] {
        let loss = timed(timing, &device);
        forward_each(&[&loss], &device);
        let before = values(loss.centers());

        let valid = loss.valid();
        assert_eq!(valid.apply_pending(), Err(LossError::Frozen));
        assert_eq!(valid.train().apply_pending(), Ok(0), "valid() detaches");
        let frozen = loss.clone().freeze();
        assert_eq!(frozen.apply_pending(), Err(LossError::Frozen));
        assert_eq!(values(frozen.centers()), before);
        // Frozen, it notes nothing.
        forward_each(&[&frozen], &device);
        assert_eq!(
            frozen.unfreeze().apply_pending(),
            Ok(1),
            "the list was kept"
        );
        let left = if timing == UpdateTiming::OnStep { 1 } else { 0 };
        assert_eq!(loss.apply_pending(), Ok(left));
    }
}

/// Waiting updates are a matter of the direct rules: nothing collects under the others.
#[test]
fn other_rules_collect_no_updates() {
    let device = Device::flex().autodiff();
    for rule in [UpdateRule::Gradient, UpdateRule::Frozen] {
        let loss = center_loss(rule, &device);
        for _ in 0..5000 {
            forward_each(&[&loss], &device);
        }
        let error = loss.apply_pending().unwrap_err();
        assert!(matches!(error, LossError::Rule { .. }), "{error}");
    }
}
