//! The directory of a run: who writes to it, what is recorded in it, and files that are there in full or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Source;

/// Where runs go that were not told where to go.
const DEFAULT_PARENT: &str = "mnist-runs";
/// The file that says what a run is to do, and where.
const RUN: &str = "run.json";
/// The file that the program holds locked while it writes to a run.
const LOCK: &str = "lock";

/// A directory that one program at a time writes to.
pub struct RunDirectory {
    path: PathBuf,
    /// Unlocked when it is closed. `None` where only files are added that the run itself never reads.
    _lock: Option<File>,
}

/// The surroundings of a run, recorded with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The command that goes on with the run.
    pub command: String,
    pub mnist: String,
    pub burn: String,
    pub device: String,
    pub data: Source,
    pub command_line: Vec<String>,
}

impl Provenance {
    pub fn of_this_run(command: &str, device: &str, data: Source) -> Self {
        Self {
            command: command.to_owned(),
            mnist: env!("CARGO_PKG_VERSION").to_owned(),
            burn: burn_version().to_owned(),
            device: device.to_owned(),
            data,
            command_line: std::env::args().collect(),
        }
    }
}

/// The version of Burn in the lock file that the program was built from.
fn burn_version() -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let entry = lock.split_once("name = \"burn\"\nversion = \"");
    let version = entry.and_then(|(_, version)| version.split('"').next());
    version.unwrap_or("unknown")
}

impl RunDirectory {
    /// Makes the directory that `--out-dir` asks for, or the next free one of this `kind` of run.
    pub fn create(out_dir: Option<&Path>, kind: &str) -> Result<Self> {
        before_write();
        let Some(path) = out_dir else {
            let parent = Path::new(DEFAULT_PARENT);
            fs::create_dir_all(parent).with_context(|| unusable(parent))?;
            let mut paths = (1..).map(|number| parent.join(format!("{kind}-{number}")));
            let made = paths.find_map(|path| match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                made => Some(made.with_context(|| unusable(&path)).map(|()| path)),
            });
            return Self::locked(made.expect("numbers do not end")?);
        };
        let begin = || -> Result<Self> {
            fs::create_dir_all(path).with_context(|| unusable(path))?;
            ensure_empty(path)?;
            let run = Self::locked(path.to_owned())?;
            // Another program may have begun, and ended, in the meantime.
            ensure_empty(path)?;
            Ok(run)
        };
        begin().context("--out-dir")
    }

    /// The directory of a run that was begun before, to be looked at.
    pub fn open(path: &Path) -> Result<Self> {
        ensure!(
            path.join(RUN).is_file(),
            "{}: not the directory of a run; it has no {RUN}",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
            _lock: None,
        })
    }

    /// The directory of a run that was begun before, to go on.
    pub fn resume(path: &Path) -> Result<Self> {
        Self::open(path).context("--resume")?;
        Self::locked(path.to_owned())
    }

    fn locked(path: PathBuf) -> Result<Self> {
        let mut options = File::options();
        let lock = options.create(true).append(true).open(path.join(LOCK));
        let lock = lock.with_context(|| unusable(&path))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            bail!(
                "{}: another mnist writes to this directory; wait for its end, or name another directory",
                path.display()
            );
        }
        // A file system without locks lets everyone in.
        let _lock = Some(lock);
        Ok(Self { path, _lock })
    }

    /// A run of its own that is a part of this one.
    pub fn run(&self, name: &str) -> Result<Self> {
        Self::locked(self.folder(name)?)
    }

    /// A directory within this one.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        if !path.is_dir() {
            before_write();
            fs::create_dir_all(&path).with_context(|| unusable(&path))?;
        }
        Ok(path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records what is to be done here.
    pub fn record(&self, job: &impl Serialize) -> Result<()> {
        write_json(&self.path.join(RUN), job)
    }

    /// What is to be done here, recorded by `command`.
    pub fn job<T: DeserializeOwned>(&self, command: &str) -> Result<T> {
        let path = self.path.join(RUN);
        let value: serde_json::Value = read_json(&path)?;
        let recorded = value["provenance"]["command"].as_str().unwrap_or("unknown");
        ensure!(
            recorded == command,
            "{place}: a run of `{recorded}`, not of `{command}`; `{recorded} --resume {place}` goes on with it, and \
             directories in it may be runs of their own",
            place = self.path.display()
        );
        serde_json::from_value(value).with_context(|| foreign(&path))
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

/// Refuses a directory with more than what a run leaves that was killed before it began: a lock and a draft.
fn ensure_empty(path: &Path) -> Result<()> {
    let leftovers = [path.join(LOCK), draft(&path.join(RUN))];
    for entry in fs::read_dir(path).with_context(|| unusable(path))? {
        let entry = entry.with_context(|| unusable(path))?.path();
        ensure!(
            leftovers.contains(&entry),
            "{}: not empty; name a new or an empty directory",
            path.display()
        );
    }
    Ok(())
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
    serde_json::from_slice(&bytes).with_context(|| foreign(path))
}

fn foreign(path: &Path) -> String {
    format!("{}: not what this program writes", path.display())
}

fn unusable(path: &Path) -> String {
    let path = path.display();
    format!("{path}: cannot be used as a directory to write to")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_burn_is_known() {
        assert!(burn_version().starts_with("0."));
    }

    #[test]
    fn a_directory_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        let first = RunDirectory::create(Some(&path), "train").unwrap();
        let fault = RunDirectory::create(Some(&path), "train").map(|_| ());
        let fault = format!("{:#}", fault.unwrap_err());
        assert!(fault.contains("another mnist"), "{fault}");
        first.record(&"job").unwrap();
        assert!(RunDirectory::resume(&path).is_err());
        drop(first);
        RunDirectory::resume(&path).unwrap();
    }
}
