//! Ctrl-C: the first one ends the program after the step at hand, a second one at once. And how a run goes on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Error, Result, anyhow};

/// What shells report for a program that Ctrl-C ended.
pub const EXIT_CODE: u8 = 130;

static PRESSED: AtomicBool = AtomicBool::new(false);

/// The error of a program that Ctrl-C ends.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped by Ctrl-C")
    }
}

impl std::error::Error for Interrupted {}

/// From now on Ctrl-C makes [`check`] fail.
pub fn listen() {
    let pressed = || {
        if PRESSED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
    };
    // This fails if the program was started with Ctrl-C ignored, as scripts start background jobs. It stays ignored.
    let _ = ctrlc::try_set_handler(pressed);
}

/// Fails once Ctrl-C was pressed. To be called before every piece of work.
pub fn check() -> Result<()> {
    match PRESSED.load(Ordering::Relaxed) {
        true => Err(Interrupted.into()),
        false => Ok(()),
    }
}

/// Adds to an error from outside, Ctrl-C or a file, how the run in `directory` goes on by `command`.
pub fn with_way_on(error: Error, directory: &Path, command: &str) -> Error {
    let way_on = format!(
        "the state after the last whole epoch is in {}; this command goes on from there:\n{command}",
        directory.display()
    );
    let from_files = error
        .chain()
        .any(|cause| cause.is::<std::io::Error>() || cause.to_string().contains("os error"));
    let complaint = crate::terminal::complaint(&error);
    match error.is::<Interrupted>() {
        true => error.context(format!("{complaint}; {way_on}")),
        false if from_files => anyhow!("{complaint}\nOnce this is put right, go on: {way_on}"),
        false => error,
    }
}
