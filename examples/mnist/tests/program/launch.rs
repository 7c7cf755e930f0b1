//! Launching the program, and reading what it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::dataset;

/// Long enough to be stopped on the way.
pub const LONG: [&str; 7] = [
    "train",
    "--loss",
    "joint",
    "--epochs",
    "4",
    "--batch-size",
    "4",
];

/// A place of its own for a test: the data, and where the program writes.
pub struct Scene {
    directory: TempDir,
}

impl Scene {
    pub fn new() -> Self {
        let scene = Self::empty();
        dataset::write(&scene.data());
        scene
    }

    /// A place whose data is still to be written.
    pub fn empty() -> Self {
        let scene = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(scene.data()).unwrap();
        scene
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    /// The program with nothing but `arguments`, to be launched.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mnist"));
        command.args(arguments).current_dir(self.directory.path());
        command
    }

    /// The program on the data of this scene, to be launched.
    pub fn command_into(&self, out: &Path, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.arg("--data-dir").arg(self.data());
        command.arg("--out-dir").arg(out);
        command
    }

    /// Launches the program with nothing but `arguments`.
    pub fn run(&self, arguments: &[&str]) -> Launched {
        finish(self.command(arguments))
    }

    /// Launches the program on the data of this scene, to write to its `out`.
    pub fn launch(&self, arguments: &[&str]) -> Launched {
        self.launch_into(&self.out(), arguments)
    }

    pub fn launch_into(&self, out: &Path, arguments: &[&str]) -> Launched {
        finish(self.command_into(out, arguments))
    }

    /// Launches the program, which ends as if it were killed in front of its write number `write`, from zero on.
    pub fn launch_with_end_at(&self, write: usize, out: &Path, arguments: &[&str]) -> Launched {
        let mut command = self.command_into(out, arguments);
        let ending = match write {
            0 => "write=return".to_owned(),
            _ => format!("write={write}*off->return"),
        };
        command.env("FAILPOINTS", ending);
        finish(command)
    }
}

/// Launches `command` and waits for its end.
pub fn finish(mut command: Command) -> Launched {
    Launched(command.output().unwrap())
}

/// Launches `command` and kills it as soon as `path` is there.
pub fn kill_at(path: &Path, mut command: Command) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_for(path);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Waits until another process has made `path`.
pub fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(120), "no {}", path.display());
        sleep(Duration::from_millis(2));
    }
}

/// What came of a launch.
pub struct Launched(Output);

impl Launched {
    pub fn succeeded(&self) -> bool {
        self.0.status.success()
    }

    /// What the program printed, having ended well.
    pub fn printed(&self) -> String {
        assert!(self.succeeded(), "{}", self.complaint());
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// What the program complained about, having failed.
    pub fn fault(&self) -> String {
        assert!(!self.succeeded(), "no failure");
        let complaint = self.complaint();
        assert!(!complaint.contains("panicked"), "{complaint}");
        complaint
    }

    fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

pub fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

pub fn json_lines(path: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(path).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The training losses of the run in `run`, in all their digits.
pub fn loss_by_epoch(run: &Path) -> Vec<String> {
    json_lines(&run.join("metrics.jsonl"))
        .iter()
        .map(|metrics| metrics["train_loss"].to_string())
        .collect()
}
