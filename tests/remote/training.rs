//! Trainings on one and two other processes give what one device gives.

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::{ExecutionStrategy, MultiDeviceOptim, TrainingStrategy};
use burn_center_loss::{
    CenterLossConfig, Checking, KnnClassifierConfig, KnnMetric, MarginSoftmaxConfig,
    ProxyAnchorConfig, ProxyNcaConfig, SoftTripleConfig, UpdateRule, UpdateTiming,
};

use crate::models::{Batch, CLASSES, Loss, Model, RATE, WIDTH, learn};
use crate::server::Server;

fn assert_close(name: &str, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{name}");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() < 2e-6 * e.abs().max(1.0),
            "{name}[{i}]: {a} is not {e}"
        );
    }
}

/// Rows to start with, the same on every device.
fn rows(count: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..count * WIDTH).map(|i| (i as f32 * 1.7).sin()).collect();
    Tensor::<1>::from_data(values.as_slice(), device).reshape([count, WIDTH])
}

/// The loss around [`rows`] on a device.
macro_rules! around_rows {
    ($config:expr, $count:expr) => {
        |device: &Device| $config.init_with_centers(rows($count, device)).unwrap()
    };
}

/// Compares the numbers of a model after a hand-written loop, here and there.
fn compare_loops<L: Loss>(remote: &Device, name: &str, make: impl Fn(&Device) -> L) {
    let here = Device::flex().autodiff();
    let [expected, found] = [&here, remote].map(|device| {
        let mut model = Model::new(make(device), device);
        let mut optimizer = AdamConfig::new().init();
        for step in 0..10 {
            let items: Vec<i64> = (0..6).map(|item| item + step).collect();
            let (loss, _) = model.value(Batch::new(&items, device));
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model.loss.on_step();
            model = optimizer.step(RATE, model, gradients);
        }
        model.numbers()
    });
    assert_close(name, &found, &expected);
}

#[test]
fn a_hand_written_loop_with_every_loss() {
    let server = Server::start();
    let remote = server.device().autodiff();
    for checking in [Checking::Strict, Checking::Deferred] {
        for rule in [
            UpdateRule::paper(),
            UpdateRule::mean(),
            UpdateRule::sum().with_alpha(0.1),
            UpdateRule::paper().with_timing(UpdateTiming::OnStep),
            UpdateRule::Gradient,
            UpdateRule::Frozen,
        ] {
            let config = CenterLossConfig::new(CLASSES, WIDTH)
                .with_update_rule(rule)
                .with_checking(checking);
            compare_loops(&remote, &config.to_string(), around_rows!(config, CLASSES));
        }
        let config = MarginSoftmaxConfig::new(CLASSES, WIDTH)
            .with_scale(8.0)
            .with_checking(checking);
        compare_loops(&remote, &config.to_string(), around_rows!(config, CLASSES));
        let config = ProxyAnchorConfig::new(CLASSES, WIDTH).with_checking(checking);
        compare_loops(&remote, &config.to_string(), around_rows!(config, CLASSES));
        let config = ProxyNcaConfig::new(CLASSES, WIDTH).with_checking(checking);
        compare_loops(&remote, &config.to_string(), around_rows!(config, CLASSES));
        let config = SoftTripleConfig::new(CLASSES, WIDTH)
            .with_sub_centers(2)
            .with_checking(checking);
        compare_loops(
            &remote,
            &config.to_string(),
            around_rows!(config, 2 * CLASSES),
        );
    }
}

/// The learner on one device, with the batches of both in the order in which they are merged.
fn compare_learners<L: Loss>(remotes: &[Device], name: &str, make: impl Fn(&Device) -> L) {
    let here = Device::flex().autodiff();
    let one = learn(
        Model::new(make(&here), &here),
        vec![0, 1, 4, 9, 2, 3, 8, 7],
        2,
        |training| training.grads_accumulation(2),
    );
    let expected = one.model.numbers();
    for strategy in [
        MultiDeviceOptim::OptimMainDevice,
        MultiDeviceOptim::OptimSharded,
    ] {
        let model = Model::new(make(&remotes[0]), &remotes[0]);
        let trained = learn(model, vec![0, 1, 2, 3, 4, 9, 8, 7], 2, |training| {
            training.with_training_strategy(TrainingStrategy::Default(ExecutionStrategy::multi(
                remotes.to_vec(),
                strategy,
            )))
        });
        assert!(trained.error.is_none(), "{:?}", trained.error);
        let name = format!("{name}, {strategy:?}");
        assert_close(&name, &trained.model.numbers(), &expected);
    }
}

#[test]
fn the_learner_over_two_servers() {
    let servers = [Server::start(), Server::start()];
    let remotes = servers.each_ref().map(|server| server.device().autodiff());
    for rule in [
        UpdateRule::paper(),
        UpdateRule::mean(),
        UpdateRule::sum().with_alpha(0.1),
    ] {
        for checking in [Checking::Strict, Checking::Deferred] {
            let config = CenterLossConfig::new(CLASSES, WIDTH)
                .with_checking(checking)
                .with_update_rule(rule.clone().with_timing(UpdateTiming::OnStepShared));
            compare_learners(&remotes, &config.to_string(), around_rows!(config, CLASSES));
        }
    }
    let config = CenterLossConfig::new(CLASSES, WIDTH).with_update_rule(UpdateRule::Gradient);
    compare_learners(&remotes, "gradient rule", around_rows!(config, CLASSES));
    let config = MarginSoftmaxConfig::new(CLASSES, WIDTH).with_scale(4.0);
    compare_learners(&remotes, "ArcFace", around_rows!(config, CLASSES));
}

/// Two devices, each with its half of a batch, move the centers as one device with the whole batch.
#[test]
fn two_servers_and_one_update_by_hand() {
    let servers = [Server::start(), Server::start()];
    let remotes = servers.each_ref().map(|server| server.device().autodiff());
    let config = CenterLossConfig::new(CLASSES, WIDTH)
        .with_update_rule(UpdateRule::paper().with_timing(UpdateTiming::OnStepShared));
    let here = Device::flex().autodiff();
    for checking in [Checking::Strict, Checking::Deferred] {
        let config = config.clone().with_checking(checking);
        let one = config.init_with_centers(rows(CLASSES, &here)).unwrap();
        let several = config
            .init_with_centers(rows(CLASSES, &remotes[0]))
            .unwrap();
        let features = rows(6, &here);
        let labels = |items: [i64; 3], device: &Device| Tensor::from_data(items, device);
        one.forward(features.clone().slice(0..3), labels([0, 1, 0], &here));
        one.forward(features.clone().slice(3..6), labels([2, 0, 1], &here));
        for (part, items) in [[0, 1, 0], [2, 0, 1]].into_iter().enumerate() {
            let shard = several.clone().fork(&remotes[part]);
            let data = features.clone().slice(3 * part..3 * part + 3).into_data();
            shard.forward(
                Tensor::from_data(data, &remotes[part]),
                labels(items, &remotes[part]),
            );
        }
        assert_eq!(one.apply_pending(), Ok(2));
        assert_eq!(several.apply_pending(), Ok(2));
        let values = |centers: Tensor<2>| centers.into_data().iter::<f64>().collect::<Vec<_>>();
        assert_close(
            "centers",
            &values(several.centers()),
            &values(one.centers()),
        );
    }
}

#[test]
fn neighbors_and_nearest_centers() {
    let server = Server::start();
    let remote = server.device();
    for (metric, width) in [(KnnMetric::Euclidean, 2), (KnnMetric::Cosine, 16)] {
        let predictions = [Device::flex(), remote.clone()].map(|device| {
            let values: Vec<f32> = (0..40 * width).map(|i| (i as f32 * 0.7).sin()).collect();
            let points = Tensor::<1>::from_data(values.as_slice(), &device).reshape([40, width]);
            let labels: Vec<i64> = (0..30).map(|i| i % 4).collect();
            let labels = Tensor::from_data(labels.as_slice(), &device);
            let classifier = KnnClassifierConfig::new(3)
                .with_metric(metric)
                .fit(points.clone().slice(0..30), labels)
                .unwrap();
            let queries = points.slice(30..40);
            let found = classifier.predict(queries.clone()).unwrap();
            let near = classifier.kneighbors(queries).unwrap();
            assert_eq!(found.device(), device);
            (
                found.into_data().iter::<i64>().collect::<Vec<_>>(),
                near.indices.into_data().iter::<i64>().collect::<Vec<_>>(),
            )
        });
        assert_eq!(predictions[0], predictions[1], "{metric:?}");
    }
}
