//! The directory of a run, and what is recorded in it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Source;

/// Where runs go that were not told where to go.
const DEFAULT_PARENT: &str = "mnist-runs";

/// The file that says what a run is to do, and where.
pub const RUN: &str = "run.json";

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
    pub data: Source,
    pub command_line: Vec<String>,
}

impl Provenance {
    pub fn of_this_run(device: &str, data: Source) -> Self {
        Self {
            mnist: env!("CARGO_PKG_VERSION").to_owned(),
            burn: locked_version("burn").to_owned(),
            device: device.to_owned(),
            data,
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
        let holds_files = || -> std::io::Result<bool> {
            let names: Vec<_> = fs::read_dir(path)?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<_>>()?;
            // A run that was killed before it began leaves a draft.
            Ok(names.iter().any(|name| *name != draft(&path.join(RUN))))
        };
        if path.exists() && holds_files().with_context(|| unusable(path))? {
            bail!(
                "--out-dir {}: not empty; name a new or an empty directory",
                path.display()
            );
        }
        Self::at(path.to_owned())
    }

    /// Opens the directory of a run that was begun before, as `--resume` or `--run` asks for.
    pub fn open(path: &Path) -> Result<Self> {
        ensure!(
            path.join(RUN).is_file(),
            "{}: not the directory of a run; it has no {RUN}",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
        })
    }

    fn at(path: PathBuf) -> Result<Self> {
        before_write();
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

    /// Writes `value` to the file `name`.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.path.join(name), value)
    }

    /// Writes `values` to the file `name`, one line each.
    pub fn write_json_lines(&self, name: &str, values: &[impl Serialize]) -> Result<()> {
        let mut lines = Vec::new();
        for value in values {
            serde_json::to_writer(&mut lines, value)?;
            lines.push(b'\n');
        }
        write(&self.path.join(name), &lines)
    }
}

/// Writes `value` to the file `path`.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Writes a file that is there in full or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = draft(path);
    let write = || -> std::io::Result<()> {
        before_write();
        let mut file = File::create(&draft)?;
        before_write();
        file.write_all(bytes)?;
        file.sync_all()?;
        before_write();
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}

/// Where a file is written before it is renamed to `path`.
fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    draft.into()
}

/// To be called before everything that changes a run's directory: tests end the program here, time after time.
pub fn before_write() {
    fail::fail_point!("write", |_| std::process::abort());
}

/// Reads what [`write_json`] wrote.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{}: not what this program writes", path.display()))
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
