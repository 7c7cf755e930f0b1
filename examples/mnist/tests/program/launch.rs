//! Launching the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::dataset;

/// A place of its own for a test: the data, and where the program writes.
pub struct Scene {
    directory: TempDir,
}

impl Scene {
    pub fn new() -> Self {
        let scene = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        dataset::write(&scene.data());
        scene
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    /// Launches the program on the data of this scene, to write to its `out`.
    pub fn launch(&self, arguments: &[&str]) -> Launched {
        self.launch_into(&self.out(), arguments)
    }

    pub fn launch_into(&self, out: &Path, arguments: &[&str]) -> Launched {
        let output = Command::new(env!("CARGO_BIN_EXE_mnist"))
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data())
            .arg("--out-dir")
            .arg(out)
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        Launched(output)
    }
}

/// What came of a launch.
pub struct Launched(Output);

impl Launched {
    /// What the program printed, having ended well.
    pub fn printed(&self) -> String {
        assert!(self.0.status.success(), "{}", self.complaint());
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// What the program complained about, having failed.
    pub fn fault(&self) -> String {
        assert!(!self.0.status.success(), "no failure");
        let complaint = self.complaint();
        assert!(!complaint.contains("panicked"), "{complaint}");
        complaint
    }

    fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}
