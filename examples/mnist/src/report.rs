//! The report: one page that holds all there is to see of a run or a comparison, and loads nothing. Without its script
//! it shows the last epoch.

use std::path::{Path, PathBuf};

use anyhow::Result;
use minijinja::{Environment, value::Serde};
use serde_json::{Value, json};

use crate::data::Source;
use crate::pictures::{Maps, gallery_lines, panel, save_png};
use crate::plot::{DAY, NAMES, NIGHT, gallery};
use crate::recipe::{Changes, value};
use crate::results::{Row, Table};
use crate::run::{RunDirectory, read_json, write};
use crate::train::{Trained, TrainingJob};

/// The kinds of ROC curves.
pub const VERIFICATION: &str = "verification";
pub const OPEN_SET: &str = "open-set";

/// Where an evaluation leaves the ROC curves of `kind`, in the directory of a run.
pub fn roc_path(run: &Path, kind: &str) -> PathBuf {
    run.join(format!("roc-{kind}.json"))
}

/// One training run of the report, in the directory `run`.
pub struct Part {
    pub job: TrainingJob,
    pub trained: Trained,
    pub maps: Maps,
    pub run: PathBuf,
}

/// Writes the report of `parts` into `directory`, and says where it is.
pub fn write_report(
    source: &Source,
    table: Option<&Table>,
    parts: &[Part],
    directory: &RunDirectory,
) -> Result<PathBuf> {
    let runs = parts.iter().map(|part| run(part, table));
    let page = json!({
        "title": format!("LeNet++ on {}", source.name()),
        "colours": NAMES,
        "day": DAY,
        "night": NIGHT,
        "cells": table.map(Table::cells),
        "notes": table.map(Table::notes),
        "runs": runs.collect::<Result<Vec<_>>>()?,
        "settings": settings(parts),
        "made": parts.first().map(|part| &part.job.provenance),
    });
    // By its name, text is escaped.
    let name = "report.html";
    let html =
        Environment::new().render_named_str(name, include_str!("report.html"), Serde(page))?;
    let path = directory.path().join(name);
    write(&path, html.as_bytes())?;
    Ok(path)
}

/// Draws the test samples of the first seed of every loss, with the row of the table below each.
pub fn draw_gallery(table: &Table, parts: &[Part], directory: &RunDirectory) -> Result<()> {
    let panel = |row: &Row| {
        let part = parts.iter().find(|part| part.job.recipe.loss == row.loss)?;
        Some(panel(row, &table.classes, part.trained.snapshots.last()?))
    };
    let panels = Vec::from_iter(table.rows.iter().filter_map(panel));
    save_png(&gallery(&panels)?, &directory.path().join("gallery.png"))?;
    Ok(())
}

/// What the page shows of a run: its maps, and the numbers that the script draws.
fn run(part: &Part, table: Option<&Table>) -> Result<Value> {
    let (recipe, state) = (&part.job.recipe, &part.trained.state);
    let of_loss = |row: &&Row| row.loss == recipe.loss;
    let row = table.and_then(|table| table.rows.iter().find(of_loss));
    let mut roc: Vec<Value> = Vec::new();
    for kind in [VERIFICATION, OPEN_SET] {
        let path = roc_path(&part.run, kind);
        if path.exists() {
            roc.push(read_json(&path)?);
        }
    }
    Ok(json!({
        "title": format!("{}, seed {}", recipe.loss.name(), recipe.seed),
        "maps": part.maps,
        "epoch": state.epoch,
        "lines": row.map(gallery_lines),
        "last": state.history.last().map(|last| format!("Epoch {}: {last}", last.epoch)),
        "data": { "history": state.history, "roc": roc },
    }))
}

/// The settings in the words of the command line, with a value for each run.
fn settings(parts: &[Part]) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    for (field, help) in Changes::described() {
        let has = |part: &Part| part.job.recipe.loss.has(&field);
        let shown = |part: &Part| value(&part.job.recipe, &field).filter(|_| has(part));
        let cell = |part: &Part| shown(part).unwrap_or("-".to_owned());
        if parts.iter().any(has) {
            let name = format!("{help} (--{})", field.replace('_', "-"));
            rows.push((name.replace('`', ""), parts.iter().map(cell).collect()));
        }
    }
    rows
}
