//! The report: one page that holds all there is to see of a run or a comparison, and loads nothing. Without its script
//! it shows the last epoch.

use std::fs;
use std::iter::repeat;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::data::Source;
use crate::pictures::{
    CURVES, OPEN_SET, TEST, TRAIN, VERIFICATION, curves_of, feature_map, gallery_lines, map_path,
    roc_path,
};
use crate::plot::{Projection, gallery};
use crate::recipe::{Changes, value};
use crate::results::{Row, Table};
use crate::run::{RunDirectory, write};
use crate::train::{Trained, TrainingJob};

const TEMPLATE: &str = include_str!("report.html");

/// One training run of the report, in the directory `run`.
pub struct Part {
    pub job: TrainingJob,
    pub trained: Trained,
    pub run: PathBuf,
}

/// Writes the report of `parts`, whose pictures are drawn, into `directory`, and says where it is.
pub fn write_report(
    source: &Source,
    table: Option<&Table>,
    parts: &[Part],
    directory: &RunDirectory,
) -> Result<PathBuf> {
    let (mut maps, mut runs, mut curves) = (String::new(), String::new(), Vec::new());
    for part in parts {
        maps += &map_figure(part, table)?;
        runs += &run_section(part)?;
        curves.push(curves_of(&part.trained.state.history));
    }
    let epochs = parts.iter().map(|part| part.trained.state.epoch).max();
    let form = ["several", "single"][usize::from(parts.len() == 1)];
    // The only way for text to end a script element is a "<".
    let curves = serde_json::to_string(&curves)?.replace('<', "\\u003c");
    let title = format!("LeNet++ on {}", source.name());
    let mut html = TEMPLATE.to_owned();
    for (place, content) in [
        ("{{title}}", escaped(&title)),
        ("{{form}}", form.to_owned()),
        ("{{results}}", table.map_or(String::new(), results)),
        ("{{epochs}}", epochs.unwrap_or(0).to_string()),
        ("{{maps}}", maps),
        ("{{runs}}", runs),
        ("{{settings}}", settings(parts)),
        ("{{curves}}", curves),
    ] {
        html = html.replace(place, &content);
    }
    let path = directory.path().join("report.html");
    write(&path, html.as_bytes())?;
    Ok(path)
}

/// Draws the test samples of the first seed of every loss, with the row of the table below each.
pub fn draw_gallery(table: &Table, parts: &[Part], directory: &RunDirectory) -> Result<()> {
    let names: Vec<String> = table.classes.names().map(str::to_owned).collect();
    let mut panels = Vec::new();
    for row in &table.rows {
        let part = parts.iter().find(|part| part.job.recipe.loss == row.loss);
        if let Some(snapshot) = part.and_then(|part| part.trained.snapshots.last()) {
            let projection = Projection::fit(&snapshot.train.features, snapshot.train.feature_dim);
            let name = row.loss.name().to_owned();
            let map = feature_map(name, &snapshot.test, &names, snapshot, &projection);
            panels.push((map, gallery_lines(row)));
        }
    }
    gallery(&panels)?.save_png(&directory.path().join("gallery.png"))
}

fn title_of(part: &Part) -> String {
    let recipe = &part.job.recipe;
    format!("{}, seed {}", recipe.loss.name(), recipe.seed)
}

fn results(table: &Table) -> String {
    let cells = table.cells();
    let mut html = "<table>".to_owned();
    for (row, tag) in cells.iter().zip(["th"].into_iter().chain(repeat("td"))) {
        html += "<tr>";
        for (cell, head) in row.iter().zip(&cells[0]) {
            let (cell, head) = (escaped(cell), escaped(head));
            html += &format!("<{tag} data-head=\"{head}\">{cell}</{tag}>");
        }
        html += "</tr>";
    }
    html += "</table>";
    for note in table.notes() {
        html += &format!("<p class=\"notes\">{}</p>", escaped(&note));
    }
    html
}

/// All maps of a run. That of the test samples after the last epoch is shown at first.
fn map_figure(part: &Part, table: Option<&Table>) -> Result<String> {
    let title = title_of(part);
    let last = part.trained.state.epoch;
    let mut html = "<figure class=\"maps\">".to_owned();
    for set in [TEST, TRAIN] {
        for epoch in 1..=last {
            let picture = data_uri(&map_path(&part.run, set, epoch))?;
            let is_shown = (set, epoch) == (TEST, last);
            let shown = if is_shown { "shown" } else { "" };
            html += &format!(
                "<img class=\"{shown}\" data-set=\"{set}\" data-epoch=\"{epoch}\" width=\"647\" height=\"634\" \
                 alt=\"Features of the {set} samples, {title}, epoch {epoch}\" src=\"{picture}\">"
            );
        }
    }
    let of_loss = |row: &&Row| row.loss == part.job.recipe.loss;
    let lines = table.and_then(|table| {
        let row = table.rows.iter().find(of_loss)?;
        Some(gallery_lines(row).join("<br>"))
    });
    let lines = lines.unwrap_or_default();
    Ok(format!(
        "{html}<figcaption><b>{title}</b><br>{lines}</figcaption></figure>"
    ))
}

/// The curves of a run, which the script draws, and what an evaluation added.
fn run_section(part: &Part) -> Result<String> {
    let history = &part.trained.state.history;
    let last = history.last();
    let last = last.map(|last| format!("Epoch {}: {last}", last.epoch));
    let mut html = format!(
        "<section class=\"run\"><h3>{}</h3><p class=\"notes\">{}</p><div class=\"curves\"></div><noscript>{}</noscript>",
        title_of(part),
        last.unwrap_or_default(),
        picture("Curves", &part.run.join(CURVES))?
    );
    let verification = "Verification: are two test samples of one class?";
    let open_set = "Open set: is a sample of a class that was trained?";
    for (kind, title) in [(VERIFICATION, verification), (OPEN_SET, open_set)] {
        let path = roc_path(&part.run, kind);
        if path.exists() {
            html += &picture(title, &path)?;
        }
    }
    Ok(html + "</section>")
}

fn picture(title: &str, path: &Path) -> Result<String> {
    let source = data_uri(path)?;
    Ok(format!(
        "<figure class=\"picture\"><figcaption>{title}</figcaption><img alt=\"{title}\" src=\"{source}\"></figure>"
    ))
}

fn data_uri(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

/// The settings in the words of the command line, with a column for each run, and where and with what they were made.
fn settings(parts: &[Part]) -> String {
    let mut rows = vec![("Setting".to_owned(), parts.iter().map(title_of).collect())];
    for (field, help) in Changes::described() {
        let has = |part: &Part| part.job.recipe.loss.has(&field);
        let shown = |part: &Part| value(&part.job.recipe, &field).filter(|_| has(part));
        let cell = |part: &Part| shown(part).unwrap_or("-".to_owned());
        if parts.iter().any(has) {
            let name = format!("{help} (--{})", field.replace('_', "-"));
            rows.push((name.replace('`', ""), parts.iter().map(cell).collect()));
        }
    }
    if let Some(Part { job, .. }) = parts.first() {
        let made = &job.provenance;
        let versions = format!("mnist {}, burn {}", made.mnist, made.burn);
        for (name, value) in [
            ("Data", made.data.directory.display().to_string()),
            ("Device", made.device.clone()),
            ("Versions", versions),
            ("Command line", made.command_line.join(" ")),
        ] {
            rows.push((name.to_owned(), vec![value; parts.len()]));
        }
    }
    let mut html = String::new();
    for (name, values) in rows {
        let values: Vec<String> = values.iter().map(|value| escaped(value)).collect();
        let cells = match values.iter().all(|value| *value == values[0]) {
            true => format!("<td colspan=\"{}\">{}</td>", values.len(), values[0]),
            false => format!("<td>{}</td>", values.join("</td><td>")),
        };
        html += &format!("<tr><th>{}</th>{cells}</tr>", escaped(&name));
    }
    html
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<a> & \"b\""), "&lt;a&gt; &amp; &quot;b&quot;");
    }
}
