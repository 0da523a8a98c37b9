//! The error of an operation on services or functions.

use std::io;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::error::Error;
use crate::names::ServiceName;
use crate::systemd;

/// The error of an operation on services or functions.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operation does not apply to what it was asked for.
    Usage(String),
    /// The declaration has errors.
    Declaration(Diagnostics),
    /// Another command holds the lock of this service, and to wait for it could take for ever.
    Busy(ServiceName),
    /// The operating system refused something.
    Io(io::Error),
    /// Anything else, as text for people.
    Failed(String),
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn failed(why: impl ToString) -> Self {
        Self::Failed(why.to_string())
    }

    /// Returns the failure as one text.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Usage(why) | Self::Failed(why) => why,
            Self::Declaration(errors) => Error::from(errors).0,
            Self::Busy(name) => format!("another command declares {name}"),
            Self::Io(error) => error.to_string(),
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(errors: Diagnostics) -> Self {
        Self::Declaration(errors)
    }
}

impl From<Diagnostic> for Failure {
    fn from(error: Diagnostic) -> Self {
        Self::Declaration(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::failed(error)
    }
}

impl From<systemd::Error> for Failure {
    fn from(error: systemd::Error) -> Self {
        Self::failed(error)
    }
}
