//! Errors of systemd.

use std::fmt;

use crate::error;

/// The error of an operation of systemd.
#[derive(Debug)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<Error> for error::Error {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The error of one call, with the text of systemd or the bus.
pub(crate) enum Failure {
    /// The manager is not there, or left before it answered: the call may be repeated.
    Gone(String),
    NoSuchUnit(String),
    Refused(String),
}

impl Failure {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Gone(text) | Self::NoSuchUnit(text) | Self::Refused(text) => text,
        }
    }
}
