//! Launching the program, and reading what it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::dataset;

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

    fn command(&self, arguments: &[&str]) -> Command {
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
        Launched(self.command(arguments).output().unwrap())
    }

    /// Launches the program on the data of this scene, to write to its `out`.
    pub fn launch(&self, arguments: &[&str]) -> Launched {
        self.launch_into(&self.out(), arguments)
    }

    pub fn launch_into(&self, out: &Path, arguments: &[&str]) -> Launched {
        Launched(self.command_into(out, arguments).output().unwrap())
    }

    /// Launches the program, which ends as if it were killed in front of its write number `write`, from zero on.
    pub fn launch_with_end_at(&self, write: usize, out: &Path, arguments: &[&str]) -> Launched {
        let mut command = self.command_into(out, arguments);
        let ending = match write {
            0 => "write=return".to_owned(),
            _ => format!("write={write}*off->return"),
        };
        Launched(command.env("FAILPOINTS", ending).output().unwrap())
    }

    /// Launches the program and does not wait for its end.
    pub fn start_into(&self, out: &Path, arguments: &[&str]) -> Child {
        let mut command = self.command_into(out, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
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
