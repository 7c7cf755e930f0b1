//! Runs that were stopped and go on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::launch::{SIX_EPOCHS, Scene, finish, kill_at};
use crate::remains::Remains;

/// A run of two epochs of two steps, as quick as one can be.
const SHORT: [&str; 11] = [
    "train",
    "--epochs",
    "2",
    "--batch-size",
    "4",
    "--train-size",
    "8",
    "--validation-size",
    "3",
    "--test-size",
    "3",
];
const SHORT_EPOCHS: usize = 2;

/// The losses over angles. Where the margin can rise, it does so until the end.
const OVER_ANGLES: [&[&str]; 6] = [
    &["--loss", "normalized-softmax"],
    &["--loss", "cosface", "--margin-warmup", "1"],
    &["--loss", "arcface", "--margin-warmup", "1"],
    &["--loss", "sphereface"],
    &["--loss", "adaface", "--margin-warmup", "1"],
    &["--loss", "proxy-anchor"],
];

/// Where the checkpoint of `epoch` is, in the directory of a run.
fn checkpoint(run: &Path, epoch: usize) -> PathBuf {
    run.join(format!("checkpoints/epoch-{epoch:04}"))
}

#[test]
fn a_killed_run_ends_bit_for_bit_as_one_that_was_not() {
    let scene = Scene::new();
    let whole = scene.out().join("whole");
    scene.launch_into(&whole, &SIX_EPOCHS).printed();
    for epochs in [0, 1, 3] {
        let killed = scene.out().join(format!("killed-{epochs}"));
        let command = scene.command_into(&killed, &SIX_EPOCHS);
        kill_at(&checkpoint(&killed, epochs), command);
        let path = killed.display().to_string();
        scene.run(&["train", "--resume", &path]).printed();
        let what = format!("killed after {epochs}");
        Remains::of(&whole).assert_equal(&Remains::of(&killed), &what);
    }
}

/// How far a run is followed.
#[derive(Clone, Copy)]
enum Until {
    /// To the end, with pictures and report.
    Drawn,
    /// To the last checkpoint.
    Trained,
}

impl Until {
    fn remains(self, run: &Path) -> Remains {
        match self {
            Self::Drawn => Remains::of(run),
            Self::Trained => Remains::of_training(run, SHORT_EPOCHS),
        }
    }
}

/// Asserts that a short run with `options` leaves the same as ever after it ended in front of any of its writes and went
/// on. Returns the number of these writes.
fn assert_goes_on_from_any_write(options: &[&str], until: Until) -> usize {
    let scene = Scene::new();
    let arguments = [&SHORT[..], options].concat();
    let whole = scene.out().join("whole");
    scene.launch_into(&whole, &arguments).printed();
    let whole = until.remains(&whole);

    for write in 0.. {
        let ended = scene.out().join(format!("ended-{write}"));
        let launched = scene.launch_with_end_at(write, &ended, &arguments);
        let last = checkpoint(&ended, SHORT_EPOCHS);
        let is_over = match until {
            Until::Drawn => launched.succeeded(),
            Until::Trained => last.exists(),
        };
        if is_over {
            return write;
        }
        let way_on = match ended.join("run.json").exists() {
            true => scene.command(&["train", "--resume", &ended.display().to_string()]),
            // It had not begun, and what is there is no obstacle to beginning.
            false => scene.command_into(&ended, &arguments),
        };
        match until {
            Until::Drawn => drop(finish(way_on).printed()),
            Until::Trained => kill_at(&last, way_on),
        }
        let what = format!("{options:?}, ended in front of {write}");
        whole.assert_equal(&until.remains(&ended), &what);
        fs::remove_dir_all(&ended).unwrap();
    }
    unreachable!("a run has a last write")
}

/// In front of every write of the program, from the first directory to the report.
#[test]
fn a_run_that_ends_in_front_of_any_write_goes_on_bit_for_bit() {
    let joint = ["--loss", "joint", "--lambda-warmup", "1"];
    let writes = assert_goes_on_from_any_write(&joint, Until::Drawn);
    // Those of two epochs, three checkpoints, six pictures and a report at the least.
    assert!(writes > 50, "only {writes} writes were found");
}

/// In front of every write of training, for each loss over angles: from the first directory to what commits the last
/// checkpoint, so that all that holds the state of a loss is among them. What is drawn from it afterwards knows nothing
/// of the loss, and takes most of the time: the test above goes through that.
#[test]
fn training_over_angles_that_ends_in_front_of_any_write_goes_on_bit_for_bit() {
    for options in OVER_ANGLES {
        let writes = assert_goes_on_from_any_write(options, Until::Trained);
        // Those of two epochs and three checkpoints at the least.
        assert!(writes > 40, "{options:?}: only {writes} writes were found");
    }
}

#[test]
fn what_a_kill_left_half_written_is_no_obstacle() {
    let scene = Scene::new();
    let whole = scene.out().join("whole");
    scene.launch_into(&whole, &SIX_EPOCHS).printed();

    let killed = scene.out().join("killed");
    let command = scene.command_into(&killed, &SIX_EPOCHS);
    kill_at(&checkpoint(&killed, 2), command);
    let draft = killed.join("checkpoints/draft");
    fs::create_dir_all(&draft).unwrap();
    fs::write(draft.join("model.bpk"), b"half").unwrap();
    fs::write(killed.join("metrics.jsonl.draft"), b"half").unwrap();
    let path = killed.display().to_string();
    scene.run(&["train", "--resume", &path]).printed();
    Remains::of(&whole).assert_equal(&Remains::of(&killed), "killed within a write");
}

#[test]
fn only_the_last_and_the_best_checkpoints_are_kept() {
    let scene = Scene::new();
    let run = scene.out().join("run");
    scene.launch_into(&run, &SIX_EPOCHS).printed();
    let names = || {
        let entries = fs::read_dir(run.join("checkpoints")).unwrap();
        let mut names = Vec::from_iter(entries.map(|entry| entry.unwrap().file_name()));
        names.sort();
        names
    };
    let kept = names();
    assert!(kept.len() <= 2, "{kept:?}");
    assert_eq!(kept.last().unwrap(), "epoch-0006");

    // As a kill leaves it behind the last checkpoint, within the removal of an older one.
    let path = run.display().to_string();
    fs::create_dir(checkpoint(&run, 0)).unwrap();
    scene.run(&["train", "--resume", &path]).printed();
    assert_eq!(names(), kept);
    let arguments = ["evaluate", "--run", &path, "--select", "validation"];
    scene.run(&arguments).printed();
}
