//! Messages of a generator. For the system's manager the journal may not run yet, so they go to the
//! kernel's log, which the journal reads: one record a write, its priority in front (printk(9),
//! sd-daemon(3)). A user may not write there; what a user's manager and its generators write to stderr
//! is in the journal.

use std::fs::{File, OpenOptions};
use std::io::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error = 3,
    Warning = 4,
    Debug = 7,
}

pub(crate) struct Log {
    kmsg: Option<File>,
    most: u8,
}

/// A record of the kernel's log holds about this much.
const RECORD: usize = 900;

impl Log {
    /// To /dev/kmsg for the system's manager, where it may be written, else to stderr.
    /// `SYSTEMD_LOG_LEVEL` limits it.
    pub(crate) fn open() -> Self {
        let system = std::env::var_os("SYSTEMD_SCOPE").is_some_and(|scope| scope == "system");
        let kmsg = if system { OpenOptions::new().write(true).open("/dev/kmsg").ok() } else { None };
        let most = match std::env::var("SYSTEMD_LOG_LEVEL").as_deref() {
            Ok("debug" | "7") => 7,
            Ok("emerg" | "0" | "alert" | "1" | "crit" | "2") => 2,
            Ok("err" | "3") => 3,
            _ => 6,
        };
        Self { kmsg, most }
    }

    pub(crate) fn write(&mut self, level: Level, message: &str) {
        if level as u8 > self.most {
            return;
        }
        for line in message.lines() {
            let end = (0..=RECORD.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            let record = format!("<{}>conductor-generator[{}]: {}\n", level as u8, std::process::id(), &line[..end]);
            let written = self.kmsg.as_mut().is_some_and(|kmsg| kmsg.write_all(record.as_bytes()).is_ok());
            if !written {
                // If stderr fails too, there is no place left for the message.
                let _ = std::io::stderr().write_all(format!("conductor-generator: {line}\n").as_bytes());
            }
        }
    }
}
