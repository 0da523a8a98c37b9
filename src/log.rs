//! Lines on standard error: the journal's, where systemd runs this program.

use std::fmt;
use std::io::Write;

/// Writes a line as `format!` does.
macro_rules! note {
    ($($argument:tt)*) => { $crate::log::line(format_args!($($argument)*)) };
}

pub(crate) use note;

/// Writes a line. An error is ignored: without a reader the work must go on.
pub fn line(text: fmt::Arguments<'_>) {
    // In one piece: lines of several processes share the journal.
    let _ = anstream::stderr().write_all(format!("{text}\n").as_bytes());
}
