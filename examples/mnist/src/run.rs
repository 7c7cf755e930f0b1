//! The directory of a run, and what is recorded in it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Where runs go that were not told where to go.
const DEFAULT_PARENT: &str = "mnist-runs";

/// A directory that one run writes to.
pub struct RunDirectory {
    path: PathBuf,
}

/// The surroundings of a run, recorded with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    pub mnist: String,
    pub burn: String,
    pub device: String,
    pub data_dir: PathBuf,
    pub command_line: Vec<String>,
}

impl Provenance {
    pub fn of_this_run(device: &str, data_dir: &Path) -> Self {
        Self {
            mnist: env!("CARGO_PKG_VERSION").to_owned(),
            burn: locked_version("burn").to_owned(),
            device: device.to_owned(),
            data_dir: data_dir.to_owned(),
            command_line: std::env::args().collect(),
        }
    }
}

/// The version of `package` in the lock file that the program was built from.
fn locked_version(package: &str) -> &'static str {
    include_str!("../../../Cargo.lock")
        .split("[[package]]")
        .find_map(|entry| {
            let rest = entry
                .trim_start()
                .strip_prefix(&format!("name = \"{package}\"\nversion = \""))?;
            rest.split('"').next()
        })
        .unwrap_or("unknown")
}

impl RunDirectory {
    /// Makes the directory that `--out-dir` asks for, or the next free one of this `kind` of run.
    pub fn create(out_dir: Option<&Path>, kind: &str) -> Result<Self> {
        let Some(path) = out_dir else {
            let free = (1..)
                .map(|number| Path::new(DEFAULT_PARENT).join(format!("{kind}-{number}")))
                .find(|path| !path.exists())
                .expect("some number is free");
            return Self::at(free);
        };
        let holds_files = || Ok::<_, std::io::Error>(fs::read_dir(path)?.next().is_some());
        if path.exists() && holds_files().with_context(|| unusable(path))? {
            bail!(
                "--out-dir {}: not empty; name a new or an empty directory",
                path.display()
            );
        }
        Self::at(path.to_owned())
    }

    fn at(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| unusable(&path))?;
        Ok(Self { path })
    }

    /// A directory for a part of this run.
    pub fn part(&self, name: &str) -> Result<Self> {
        Self::at(self.path.join(name))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `value` to the file `name`, which is there in full or not at all.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.path.join(name);
        let draft = self.path.join(format!("{name}.draft"));
        let write = || -> Result<()> {
            let mut file = File::create(&draft)?;
            serde_json::to_writer_pretty(&mut file, value)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            Ok(fs::rename(&draft, &path)?)
        };
        write().with_context(|| format!("{}: cannot be written", path.display()))
    }

    /// Adds `value` as one line to the file `name`.
    pub fn append_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.path.join(name);
        let append = || -> Result<()> {
            let mut line = serde_json::to_vec(value)?;
            line.push(b'\n');
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            Ok(file.write_all(&line)?)
        };
        append().with_context(|| format!("{}: cannot be written", path.display()))
    }
}

fn unusable(path: &Path) -> String {
    format!(
        "--out-dir {}: cannot be used as a directory to write to",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_burn_is_known() {
        assert!(locked_version("burn").starts_with("0."));
    }
}
