//! Standard output of the command line.
//!
//! A command goes on when its output cannot be written: who reads `conductor service declare | head -1` has not asked
//! to stop in the middle of a rollout. The first error is remembered, nothing more is written after it, and `finish`
//! returns it.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use crate::cli::failure::Failure;

static FIRST_ERROR: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes text as `format!` does.
macro_rules! out {
    ($($argument:tt)*) => { $crate::cli::output::write(format_args!($($argument)*)) };
}

/// Writes a line as `format!` does.
macro_rules! outln {
    () => { $crate::cli::output::write(format_args!("\n")) };
    ($($argument:tt)*) => {
        $crate::cli::output::write(format_args!("{}\n", format_args!($($argument)*)))
    };
}

pub(super) use {out, outln};

/// Writes text to standard output.
pub(super) fn write(text: fmt::Arguments<'_>) {
    to(&mut io::stdout().lock(), text);
}

/// Writes text whose colours are for a terminal only.
pub(super) fn write_coloured(text: fmt::Arguments<'_>) {
    to(&mut anstream::stdout().lock(), text);
}

fn to(stdout: &mut impl Write, text: fmt::Arguments<'_>) {
    let mut first = FIRST_ERROR.lock().unwrap_or_else(PoisonError::into_inner);
    if first.is_none() {
        *first = stdout.write_fmt(text).err();
    }
}

/// Writes what is still buffered.
///
/// # Errors
/// If anything could not be written. A reader that has gone away, as `head` does, is not an error.
pub(super) fn finish() -> Result<(), Failure> {
    let mut first = FIRST_ERROR.lock().unwrap_or_else(PoisonError::into_inner).take();
    if first.is_none() {
        first = io::stdout().flush().err();
    }
    match first {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
