//! Readers that go away, and Ctrl-C.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::launch::{LONG, Scene, loss_by_epoch, wait_for};

#[test]
fn a_reader_that_goes_away_ends_no_training() {
    let scene = Scene::new();
    let mut child = scene
        .command_into(&scene.out(), &["--epochs", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success());
    assert!(scene.out().join("report.html").is_file());
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    let scene = Scene::new();
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = scene.command_into(
        &scene.out(),
        &["train", "--loss", "softmax", "--epochs", "1"],
    );
    let output = command.stdout(full.unwrap()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("standard output"), "{complaint}");
    assert!(scene.out().join("report.html").is_file());
}

/// `command`, which Ctrl-C reaches even if whoever started the test ignores it.
fn interruptible(command: Command) -> Command {
    let mut env = Command::new("env");
    if cfg!(target_os = "linux") {
        env.arg("--default-signal=INT");
    }
    env.arg(command.get_program());
    env.args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        env.current_dir(directory);
    }
    env.stdout(Stdio::piped()).stderr(Stdio::piped());
    env
}

fn press_ctrl_c(child: &Child) {
    let mut kill = Command::new("kill");
    let sent = kill.args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn ctrl_c_names_the_command_that_goes_on() {
    let scene = Scene::new();
    let whole = scene.out().join("whole");
    scene.launch_into(&whole, &LONG).printed();

    let stopped = scene.out().join("stopped by a person");
    let mut command = interruptible(scene.command_into(&stopped, &LONG));
    let child = command.spawn().unwrap();
    wait_for(&stopped.join("checkpoints/epoch-0001"));
    press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the last whole epoch is in"), "{said}");

    let command = said.lines().last().unwrap();
    let resumed = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(resumed.status.success(), "{command}");
    assert_eq!(loss_by_epoch(&whole), loss_by_epoch(&stopped));
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let scene = Scene::new();
    let mut command = interruptible(scene.command_into(&scene.out(), &LONG));
    // Ten minutes within the writing of the first snapshot.
    command.env("FAILPOINTS", "write=20*off->sleep(600000)");
    let mut child = command.spawn().unwrap();
    wait_for(&scene.out().join("snapshots/epoch-0001.json.draft"));
    press_ctrl_c(&child);
    sleep(Duration::from_millis(500));
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first ended a write"
    );
    press_ctrl_c(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
