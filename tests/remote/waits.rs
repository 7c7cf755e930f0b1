//! How often a training step waits for the server.

use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use burn_center_loss::{
    CenterDistance, CenterLossConfig, Checking, ContrastiveCenterLossConfig, DistanceSoftmaxConfig,
    IslandLossConfig, LabelledBatch, MarginSoftmaxConfig, ProxyAnchorConfig, ProxyNcaConfig,
    SoftTripleConfig, TripletCenterLossConfig, UpdateRule, UpdateTiming,
};

use crate::models::{self, CLASSES, Loss, Model, RATE, WIDTH};
use crate::proxy::{DELAY, Proxy, Traffic};
use crate::server::{Server, device};

/// The round trips of one training step, the third of its training.
fn of_a_step(proxy: &Proxy, remote: &Device, loss: impl Loss) -> usize {
    let traffic = traffic_of_a_step(proxy, remote, loss, 4);
    traffic.round_trips
}

/// The traffic of one training step with so many samples, the third of its training.
fn traffic_of_a_step(proxy: &Proxy, remote: &Device, loss: impl Loss, samples: i64) -> Traffic {
    let mut model = Model::new(loss, remote);
    let mut optimizer = AdamConfig::new().init();
    let mut traffic = Traffic::default();
    for step in 0..3 {
        // All that was sent before has been answered.
        model.numbers();
        let places: Vec<_> = (step..step + samples).collect();
        let batch = models::Batch::new(&places, remote);
        // Both have arrived once something of them is read.
        batch.images.clone().sum().into_data();
        batch.labels.clone().sum().into_data();
        remote.sync().unwrap();
        proxy.take();
        let start = Instant::now();
        let (loss, _) = model.value(batch);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model.loss.on_step();
        model = optimizer.step(RATE, model, gradients);
        let took = start.elapsed();
        traffic = proxy.take();
        let round_trips = traffic.round_trips;
        assert!(
            took >= 2 * round_trips as u32 * DELAY,
            "{took:?} for {round_trips} round trips"
        );
        remote.sync().unwrap();
        traffic.bytes_up += proxy.take().bytes_up;
    }
    traffic
}

#[test]
fn a_step_waits_for_nothing_under_deferred_checking_and_once_under_strict() {
    let server = Server::start();
    let proxy = Proxy::start(server.address);
    let remote = device(proxy.address).autodiff();
    let rows = |count| Tensor::<2>::ones([count, WIDTH], &remote);
    for checking in [Checking::Deferred, Checking::Strict] {
        let waits = |name: &str, round_trips: usize| {
            let expected = match checking {
                Checking::Deferred => 0,
                Checking::Strict => 1,
            };
            assert_eq!(round_trips, expected, "{name}, {checking:?}");
        };
        // Labels and distances, all at once.
        let center = CenterLossConfig::new(CLASSES, WIDTH).with_checking(checking);
        let on_step = UpdateRule::paper().with_timing(UpdateTiming::OnStep);
        for rule in [
            UpdateRule::paper(),
            UpdateRule::mean(),
            UpdateRule::sum(),
            on_step.clone(),
            UpdateRule::Gradient,
        ] {
            let config = center.clone().with_update_rule(rule);
            let loss = config.init_with_centers(rows(CLASSES)).unwrap();
            let name = format!("{:?}", config.update_rule);
            // Strict checking reads the merged step too, before it is applied.
            let is_merged = config.update_rule == on_step && checking == Checking::Strict;
            let round_trips = of_a_step(&proxy, &remote, loss);
            waits(&name, round_trips - usize::from(is_merged));
        }
        let cosine = center.with_distance(CenterDistance::Cosine);
        let loss = cosine.init_with_centers(rows(CLASSES)).unwrap();
        waits("cosine", of_a_step(&proxy, &remote, loss));

        // Labels, lengths and losses, all at once.
        for (name, config) in [
            ("ArcFace", MarginSoftmaxConfig::new(CLASSES, WIDTH)),
            ("AdaFace", MarginSoftmaxConfig::adaface(CLASSES, WIDTH)),
            (
                "sub-centers",
                MarginSoftmaxConfig::new(CLASSES, WIDTH).with_sub_centers(2),
            ),
        ] {
            let config = config.with_checking(checking);
            let vectors = rows(CLASSES * config.sub_centers);
            let loss = config.init_with_centers(vectors).unwrap();
            waits(name, of_a_step(&proxy, &remote, loss));
        }
        // It reads the angles to choose the next scale.
        let adacos = MarginSoftmaxConfig::adacos(CLASSES, WIDTH).with_checking(checking);
        let loss = adacos.init_with_centers(rows(CLASSES)).unwrap();
        waits("AdaCos", of_a_step(&proxy, &remote, loss) - 1);
        let anchor = ProxyAnchorConfig::new(CLASSES, WIDTH).with_checking(checking);
        let loss = anchor.init_with_centers(rows(CLASSES)).unwrap();
        waits("ProxyAnchor", of_a_step(&proxy, &remote, loss));
        let nca = ProxyNcaConfig::new(CLASSES, WIDTH).with_checking(checking);
        let loss = nca.init_with_centers(rows(CLASSES)).unwrap();
        waits("ProxyNca", of_a_step(&proxy, &remote, loss));
        let triple = SoftTripleConfig::new(CLASSES, WIDTH)
            .with_sub_centers(2)
            .with_checking(checking);
        let loss = triple.init_with_centers(rows(2 * CLASSES)).unwrap();
        waits("SoftTriple", of_a_step(&proxy, &remote, loss));
        let distances = DistanceSoftmaxConfig::new(CLASSES, WIDTH).with_checking(checking);
        let loss = distances.init_with_centers(rows(CLASSES)).unwrap();
        waits("DistanceSoftmax", of_a_step(&proxy, &remote, loss));
        let contrastive = ContrastiveCenterLossConfig::new(CLASSES, WIDTH).with_checking(checking);
        let loss = contrastive.init_with_centers(rows(CLASSES)).unwrap();
        waits("contrastive-center", of_a_step(&proxy, &remote, loss));
        let triplet = TripletCenterLossConfig::new(CLASSES, WIDTH).with_checking(checking);
        let loss = triplet.init_with_centers(rows(CLASSES)).unwrap();
        waits("triplet-center", of_a_step(&proxy, &remote, loss));
        let island = IslandLossConfig::new(CLASSES, WIDTH).with_checking(checking);
        let loss = island.init_with_centers(rows(CLASSES)).unwrap();
        waits("island", of_a_step(&proxy, &remote, loss));
    }
}

/// A tensor that the host makes is sent as its values. The traffic of a step would grow with the batch.
#[test]
fn a_step_sends_no_values_under_deferred_checking() {
    let server = Server::start();
    let proxy = Proxy::start(server.address);
    let remote = device(proxy.address).autodiff();
    let faults = std::cell::RefCell::new(Vec::<String>::new());
    let check = |name: &str, bytes_of: &dyn Fn(i64) -> usize| {
        // One tensor of so many values has 16 000 bytes. Messages of Burn's own come now or later.
        let [few, many] = [4, 4000].map(bytes_of);
        assert!(
            few.abs_diff(many) < 10_000,
            "{name}: {few} and {many} bytes"
        );
    };
    let center = CenterLossConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("center loss", &|samples| {
        traffic_of_a_step(&proxy, &remote, center.init(&remote), samples).bytes_up
    });
    let margin = MarginSoftmaxConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("ArcFace", &|samples| {
        traffic_of_a_step(&proxy, &remote, margin.init(&remote), samples).bytes_up
    });
    let distances = DistanceSoftmaxConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("DistanceSoftmax", &|samples| {
        traffic_of_a_step(&proxy, &remote, distances.init(&remote), samples).bytes_up
    });
    let anchor = ProxyAnchorConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("ProxyAnchor", &|samples| {
        traffic_of_a_step(&proxy, &remote, anchor.init(&remote), samples).bytes_up
    });
    let nca = ProxyNcaConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("ProxyNca", &|samples| {
        traffic_of_a_step(&proxy, &remote, nca.init(&remote), samples).bytes_up
    });
    let triple = SoftTripleConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("SoftTriple", &|samples| {
        traffic_of_a_step(&proxy, &remote, triple.init(&remote), samples).bytes_up
    });
    let contrastive =
        ContrastiveCenterLossConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("contrastive-center", &|samples| {
        traffic_of_a_step(&proxy, &remote, contrastive.init(&remote), samples).bytes_up
    });
    let triplet = TripletCenterLossConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("triplet-center", &|samples| {
        traffic_of_a_step(&proxy, &remote, triplet.init(&remote), samples).bytes_up
    });
    let island = IslandLossConfig::new(CLASSES, WIDTH).with_checking(Checking::Deferred);
    check("island", &|samples| {
        traffic_of_a_step(&proxy, &remote, island.init(&remote), samples).bytes_up
    });
    let faults = faults.into_inner();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn weights_take_no_wait_of_their_own() {
    let server = Server::start();
    let proxy = Proxy::start(server.address);
    let remote = device(proxy.address).autodiff();
    let center = CenterLossConfig::new(CLASSES, WIDTH).init(&remote);
    let margin = MarginSoftmaxConfig::new(CLASSES, WIDTH).init(&remote);
    let anchor = ProxyAnchorConfig::new(CLASSES, WIDTH).init(&remote);
    let batch = || {
        let batch = models::Batch::new(&[0, 1, 2], &remote);
        let features = batch.images.narrow(1, 0, WIDTH);
        let weights = Tensor::from_data([0.5, 2.0, 1.0], &remote);
        remote.sync().unwrap();
        proxy.take();
        LabelledBatch::new(features, batch.labels).with_weights(weights)
    };
    // The first call asks which data types the device computes in.
    center.try_forward(batch()).unwrap();
    margin.try_forward(batch()).unwrap();
    anchor.try_forward(batch()).unwrap();

    center.try_forward(batch()).unwrap();
    assert_eq!(proxy.take().round_trips, 1);
    margin.try_forward(batch()).unwrap();
    assert_eq!(proxy.take().round_trips, 1);
    anchor.try_forward(batch()).unwrap();
    assert_eq!(proxy.take().round_trips, 1);
}

/// Updates of two other hosts are fetched with one wait for each host, however many tensors they are.
#[test]
fn updates_of_other_hosts_are_fetched_at_once() {
    let servers = [Server::start(), Server::start()];
    let proxies = servers
        .each_ref()
        .map(|server| Proxy::start(server.address));
    let remotes = proxies
        .each_ref()
        .map(|proxy| device(proxy.address).autodiff());
    let here = Device::flex().autodiff();
    for checking in [Checking::Deferred, Checking::Strict] {
        let rule = UpdateRule::paper().with_timing(UpdateTiming::OnStepShared);
        let loss = CenterLossConfig::new(CLASSES, WIDTH)
            .with_checking(checking)
            .with_update_rule(rule)
            .init(&here);
        for remote in &remotes {
            for _ in 0..2 {
                let batch = models::Batch::new(&[0, 1, 2], remote);
                let fork = loss.clone().fork(remote);
                fork.forward(batch.images.narrow(1, 0, WIDTH), batch.labels);
            }
            remote.sync().unwrap();
        }
        for proxy in &proxies {
            proxy.take();
        }
        assert_eq!(loss.apply_pending(), Ok(4));
        for proxy in &proxies {
            assert_eq!(proxy.take().round_trips, 1, "{checking:?}");
        }
    }
}
