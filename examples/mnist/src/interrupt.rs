//! Ctrl-C: the first one ends the program after the step at hand, a second one at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Error, Result};

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

/// Adds to an [`Interrupted`] that the run in `directory` goes on with `command`; leaves other errors as they are.
pub fn with_way_on(error: Error, directory: &std::path::Path, command: &str) -> Error {
    match error.is::<Interrupted>() {
        true => error.context(format!(
            "stopped by Ctrl-C; the state after the last whole epoch is in {}; this command goes on from there:\n\
             {command}",
            directory.display()
        )),
        false => error,
    }
}
