//! What a person sees while a network is trained: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one epoch, on the error stream.
pub struct EpochProgress {
    /// `None` where the error stream is no terminal.
    bar: Option<ProgressBar>,
}

impl EpochProgress {
    /// `title` says which epoch of which run it is.
    pub fn start(title: &str, steps: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{prefix} [{bar:30}] {pos}/{len} steps, {msg}, {eta} left",
            )
            .expect("the template is well-formed");
            let bar = ProgressBar::new(steps as u64)
                .with_style(style.progress_chars("=> "))
                .with_prefix(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self { bar }
    }

    /// `step` steps are done, with this mean loss and accuracy so far.
    pub fn update(&self, step: usize, loss: f64, accuracy: f64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step as u64);
            bar.set_message(format!("loss {loss:.4}, accuracy {accuracy:.4}"));
        }
    }

    /// Replaces the bar with `line`.
    pub fn finish(self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{line}");
    }
}
