//! What is left when a server dies.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn::train::{ExecutionStrategy, MultiDeviceOptim, TrainingStrategy};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, Checking, LossError, MarginSoftmaxConfig, UpdateRule,
    UpdateTiming,
};

use crate::models::{CLASSES, Model, WIDTH, learn};
use crate::server::Server;

fn config(checking: Checking, timing: UpdateTiming) -> CenterLossConfig {
    CenterLossConfig::new(CLASSES, WIDTH)
        .with_checking(checking)
        .with_update_rule(UpdateRule::paper().with_timing(timing))
}

fn loss(config: &CenterLossConfig, device: &Device) -> CenterLoss {
    config
        .init_with_centers(Tensor::ones([CLASSES, WIDTH], device))
        .unwrap()
}

fn batch(device: &Device) -> (Tensor<2>, Tensor<1, burn::tensor::Int>) {
    let features = Tensor::from_data([[2.0, 0.0], [0.0, 3.0]], device);
    (features, Tensor::from_data([0, 1], device))
}

fn values(loss: &CenterLoss) -> Vec<f64> {
    loss.centers().into_data().iter::<f64>().collect()
}

#[test]
fn strict_checking_returns_an_error_where_the_step_reads() {
    let mut server = Server::start();
    let device = server.device().autodiff();
    let center = loss(&config(Checking::Strict, UpdateTiming::Immediate), &device);
    let margin = MarginSoftmaxConfig::new(CLASSES, WIDTH).init(&device);
    center.try_forward(batch(&device)).unwrap();
    margin.try_forward(batch(&device)).unwrap();
    server.kill();

    let error = center.try_forward(batch(&device)).unwrap_err();
    assert!(matches!(error, LossError::Read(_)), "{error}");
    assert_eq!(center.step(), 1, "the schedules stand still");
    let error = margin.try_forward(batch(&device)).unwrap_err();
    assert!(matches!(error, LossError::Read(_)), "{error}");
    assert!(center.centers().try_into_data().is_err());
}

#[test]
fn deferred_checking_returns_the_error_at_the_next_read() {
    let mut server = Server::start();
    let device = server.device().autodiff();
    let center = loss(
        &config(Checking::Deferred, UpdateTiming::Immediate),
        &device,
    );
    let value = center.try_forward(batch(&device)).unwrap();
    value.try_into_data().unwrap();
    server.kill();

    let value = center.try_forward(batch(&device)).unwrap();
    let error = center.take_skipped().unwrap_err();
    assert!(matches!(error, LossError::Read(_)), "{error}");
    assert!(value.try_into_data().is_err());
    assert!(center.centers().try_into_data().is_err());
}

/// The centers are on one host and an update on another one, which dies.
#[test]
fn a_host_that_dies_with_its_update_leaves_the_others_alone() {
    for checking in [Checking::Strict, Checking::Deferred] {
        let (first, mut second) = (Server::start(), Server::start());
        let devices = [&first, &second].map(|server| server.device().autodiff());
        let config = config(checking, UpdateTiming::OnStepShared);
        let center = loss(&config, &devices[0]);
        let forks = devices.each_ref().map(|device| center.clone().fork(device));
        let noted = |which: usize| forks[which].try_forward(batch(&devices[which])).unwrap();
        let before = values(&center);

        noted(0);
        noted(1);
        let (_, update) = forks[1].measure(batch(&devices[1])).unwrap();
        second.kill();

        let lost = |error: &LossError| matches!(error, LossError::Read(_));
        let error = center.apply_pending().unwrap_err();
        assert!(lost(&error), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("the device returned no values: "),
            "{error}"
        );
        let error = center.apply(update).unwrap_err();
        assert!(lost(&error), "{error}");

        // The host of the centers has noticed nothing.
        assert_eq!(values(&center), before);
        assert_eq!(center.step(), 0);
        noted(0);
        assert_eq!(center.apply_pending(), Ok(1));
        assert_ne!(values(&center), before);
    }
}

/// Centers of a host that lives take updates of another one: they come by way of this process.
#[test]
fn an_update_of_another_host_moves_the_centers() {
    let servers = [Server::start(), Server::start()];
    let devices = servers.each_ref().map(|server| server.device().autodiff());
    for checking in [Checking::Strict, Checking::Deferred] {
        let config = config(checking, UpdateTiming::Immediate);
        let here = Device::flex().autodiff();
        let on = [&devices[0], &devices[1], &here].map(|device| loss(&config, device));
        let expected = {
            let (_, update) = on[2].measure(batch(&here)).unwrap();
            on[2].apply(update).unwrap();
            values(&on[2])
        };
        let (_, update) = on[1].measure(batch(&devices[1])).unwrap();
        for loss in &on[..2] {
            loss.apply(update.clone()).unwrap();
            assert_eq!(values(loss), expected, "{checking:?}");
        }
    }
}

#[test]
fn the_learner_ends_with_the_error_of_the_host_that_died() {
    let (first, mut second) = (Server::start(), Server::start());
    let devices = [&first, &second].map(|server| server.device().autodiff());
    let config = config(Checking::Strict, UpdateTiming::OnStepShared);
    let model = Model::new(loss(&config, &devices[0]), &devices[0]);
    second.kill();
    let trained = learn(model, (0..8).collect(), 2, |training| {
        training.with_training_strategy(TrainingStrategy::Default(ExecutionStrategy::multi(
            devices.to_vec(),
            MultiDeviceOptim::OptimMainDevice,
        )))
    });
    let error = trained.error.expect("a worker failed").to_string();
    assert!(
        error.contains("training worker on device 1 failed"),
        "{error}"
    );
    // What is on the host that lives can still be read and stored.
    assert_eq!(values(&trained.model.loss), [1.0; CLASSES * WIDTH]);
}
