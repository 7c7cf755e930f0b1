//! Runs that were stopped and go on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::RELATIVES;
use crate::launch::{LONG, Scene, finish, kill_at, loss_by_epoch};
use crate::remains::Remains;

/// Where the checkpoint of `epoch` is, in the directory of a run.
fn checkpoint(run: &Path, epoch: usize) -> PathBuf {
    run.join(format!("checkpoints/epoch-{epoch:04}"))
}

/// With every loss: all that holds its state is in a checkpoint. Where a margin or a weight can rise, it does so.
#[test]
fn a_killed_run_ends_bit_for_bit_as_one_that_was_not() {
    let scene = Scene::new();
    let short = ["--epochs", "2", "--batch-size", "8"];
    let mut joint = String::new();
    for loss in ["joint", "softmax", "center"].into_iter().chain(RELATIVES) {
        let rise = match loss {
            "joint" => &["--lambda-warmup", "1"][..],
            "cosface" | "arcface" | "adaface" => &["--margin-warmup", "1"],
            "center" => &["--from", &joint],
            _ => &[],
        };
        let arguments = [&["train", "--loss", loss], rise, &short].concat();
        let [whole, killed] = ["whole", "killed"].map(|name| scene.out().join(loss).join(name));
        scene.launch_into(&whole, &arguments).printed();
        kill_at(
            &checkpoint(&killed, 1),
            scene.command_into(&killed, &arguments),
        );
        let path = killed.display().to_string();
        scene.run(&["train", "--resume", &path]).printed();
        Remains::of(&whole).assert_equal(&Remains::of(&killed), loss);
        if loss == "joint" {
            joint = whole.display().to_string();
        }
    }
}

/// In front of every write of the program, from the first directory to the report.
#[test]
fn a_run_that_ends_in_front_of_any_write_goes_on_bit_for_bit() {
    let scene = Scene::new();
    let arguments = [
        &[
            "train",
            "--loss",
            "joint",
            "--epochs",
            "1",
            "--train-size",
            "4",
        ][..],
        &[
            "--batch-size",
            "4",
            "--validation-size",
            "3",
            "--test-size",
            "3",
        ],
    ]
    .concat();
    let whole = scene.out().join("whole");
    scene.launch_into(&whole, &arguments).printed();
    let whole = Remains::of(&whole);
    for write in 0.. {
        let ended = scene.out().join(format!("ended-{write}"));
        if scene
            .launch_with_end_at(write, &ended, &arguments)
            .succeeded()
        {
            // Those of an epoch, two checkpoints, four pictures and a report at the least.
            assert!(write > 30, "only {write} writes were found");
            return;
        }
        let way_on = match ended.join("run.json").exists() {
            true => scene.command(&["train", "--resume", &ended.display().to_string()]),
            // It had not begun, and what is there is no obstacle to beginning.
            false => scene.command_into(&ended, &arguments),
        };
        finish(way_on).printed();
        whole.assert_equal(&Remains::of(&ended), &format!("ended in front of {write}"));
        fs::remove_dir_all(&ended).unwrap();
    }
}

#[test]
fn a_run_goes_on_for_more_epochs() {
    let scene = Scene::new();
    let run = scene.out().display().to_string();
    let arguments = [
        "train",
        "--loss",
        "joint",
        "--epochs",
        "1",
        "--batch-size",
        "8",
    ];
    scene.launch(&arguments).printed();
    let resume = ["train", "--resume", &run];
    let fault = scene
        .run(&[&resume[..], &["--epochs", "2", "--lr", "0.1"]].concat())
        .fault();
    assert!(
        fault.contains("'--resume <DIR>' cannot be used with '--lr <RATE>'"),
        "{fault}"
    );
    let printed = scene
        .run(&[&resume[..], &["--epochs", "3"]].concat())
        .printed();
    assert!(printed.contains("epoch 3"), "{printed}");
    assert_eq!(loss_by_epoch(&scene.out()).len(), 3);
    let fault = scene
        .run(&[&resume[..], &["--epochs", "2"]].concat())
        .fault();
    assert!(
        fault.contains("--epochs 2: the run has gone through 3 already"),
        "{fault}"
    );
}

#[test]
fn what_a_kill_left_half_written_is_no_obstacle() {
    let scene = Scene::new();
    let whole = scene.out().join("whole");
    scene.launch_into(&whole, &LONG).printed();

    let killed = scene.out().join("killed");
    let command = scene.command_into(&killed, &LONG);
    kill_at(&checkpoint(&killed, 1), command);
    let draft = killed.join("checkpoints/draft");
    fs::create_dir_all(&draft).unwrap();
    fs::write(draft.join("model.bpk"), b"half").unwrap();
    fs::write(killed.join("metrics.jsonl.draft"), b"half").unwrap();
    let path = killed.display().to_string();
    scene.run(&["train", "--resume", &path]).printed();
    Remains::of(&whole).assert_equal(&Remains::of(&killed), "killed within a write");
}

#[test]
fn only_the_last_checkpoint_is_kept() {
    let scene = Scene::new();
    let run = scene.out().join("run");
    scene.launch_into(&run, &LONG).printed();
    let names = || {
        let entries = fs::read_dir(run.join("checkpoints")).unwrap();
        let mut names = Vec::from_iter(entries.map(|entry| entry.unwrap().file_name()));
        names.sort();
        names
    };
    assert_eq!(names(), ["epoch-0004"]);

    // As a kill leaves it behind the last checkpoint, within the removal of an older one.
    let path = run.display().to_string();
    fs::create_dir(checkpoint(&run, 0)).unwrap();
    scene.run(&["train", "--resume", &path]).printed();
    assert_eq!(names(), ["epoch-0004"]);
    scene.run(&["evaluate", "--run", &path]).printed();
}
