//! Errors of operations on the machine, as text for people.

use std::fmt;
use std::io;

use crate::diagnostic::Diagnostics;

#[derive(Debug)]
pub struct Error(pub String);

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Diagnostics> for Error {
    fn from(errors: Diagnostics) -> Self {
        Self(errors.without_label())
    }
}
