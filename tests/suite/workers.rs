//! Threads that do what the workers of Burn's distributed data parallel training do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, CenterLossError, Checking, DirectRule, Schedule, UpdateTiming,
};

use crate::devices::{devices, values};
use crate::fixtures::assert_close;

const CLASSES: usize = 5;

fn config(workers: usize) -> CenterLossConfig {
    let timing = UpdateTiming::OnStepOfWorkers { workers };
    let decay = Schedule::StepDecay {
        every: 2,
        factor: 0.5,
    };
    let rule = DirectRule::paper()
        .with_alpha_schedule(decay)
        .with_timing(timing);
    CenterLossConfig::new(CLASSES, 2).with_update_rule(rule.into())
}

fn start(config: &CenterLossConfig, device: &Device) -> CenterLoss {
    let centers: Vec<f32> = (0..CLASSES * 2).map(|i| (i as f32).cos()).collect();
    let centers = Tensor::<1>::from_data(centers.as_slice(), device).reshape([CLASSES, 2]);
    config.init_with_centers(centers).unwrap()
}

/// Features of a batch of a worker, and their labels.
fn batch(worker: usize, number: usize) -> (Vec<f32>, Vec<i64>) {
    let seed = 31 * worker + 7 * number;
    let features = (0..6).map(|i| ((seed + i) as f32 * 0.9).sin()).collect();
    let labels = (0..3).map(|i| ((seed + 2 * i) % CLASSES) as i64);
    (features, labels.collect())
}

fn forward(loss: &CenterLoss, (features, labels): (Vec<f32>, Vec<i64>), device: &Device) {
    let rows = labels.len();
    let features = Tensor::<1>::from_data(features.as_slice(), device).reshape([rows, 2]);
    loss.forward(features, Tensor::from_data(labels.as_slice(), device));
}

/// What a worker does, by its number, with its clone of the loss.
type Work<'a> = &'a (dyn Fn(usize, CenterLoss) -> Result<CenterLoss, CenterLossError> + Sync);

/// Runs the workers; what a worker that panics returns is its message.
fn run(loss: &CenterLoss, workers: usize, work: Work) -> Vec<Result<CenterLoss, String>> {
    thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                let replica = loss.clone();
                thread::Builder::new()
                    .name(format!("worker-{worker}"))
                    .spawn_scoped(scope, move || {
                        work(worker, replica).map_err(|error| error.to_string())
                    })
                    .unwrap()
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| match handle.join() {
                Ok(result) => result,
                Err(_) => Err("panicked".into()),
            })
            .collect()
    })
}

const STEPS: usize = 4;

/// A worker's training: it clones its model at every step, as Burn's learner does.
fn train(
    worker: usize,
    replica: CenterLoss,
    accumulation: usize,
    device: &Device,
) -> Result<CenterLoss, CenterLossError> {
    let mut loss = replica.fork(device);
    for step in 0..STEPS {
        for part in 0..accumulation {
            forward(&loss, batch(worker, accumulation * step + part), device);
        }
        let next = loss.clone();
        next.apply_pending()?;
        loss = next;
    }
    Ok(loss)
}

#[test]
fn replicas_stay_equal_and_move_as_one_device_does() {
    for device in devices().into_iter().map(Device::autodiff) {
        for (workers, accumulation) in [(1, 1), (2, 1), (3, 2)] {
            for checking in [Checking::Strict, Checking::Deferred] {
                let config = config(workers).with_checking(checking);
                let trained = run(&start(&config, &device), workers, &|worker, replica| {
                    train(worker, replica, accumulation, &device)
                });
                let trained: Vec<CenterLoss> = trained.into_iter().map(Result::unwrap).collect();
                let rule = DirectRule::paper()
                    .with_alpha_schedule(Schedule::StepDecay {
                        every: 2,
                        factor: 0.5,
                    })
                    .with_timing(UpdateTiming::OnStep);
                let one = start(&config.clone().with_update_rule(rule.into()), &device);
                for step in 0..STEPS {
                    for worker in 0..workers {
                        for part in 0..accumulation {
                            forward(&one, batch(worker, accumulation * step + part), &device);
                        }
                    }
                    assert_eq!(one.apply_pending(), Ok(workers * accumulation));
                }
                let replicas: Vec<Vec<f64>> = trained
                    .iter()
                    .map(|replica| values(replica.centers()))
                    .collect();
                for (replica, loss) in replicas.iter().zip(&trained) {
                    assert_eq!(*replica, replicas[0], "bit by bit");
                    assert_eq!(loss.step(), STEPS as u64);
                }
                let name = format!("{workers} workers, {checking:?}");
                assert_close(&name, &replicas[0], &values(one.centers()), 1e-6);
            }
        }
    }
}

#[test]
fn a_worker_without_updates_takes_those_of_the_others() {
    let device = Device::flex().autodiff();
    let loss = start(&config(2), &device);
    let trained = run(&loss, 2, &|worker, replica| {
        // Its batches hold ignored labels alone, or it has none left in this step.
        if worker == 0 {
            forward(&replica, batch(0, 0), &device);
        }
        assert_eq!(replica.apply_pending(), Ok(1));
        Ok(replica)
    });
    let [one, other] = trained.try_into().unwrap();
    let (one, other) = (one.unwrap().centers(), other.unwrap().centers());
    assert_ne!(values(one.clone()), values(loss.centers()));
    assert_eq!(values(one), values(other));
}

#[test]
fn a_worker_that_ends_makes_the_others_fail_by_its_name() {
    let device = Device::flex().autodiff();
    for panics in [false, true] {
        for (is_waiting, workers) in [(true, 2), (false, 2), (true, 3)] {
            let loss = start(&config(workers), &device);
            let all_started = Barrier::new(workers);
            let ended = run(&loss, workers, &|worker, replica| {
                forward(&replica, batch(worker, 0), &device);
                replica.apply_pending()?;
                let before = values(replica.centers());
                forward(&replica, batch(worker, 1), &device);
                all_started.wait();
                if worker == 0 {
                    if is_waiting {
                        thread::sleep(Duration::from_millis(50));
                    }
                    assert!(!panics, "this worker fails");
                    return Ok(replica);
                }
                if !is_waiting {
                    thread::sleep(Duration::from_millis(50));
                }
                let error = replica.apply_pending().unwrap_err();
                assert_eq!(values(replica.centers()), before);
                // The updates keep waiting, and the error stays.
                assert_eq!(replica.apply_pending(), Err(error.clone()));
                Err(error)
            });
            for result in &ended[1..] {
                let error = result.as_ref().unwrap_err();
                assert!(
                    error.starts_with("the worker worker-0 (ThreadId(")
                        && error.ends_with("has ended: no update can be applied without it"),
                    "{error}"
                );
            }
        }
    }
}

/// The same loss can train again after all workers have ended.
#[test]
fn workers_of_a_later_training_meet_anew() {
    let device = Device::flex().autodiff();
    let loss = start(&config(2), &device);
    for _ in 0..2 {
        let trained = run(&loss, 2, &|worker, replica| {
            train(worker, replica, 1, &device)
        });
        assert!(trained.iter().all(Result::is_ok));
    }
    // Also after a training that failed.
    let failed = run(&loss, 2, &|worker, replica| {
        forward(&replica, batch(worker, 0), &device);
        assert_eq!(worker, 1, "this worker fails");
        replica.apply_pending()?;
        Ok(replica)
    });
    assert!(failed.iter().all(Result::is_err));
    let trained = run(&loss, 2, &|worker, replica| {
        train(worker, replica, 1, &device)
    });
    assert!(trained.iter().all(Result::is_ok));
}

#[test]
fn one_thread_more_than_the_workers_is_refused() {
    let device = Device::flex().autodiff();
    let loss = start(&config(1), &device);
    forward(&loss, batch(0, 0), &device);
    assert_eq!(loss.apply_pending(), Ok(1));
    let refused = run(&loss, 1, &|_, replica| {
        replica.apply_pending()?;
        Ok(replica)
    });
    let error = refused.into_iter().next().unwrap().unwrap_err();
    assert!(
        error.starts_with("workers is 1: worker-0 (ThreadId("),
        "{error}"
    );
}

#[test]
fn the_number_of_workers_is_at_least_one() {
    let error = config(0).try_init(&Device::flex()).unwrap_err();
    assert_eq!(error.to_string(), "workers is 0: it must be at least 1");
}

/// An update that is refused is refused for all workers alike.
#[test]
fn all_workers_get_the_error_of_an_update_that_overflows() {
    let device = Device::flex().autodiff();
    let config = config(2);
    let rule = DirectRule::sum()
        .with_alpha(1.0)
        .with_timing(UpdateTiming::OnStepOfWorkers { workers: 2 });
    let loss = start(
        &config.with_update_rule(rule.into()).with_lambda(0.0),
        &device,
    );
    let refused = run(&loss, 2, &|worker, replica| {
        forward(&replica, (vec![1e18, 0.0], vec![0]), &device);
        if worker == 0 {
            forward(&replica, (vec![1e18, 0.0], vec![0]), &device);
        }
        replica.set_alpha(1e30)?;
        let caught = catch_unwind(AssertUnwindSafe(|| replica.apply_pending()));
        caught.expect("errors are values").map(|_| replica)
    });
    for error in refused {
        let error = error.unwrap_err();
        assert!(
            error.starts_with("the update moves a center by up to"),
            "{error}"
        );
    }
}
