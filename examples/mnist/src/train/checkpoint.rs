//! Checkpoints: all that a training run needs in order to go on, in one directory per epoch.
//!
//! A checkpoint is written under another name and then renamed, and older ones are removed only after that, so that
//! whenever the program is killed a whole one is left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use flate2::Crc;

use super::history::State;
use crate::data::Classes;
use crate::network::Model;
use crate::run::{RunDirectory, before_write, read_json, write_json};

const DIRECTORY: &str = "checkpoints";
const DRAFT: &str = "draft";
const PREFIX: &str = "epoch-";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const STATE: &str = "state.json";
/// The checksums of the other files, by their names.
const CHECKSUMS: &str = "checksums.json";

/// A checkpoint that was committed, by its directory.
pub struct Checkpoint(PathBuf);

impl Checkpoint {
    /// The last one of the run in `run`, if it has one.
    pub fn last(run: &Path) -> Result<Option<Self>> {
        Ok(all(run)?.pop().map(|(_, path)| Self(path)))
    }

    /// Writes the checkpoint of `state`, then removes older ones.
    pub fn save(
        run: &RunDirectory,
        state: &State,
        model: &Model,
        optimizer: &ModuleOptimizer,
    ) -> Result<()> {
        let directory = run.folder(DIRECTORY)?;
        let draft = directory.join(DRAFT);
        let path = directory.join(format!("{PREFIX}{:04}", state.epoch));
        let write = || -> Result<()> {
            if draft.exists() {
                before_write();
                fs::remove_dir_all(&draft)?;
            }
            before_write();
            fs::create_dir(&draft)?;
            before_write();
            model.clone().into_record().save(draft.join(MODEL))?;
            before_write();
            optimizer.save(draft.join(OPTIMIZER))?;
            write_json(&draft.join(STATE), state)?;
            let mut checksums = BTreeMap::new();
            for file in [MODEL, OPTIMIZER, STATE] {
                File::open(draft.join(file))?.sync_all()?;
                checksums.insert(file, checksum(&draft.join(file))?);
            }
            write_json(&draft.join(CHECKSUMS), &checksums)?;
            before_write();
            Ok(fs::rename(&draft, &path)?)
        };
        write().with_context(|| format!("{}: cannot be written", path.display()))?;
        Self::remove_old(run)
    }

    /// Removes all but the last one.
    pub fn remove_old(run: &RunDirectory) -> Result<()> {
        let mut old = all(run.path())?;
        old.pop();
        for (_, path) in old {
            before_write();
            fs::remove_dir_all(&path)
                .with_context(|| format!("{}: cannot be removed", path.display()))?;
        }
        Ok(())
    }

    /// How far the run had come, which was trained on data with `classes`.
    pub fn state(&self, classes: &Classes) -> Result<State> {
        let state: State = read_json(&self.checked(STATE)?)?;
        ensure!(
            state.classes == *classes,
            "the run was trained on the labels {}, but the data has the labels {classes}",
            state.classes
        );
        Ok(state)
    }

    pub fn model(&self) -> Result<ModuleRecord> {
        let path = self.checked(MODEL)?;
        ModuleRecord::load(&path).map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    /// The optimizer as it was, from one of the same recipe.
    pub fn optimizer(&self, optimizer: ModuleOptimizer) -> Result<ModuleOptimizer> {
        let path = self.checked(OPTIMIZER)?;
        let record = OptimizerRecord::load(&path);
        let record = record.map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Ok(optimizer.load_record(record))
    }

    /// Where `file` is, whose content is what was written.
    fn checked(&self, file: &str) -> Result<PathBuf> {
        let path = self.0.join(file);
        let check = || -> Result<()> {
            let checksums: BTreeMap<String, u32> = read_json(&self.0.join(CHECKSUMS))?;
            let is_whole = checksums.get(file) == Some(&checksum(&path)?);
            let path = path.display();
            ensure!(
                is_whole,
                "{path}: not what was written; its checksum differs"
            );
            Ok(())
        };
        check().with_context(|| {
            let checkpoint = self.0.display();
            format!("a corrupt checkpoint; without the directory {checkpoint} the run begins anew")
        })?;
        Ok(path)
    }
}

fn checksum(path: &Path) -> Result<u32> {
    let mut crc = Crc::new();
    crc.update(&fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?);
    Ok(crc.sum())
}

/// The committed checkpoints by their epochs, in order.
fn all(run: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let directory = run.join(DIRECTORY);
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&directory);
    let entries = entries.with_context(|| format!("{}: cannot be read", directory.display()))?;
    let checkpoint = |path: PathBuf| {
        let epoch = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
        Some((epoch.parse().ok()?, path))
    };
    let mut checkpoints = Vec::new();
    for entry in entries {
        checkpoints.extend(checkpoint(entry?.path()));
    }
    checkpoints.sort();
    Ok(checkpoints)
}
