//! What the program says: results on the standard output, the rest on the error stream.
//!
//! A reader that goes away, as `head -1` does, ends nothing. What is printed is in the files of a run as well.

use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Prints a result.
pub fn print(text: impl Display) -> Result<()> {
    let mut stream = stdout().lock();
    match writeln!(stream, "{text}").and_then(|()| stream.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("the standard output cannot be written to")
        }
        _ => Ok(()),
    }
}

/// Says what goes on.
pub fn note(text: impl Display) {
    // There is nowhere left to complain.
    let _ = writeln!(stderr(), "{text}");
}

/// Whether one person sees both streams on one screen.
pub fn is_one_screen() -> bool {
    stdout().is_terminal() && stderr().is_terminal()
}

/// `error` with its causes, each of them once.
pub fn complaint(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| cause.to_string()) {
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{separator}{cause}");
        }
    }
    text
}

/// `value` with so many digits behind the point, or in scientific notation if it is large.
pub fn number(value: f64, digits: usize) -> String {
    if value.abs() >= 1e6 {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        // A zero has no sign.
        Some(rest) if !rest.contains(|digit| ('1'..='9').contains(&digit)) => rest.to_owned(),
        _ => text,
    }
}

/// The mean with its standard error if there are several values, the standard deviation divided by the root of their
/// number; a dash if there is none or one is missing.
pub fn mean_and_error(values: impl Iterator<Item = Option<f64>>, digits: usize) -> String {
    let values: Option<Vec<f64>> = values.collect();
    let values = values.filter(|values| values.iter().all(|value| value.is_finite()));
    let Some(values) = values.filter(|values| !values.is_empty()) else {
        return "-".to_owned();
    };
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    match values.len() {
        1 => number(mean, digits),
        _ => {
            let error = (squares / (count - 1.0) / count).sqrt();
            format!("{} ± {}", number(mean, digits), number(error, digits))
        }
    }
}

/// The cells in columns, the first one to the left and the others to the right.
pub fn columns(cells: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = cells.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &Vec<String>| {
        let aligned = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<0$}", width(0)),
            _ => format!("{cell:>0$}", width(column)),
        });
        Vec::from_iter(aligned).join("   ")
    };
    Vec::from_iter(cells.iter().map(line)).join("\n")
}

/// What a person sees on the error stream while a network is trained: a bar on a terminal, plain lines elsewhere.
pub struct Progress {
    /// Hidden where the error stream is no terminal, or one that cannot move its cursor.
    bar: ProgressBar,
}

impl Progress {
    /// `done` of the run's `steps` were done before.
    pub fn start(title: &str, steps: usize, done: usize) -> Self {
        let template = "{prefix} [{bar:30}] step {pos} of {len}, {msg}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = ProgressBar::new(steps as u64)
            .with_position(done as u64)
            .with_style(style.progress_chars("=> "))
            .with_prefix(title.to_owned());
        // The steps of an earlier run say nothing about the speed of this one.
        bar.reset_eta();
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Self { bar }
    }

    /// `step` steps are done; loss and accuracy are the means over the epoch so far.
    pub fn update(&self, step: usize, loss: f64, accuracy: f64) {
        self.bar.set_position(step as u64);
        let loss = number(loss, 4);
        self.bar
            .set_message(format!("loss {loss}, accuracy {accuracy:.4}"));
    }

    /// Leaves `line` on the screen, above the bar where there is one.
    pub fn line(&self, line: &str) {
        match self.bar.is_hidden() {
            true => note(line),
            false => self.bar.println(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_values_have_a_standard_error_and_a_missing_one_is_a_dash() {
        let shown = |values: &[Option<f64>]| mean_and_error(values.iter().copied(), 4);
        // The standard deviation is 0.03, and the error a third of it.
        let values = [0.97, 0.97, 0.97, 0.97, 1.0, 1.03, 1.03, 1.03, 1.03].map(Some);
        assert_eq!(shown(&values), "1.0000 ± 0.0100");
        assert_eq!(shown(&[Some(0.25)]), "0.2500");
        for none in [&[][..], &[None], &[Some(1.0), None], &[Some(f64::NAN)]] {
            assert_eq!(shown(none), "-");
        }
    }

    #[test]
    fn large_numbers_are_short_and_zero_has_no_sign() {
        assert_eq!(number(1.5e29, 4), "1.500e29");
        assert_eq!(number(-0.25, 2), "-0.25");
        assert_eq!(number(-1e-9, 4), "0.0000");
    }

    #[test]
    fn a_cause_is_named_once() {
        let error = Error::msg("disk full")
            .context("model: disk full")
            .context("saving");
        assert_eq!(complaint(&error), "saving: model: disk full");
    }
}
