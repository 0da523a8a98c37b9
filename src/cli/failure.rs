//! The failure of a command: its exit code and messages.

use std::fmt;
use std::io;

use crate::cli::paint;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::error::Error;
use crate::{service, systemd};

/// The failure of a command: its exit code and messages.
pub(crate) enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Declaration(Diagnostics),
    /// An exit code without a message: that of a command that was run, or 4 for a plan with changes.
    Exit(u8),
}

pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Declaration(_) => 3,
            Self::Exit(code) => *code,
        }
    }

    /// Returns the message with colours for a terminal.
    pub(crate) fn coloured(&self) -> String {
        match self {
            Self::Failed(why) | Self::Usage(why) => format!("{} {why}", paint::error_label()),
            Self::Declaration(errors) => errors.coloured(),
            Self::Exit(_) => String::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) | Self::Usage(why) => write!(out, "error: {why}"),
            Self::Declaration(errors) => errors.fmt(out),
            Self::Exit(code) => write!(out, "exit code {code}"),
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
        let needs_root = error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root();
        let help = "\n  help: run this as root, or with --user for services of your own";
        Self::Failed(format!("{error}{}", if needs_root { help } else { "" }))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<systemd::Error> for Failure {
    fn from(error: systemd::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<service::failure::Failure> for Failure {
    fn from(failure: service::failure::Failure) -> Self {
        use service::failure::Failure;
        match failure {
            Failure::Usage(why) => Self::Usage(why),
            Failure::Declaration(errors) => Self::Declaration(errors),
            Failure::Io(error) => error.into(),
            failure @ (Failure::Busy(_) | Failure::Failed(_)) => Self::Failed(failure.into_text()),
        }
    }
}
