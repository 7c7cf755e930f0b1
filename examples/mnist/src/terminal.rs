//! What the program says: results on the standard output, the rest on the error stream.
//!
//! A reader that goes away, as `head -1` does, ends nothing. What is printed is in the files of a run as well.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Context, Result};

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
