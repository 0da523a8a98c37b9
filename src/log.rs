//! Lines on standard error: the journal's, where systemd runs this program.

use crate::names::Deployment;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

/// The socket for entries with fields, systemd's Native Journal Protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The socket for requests of root, varlink's protocol.
const SYNCHRONIZER: &str = "/run/systemd/journal/io.systemd.journal";
/// The time limit for a journal that is flooded.
const SYNC_LIMIT: Duration = Duration::from_secs(2);
/// `LOG_ERR` of syslog(3).
const ERR: &str = "3";
/// `LOG_WARNING` of syslog(3).
const WARNING: &str = "4";

/// A failure that administrators watch for: an entry with `MESSAGE_ID=` and the priority `err`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A command or a hook failed: a rollout, a start, a health check, a publication.
    Command,
    /// The gateway answered a request itself, with a status of 500 or more.
    Request,
    /// A function, or a worker of one, could not be started.
    Function,
}

impl Failure {
    /// Returns the ID of its messages, sd_journal_get_catalog(3).
    fn id(self) -> &'static str {
        match self {
            Self::Command => "5d0c7e3a86cb4a7b9f4a1e2d7c60b8f1",
            Self::Request => "a1f3c95e0b6e4d0c8a57d2e94b13f6c2",
            Self::Function => "e27b41d8c3f94a61b0d5987fa46e2c03",
        }
    }
}

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

/// Writes a failure: to the journal with its ID if that is standard error, else as a line.
pub(crate) fn failure(failure: Failure, text: &str) {
    if !is_journal() || send(&entry(failure, text)).is_err() {
        line(format_args!("{text}"));
    } else if failure == Failure::Command {
        // This process ends now: of one that is gone the journal no longer finds the unit.
        let _ = synchronize();
    }
}

/// Writes a warning about a deployment: `journalctl --unit=` and `journalctl CONDUCTOR_SERVICE=` show it, too.
pub(crate) fn warning_of_deployment(deployment: &Deployment, text: &str) {
    let Deployment { service, generation, .. } = deployment;
    let unit = deployment.unit();
    let fields = format!(
        "PRIORITY={WARNING}\nSYSLOG_IDENTIFIER=conductor\nOBJECT_SYSTEMD_UNIT={unit}\nCONDUCTOR_SERVICE={service}\n\
         CONDUCTOR_GENERATION={generation}\nCONDUCTOR_DEPLOYMENT={deployment}\n"
    );
    if !is_journal() || send(&with_message(&fields, text)).is_err() {
        line(format_args!("{text}"));
    }
}

/// Returns whether standard error is the journal's, `$JOURNAL_STREAM` of systemd.exec(5).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    rustix::fs::fstat(std::io::stderr().as_fd()).is_ok_and(|it| stream == format!("{}:{}", it.st_dev, it.st_ino))
}

/// Writes a text with its length, since it may have several lines.
fn entry(failure: Failure, text: &str) -> Vec<u8> {
    let text = anstream::adapter::strip_str(text).to_string();
    with_message(&format!("PRIORITY={ERR}\nMESSAGE_ID={}\nSYSLOG_IDENTIFIER=conductor\n", failure.id()), &text)
}

fn with_message(fields: &str, text: &str) -> Vec<u8> {
    [fields.as_bytes(), b"MESSAGE\n", &(text.len() as u64).to_le_bytes(), text.as_bytes(), b"\n"].concat()
}

fn send(entry: &[u8]) -> std::io::Result<()> {
    UnixDatagram::unbound()?.send_to(entry, JOURNAL).map(drop)
}

/// Waits until the journal has taken what it was sent, `journalctl --sync`.
fn synchronize() -> std::io::Result<()> {
    let mut journal = UnixStream::connect(SYNCHRONIZER)?;
    journal.set_read_timeout(Some(SYNC_LIMIT))?;
    journal.write_all(b"{\"method\":\"io.systemd.Journal.Synchronize\"}\0")?;
    BufReader::new(journal).read_until(0, &mut Vec::new()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_a_text_of_several_lines() {
        let entry = entry(Failure::Request, "\u{1b}[1ma\u{1b}[0m\nb");
        let fields = "PRIORITY=3\nMESSAGE_ID=a1f3c95e0b6e4d0c8a57d2e94b13f6c2\nSYSLOG_IDENTIFIER=conductor\nMESSAGE\n";
        assert_eq!(entry, [fields.as_bytes(), &3u64.to_le_bytes(), b"a\nb\n"].concat());
    }
}
