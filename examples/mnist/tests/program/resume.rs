//! Runs that were stopped and go on.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::launch::{Scene, json, loss_by_epoch};

const ARGUMENTS: [&str; 7] = arguments("joint");

const fn arguments(loss: &str) -> [&str; 7] {
    [
        "train",
        "--loss",
        loss,
        "--epochs",
        "6",
        "--batch-size",
        "4",
    ]
}

/// What was trained, free of the random identities of its parameters.
fn outcome(run: &Path) -> (Vec<String>, serde_json::Value) {
    let last = json(&run.join("snapshots/epoch-0006.json"));
    (loss_by_epoch(run), last)
}

/// Asserts that a run with `loss`, killed as soon as each of `epochs` is seen to be done, goes on as if it was not.
fn assert_goes_on(loss: &str, epochs: &[usize]) {
    let scene = Scene::new();
    let whole = scene.out().join("whole");
    let arguments = arguments(loss);
    scene.launch_into(&whole, &arguments).printed();

    for epochs in epochs {
        let killed = scene.out().join(format!("killed-{epochs}"));
        let mut child = scene.start_into(&killed, &arguments);
        let seen = killed.join(format!("checkpoints/epoch-{epochs:04}"));
        let started = Instant::now();
        while !seen.exists() {
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "no checkpoint"
            );
            sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let path = killed.display().to_string();
        scene.run(&["train", "--resume", &path]).printed();
        let (whole, killed) = (outcome(&whole), outcome(&killed));
        assert_eq!(whole, killed, "{loss} killed after {epochs}");
    }
}

#[test]
fn a_killed_run_ends_bit_for_bit_as_one_that_was_not() {
    assert_goes_on("joint", &[0, 1, 3]);
}

#[test]
fn vectors_of_the_classes_and_a_rising_margin_go_on_after_a_kill() {
    for loss in ["arcface", "sphereface", "proxy-anchor"] {
        assert_goes_on(loss, &[1]);
    }
}

#[test]
fn the_statistics_of_adaface_go_on_after_a_kill() {
    assert_goes_on("adaface", &[0, 2]);
}

#[test]
fn a_run_that_ends_in_front_of_any_write_goes_on_bit_for_bit() {
    let scene = Scene::new();
    let short = ["train", "--loss", "joint", "--epochs", "2"];
    let whole = scene.out().join("whole");
    scene.launch_into(&whole, &short).printed();
    let outcome = |run: &Path| {
        let last = json(&run.join("snapshots/epoch-0002.json"));
        (loss_by_epoch(run), last)
    };

    let mut writes = 0;
    loop {
        let ended = scene.out().join(format!("ended-{writes}"));
        if scene.launch_with_end_at(writes, &ended, &short).succeeded() {
            break;
        }
        let path = ended.display().to_string();
        match ended.join("run.json").exists() {
            true => scene.run(&["train", "--resume", &path]).printed(),
            // It had not begun, and what is there is no obstacle to beginning.
            false => scene.launch_into(&ended, &short).printed(),
        };
        assert_eq!(outcome(&whole), outcome(&ended), "in front of {writes}");
        assert!(ended.join("report.html").exists());
        writes += 1;
    }
    // Those of two epochs, three checkpoints, six pictures and a report at the least.
    assert!(writes > 40, "only {writes} writes were found");
}

#[test]
fn what_a_kill_left_half_written_is_no_obstacle() {
    let scene = Scene::new();
    let run = scene.out().join("run");
    scene.launch_into(&run, &ARGUMENTS).printed();
    let before = outcome(&run);
    let draft = run.join("checkpoints/draft");
    fs::create_dir(&draft).unwrap();
    fs::write(draft.join("model.bpk"), b"half").unwrap();
    let path = run.display().to_string();
    scene.run(&["train", "--resume", &path]).printed();
    assert_eq!(before, outcome(&run));
}

#[test]
fn only_the_last_and_the_best_checkpoints_are_kept() {
    let scene = Scene::new();
    let run = scene.out().join("run");
    scene.launch_into(&run, &ARGUMENTS).printed();
    let mut names: Vec<String> = fs::read_dir(run.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() <= 2, "{names:?}");
    assert_eq!(names.last().unwrap(), "epoch-0006");
    let path = run.display().to_string();
    let arguments = ["evaluate", "--run", &path, "--select", "validation"];
    scene.run(&arguments).printed();
}
