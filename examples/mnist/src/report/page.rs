//! The page, filled in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::job::TrainingJob;
use crate::pictures::{
    OPEN_SET, TEST, TRAIN, VERIFICATION, curves_of, gallery_path, map_path, roc_path,
};
use crate::plot::Curves;
use crate::results::Table;
use crate::run::{RunDirectory, write};
use crate::train::Trained;

const NAME: &str = "report.html";
const TEMPLATE: &str = include_str!("page.html");
/// What the template has in the place of the data.
const DATA: &str = "{{data}}";

/// One training run of the report.
pub struct Part<'a> {
    pub job: &'a TrainingJob,
    pub trained: &'a Trained,
    pub directory: &'a RunDirectory,
}

/// All that the page's script works with.
#[derive(Serialize)]
struct Page {
    title: String,
    table: Option<PageTable>,
    /// All losses in one picture.
    gallery: Option<String>,
    runs: Vec<PageRun>,
}

#[derive(Serialize)]
struct PageTable {
    cells: Vec<Vec<String>>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct PageRun {
    name: String,
    summary: String,
    curves: [Curves; 2],
    /// ROC curves, each with what it is of; none before an evaluation.
    rocs: Vec<(String, String)>,
    train: Vec<String>,
    test: Vec<String>,
    settings: Vec<(String, String)>,
}

/// Writes the report of `parts`, whose pictures are drawn, into `directory`, and says where it is.
pub fn write_report(
    title: &str,
    table: Option<&Table>,
    parts: &[Part<'_>],
    directory: &RunDirectory,
) -> Result<PathBuf> {
    let page = Page {
        title: title.to_owned(),
        table: table.map(|table| PageTable {
            cells: table.cells(),
            notes: table.notes(),
        }),
        gallery: match gallery_path(directory.path()) {
            path if path.exists() => Some(data_uri(&path)?),
            _ => None,
        },
        runs: parts.iter().map(run).collect::<Result<_>>()?,
    };
    // The only way for text to end a script element is a "<".
    let data = serde_json::to_string(&page)?.replace('<', "\\u003c");
    let html = TEMPLATE.replace(DATA, &data);
    let path = directory.path().join(NAME);
    write(&path, html.as_bytes())?;
    Ok(path)
}

fn run(part: &Part<'_>) -> Result<PageRun> {
    let path = part.directory.path();
    let maps = |set: &str| {
        let epochs = part.trained.state.history.iter();
        epochs
            .map(|metrics| data_uri(&map_path(path, set, metrics.epoch)))
            .collect::<Result<_>>()
    };
    let recipe = &part.job.recipe;
    Ok(PageRun {
        name: format!("{}, seed {}", recipe.loss.name(), recipe.seed),
        summary: match part.trained.state.history.last() {
            Some(last) => format!("Epoch {}: {last}", last.epoch),
            None => String::new(),
        },
        curves: curves_of(&part.trained.state.history),
        rocs: rocs(path)?,
        train: maps(TRAIN)?,
        test: maps(TEST)?,
        settings: settings(&serde_json::to_value(part.job)?),
    })
}

fn rocs(run: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (kind, title) in [
        (
            VERIFICATION,
            "Verification: are two test samples of one class?",
        ),
        (
            OPEN_SET,
            "Open set: is a sample of a class that was trained?",
        ),
    ] {
        let path = roc_path(run, kind);
        if path.exists() {
            found.push((title.to_owned(), data_uri(&path)?));
        }
    }
    Ok(found)
}

fn data_uri(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

/// The leaves of `value` with their names.
fn settings(value: &Value) -> Vec<(String, String)> {
    let Value::Object(fields) = value else {
        return Vec::new();
    };
    fields
        .iter()
        .flat_map(|(name, value)| match value {
            Value::Object(_) => settings(value)
                .into_iter()
                .map(|(inner, value)| (format!("{name}.{inner}"), value))
                .collect(),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(text).collect();
                vec![(name.clone(), items.join(" "))]
            }
            _ => vec![(name.clone(), text(value))],
        })
        .collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat() {
        let value = serde_json::json!({"a": {"b": 1, "c": null}, "d": ["e", "f"]});
        let expected = [("a.b", "1"), ("a.c", "-"), ("d", "e f")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings(&value), expected);
    }
}
