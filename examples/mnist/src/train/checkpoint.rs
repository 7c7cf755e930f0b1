//! Checkpoints: all that a training run needs in order to go on, in one directory per epoch.
//!
//! A checkpoint is written under another name and then renamed, and older ones are removed only after that, so that
//! whenever the program is killed a whole one is left.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::store::ModuleRecord;

use super::history::State;
use crate::network::Model;
use crate::run::{RunDirectory, before_write, read_json, write_json};

const DIRECTORY: &str = "checkpoints";
const DRAFT: &str = "draft";
const PREFIX: &str = "epoch-";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const SCHEDULER: &str = "scheduler.bpk";
const STATE: &str = "state.json";

/// Writes the checkpoint of `state`, then removes those that are neither the last nor the best.
pub fn save(
    run: &RunDirectory,
    state: &State,
    model: &Model,
    optimizer: &ModuleOptimizer,
    scheduler: &ModuleLrScheduler,
) -> Result<()> {
    let directory = run.part(DIRECTORY)?;
    let draft = directory.path().join(DRAFT);
    let path = directory.path().join(name(state.epoch));
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
        before_write();
        scheduler.to_record().save(draft.join(SCHEDULER))?;
        write_json(&draft.join(STATE), state)?;
        for file in [MODEL, OPTIMIZER, SCHEDULER] {
            File::open(draft.join(file))?.sync_all()?;
        }
        before_write();
        Ok(fs::rename(&draft, &path)?)
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))?;
    remove_old(run, state)
}

/// Removes the checkpoints that are neither the last nor the best of a run that has come as far as `state`.
pub fn remove_old(run: &RunDirectory, state: &State) -> Result<()> {
    for (epoch, old) in all(run.path())? {
        if epoch != state.epoch && epoch != state.best_epoch() {
            before_write();
            fs::remove_dir_all(&old)
                .with_context(|| format!("{}: cannot be removed", old.display()))?;
        }
    }
    Ok(())
}

/// The last checkpoint of the run in `run`, if it has one.
pub fn last(run: &Path) -> Result<Option<PathBuf>> {
    Ok(all(run)?.pop().map(|(_, path)| path))
}

/// The checkpoint of `epoch` of the run in `run`.
pub fn of_epoch(run: &Path, epoch: usize) -> PathBuf {
    run.join(DIRECTORY).join(name(epoch))
}

pub fn state(checkpoint: &Path) -> Result<State> {
    read_json(&checkpoint.join(STATE))
}

pub fn model_record(checkpoint: &Path) -> Result<ModuleRecord> {
    let path = checkpoint.join(MODEL);
    ModuleRecord::load(&path).map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// The optimizer and the scheduler as they were, from those of the same recipe.
pub fn restore(
    checkpoint: &Path,
    optimizer: ModuleOptimizer,
    scheduler: ModuleLrScheduler,
) -> Result<(ModuleOptimizer, ModuleLrScheduler)> {
    let path = checkpoint.join(OPTIMIZER);
    let optimizer = optimizer
        .load(&path)
        .map_err(|error| anyhow!("{}: {error}", path.display()))?;
    let path = checkpoint.join(SCHEDULER);
    let record =
        LrSchedulerRecord::load(&path).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok((optimizer, scheduler.load_record(record)))
}

fn name(epoch: usize) -> String {
    format!("{PREFIX}{epoch:04}")
}

/// The committed checkpoints by their epochs, in order.
fn all(run: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let directory = run.join(DIRECTORY);
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut checkpoints = Vec::new();
    for entry in fs::read_dir(&directory)
        .with_context(|| format!("{}: cannot be read", directory.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let epoch = name
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|epoch| epoch.parse().ok());
        if let Some(epoch) = epoch {
            checkpoints.push((epoch, path));
        }
    }
    checkpoints.sort();
    Ok(checkpoints)
}
