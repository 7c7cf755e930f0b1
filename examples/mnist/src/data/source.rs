//! Where samples come from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The directory with the data that comes with the program.
pub const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

/// Where the samples of a run come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// An absolute path.
    pub directory: PathBuf,
    /// Which of several splits in the directory is read, as `--split` names it.
    pub split: Option<String>,
    /// Whether rows and columns of the images are exchanged; `None` exchanges those of EMNIST's files.
    pub transpose: Option<bool>,
}

impl Source {
    pub fn is_bundled(&self) -> bool {
        let bundled = Path::new(BUNDLED).canonicalize();
        bundled.is_ok_and(|bundled| bundled == self.directory)
    }

    /// What the data is called in titles.
    pub fn name(&self) -> String {
        let directory = self.directory.file_name().unwrap_or_default();
        match &self.split {
            _ if self.is_bundled() => "MNIST".to_owned(),
            Some(split) => format!("{} {split}", directory.display()),
            None => directory.display().to_string(),
        }
    }
}
