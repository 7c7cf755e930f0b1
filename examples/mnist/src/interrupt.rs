//! Ctrl-C: the first one ends the program after the step at hand, a second one at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};

/// What shells report for a program that Ctrl-C ended.
pub const EXIT_CODE: u8 = 130;

static PRESSED: AtomicBool = AtomicBool::new(false);

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

/// Whether Ctrl-C was pressed.
pub fn pressed() -> bool {
    PRESSED.load(Ordering::Relaxed)
}

/// Fails once Ctrl-C was pressed. To be called before every piece of work.
pub fn check() -> Result<()> {
    ensure!(!pressed(), "stopped by Ctrl-C");
    Ok(())
}
