//! What a person sees while a network is trained: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

/// The progress of one training run, on the error stream.
pub struct Progress {
    /// `None` where the error stream is no terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `done` of the run's `steps` were done before.
    pub fn start(title: &str, steps: usize, done: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{prefix} [{bar:30}] step {pos} of {len}, {msg}, {eta} left",
            )
            .expect("the template is well-formed");
            let bar = ProgressBar::new(steps as u64)
                .with_position(done as u64)
                .with_style(style.progress_chars("=> "))
                .with_prefix(title.to_owned());
            // The steps of an earlier run say nothing about the speed of this one.
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self { bar }
    }

    /// `step` steps are done; loss and accuracy are the means over the epoch so far.
    pub fn update(&self, step: usize, loss: f64, accuracy: f64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step as u64);
            bar.set_message(format!("loss {loss:.4}, accuracy {accuracy:.4}"));
        }
    }

    /// Leaves `line` on the screen, above the bar where there is one.
    pub fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => terminal::note(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
