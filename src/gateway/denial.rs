//! What the sandbox or the file system denied a program: the journal gets a line with the key of function.toml that allows it.
//!
//! Programs write the reason to standard error, as the text of an errno(3). It passes through a pipe of the gateway's, whose
//! other end a thread reads: neither a program that writes much nor a journal that is slow holds up requests.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::log::note;
use crate::model::Sandbox;
use crate::model::function::Function;

/// The texts of errors, and what they mean: EROFS, EACCES and EPERM of errno(3).
const ERRORS: &[(&str, Error)] = &[
    ("Read-only file system", Error::ReadOnly),
    ("Permission denied", Error::Access),
    ("Operation not permitted", Error::Permission),
];
/// Directories of systemd's own making, and the keys of function.toml for them.
const MADE: &[(&str, &str)] = &[("/var/lib", "state"), ("/var/cache", "cache"), ("/var/log", "logs")];
/// What `ProtectHome=` hides.
const HOMES: &[&str] = &["/home", "/root", "/run/user"];
/// Bytes of the longest line that is examined.
const MAX_LINE: usize = 4096;
/// Lines that a gateway writes at most, each once.
const MAX_LINES: usize = 64;
/// Ends the thread: what it reads after it was told to end.
const END: u8 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Error {
    ReadOnly,
    Access,
    Permission,
}

/// The standard error of a gateway's programs.
pub(crate) struct Denials {
    /// What programs write to.
    pub(crate) writer: Arc<OwnedFd>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Denials {
    /// Starts the thread that passes on what programs write, and explains what they were denied.
    ///
    /// # Errors
    /// If the kernel refuses a pipe or a thread.
    pub(crate) fn watch(function: &Function) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let (is_over, is_strict) = (Arc::new(AtomicBool::new(false)), function.process.sandbox == Sandbox::Strict);
        let told = is_over.clone();
        let relay = move || relay(File::from(reader), &told, is_strict);
        let thread = thread::Builder::new().name("stderr".to_owned()).spawn(relay)?;
        Ok(Self { writer: Arc::new(writer), is_over, thread })
    }

    /// Waits until all that ended programs have written is passed on.
    pub(crate) fn finish(self) {
        self.is_over.store(true, Ordering::Release);
        let is_told = rustix::io::write(&*self.writer, &[END]).is_ok();
        if is_told {
            let _ = self.thread.join();
        }
    }
}

fn relay(mut reader: File, is_over: &AtomicBool, is_strict: bool) {
    let (mut buffer, mut line, mut written) = ([0; MAX_LINE], Vec::new(), BTreeSet::new());
    while let Ok(read) = reader.read(&mut buffer) {
        let end = buffer[..read].iter().rposition(|byte| *byte == END).filter(|_| is_over.load(Ordering::Acquire));
        let text = &buffer[..end.unwrap_or(read)];
        let _ = io::stderr().write_all(text);
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") || line.len() >= MAX_LINE {
                let remedy = remedy(&String::from_utf8_lossy(&line), is_strict);
                if let Some(remedy) = remedy.filter(|_| written.len() < MAX_LINES)
                    && written.insert(remedy.clone())
                {
                    note!("{remedy}");
                }
                line.clear();
            }
        }
        if read == 0 || end.is_some() {
            break;
        }
    }
}

/// Returns what to write into function.toml, if a line of a program says that something was denied.
fn remedy(line: &str, is_strict: bool) -> Option<String> {
    let (at, (text, error)) = ERRORS.iter().find_map(|known| Some((line.find(known.0)?, known)))?;
    let path = path_in(line, at);
    let subject = path.as_ref().map_or_else(String::new, |path| format!("{path}: "));
    let is_home = path.as_ref().is_some_and(|path| HOMES.iter().any(|home| path.starts_with(home)));
    let what = match (error, path) {
        (Error::ReadOnly, Some(path)) if is_strict => writable(&path),
        (Error::ReadOnly, None) if is_strict => {
            "write read_write = [\"/path\"], or state = \"…\" for a directory of its own".to_owned()
        }
        (Error::Access, Some(_)) if is_strict && is_home => "write ProtectHome = false in [systemd.service]".to_owned(),
        (Error::Access, _) => {
            "write groups = […] with a group that may do this, or a user of the host in [exec]".to_owned()
        }
        (Error::Permission, _) if is_strict => {
            "the sandbox denies it, such as to setuid programs: relax a directive in \
                                                [systemd.service], or write sandbox = \"none\" in [exec]"
                .to_owned()
        }
        _ => return None,
    };
    Some(format!("function.toml: {subject}{text}: {what}"))
}

/// Returns the key that makes a path writable.
fn writable(path: &Utf8Path) -> String {
    let dir = path.parent().filter(|dir| *dir != "/").unwrap_or(path);
    let made = MADE.iter().find_map(|(base, key)| Some((key, path.strip_prefix(base).ok()?.iter().next()?)));
    match made {
        Some((key, name)) => {
            let dir = MADE
                .iter()
                .find(|(_, of)| of == key)
                .map_or(dir.to_owned(), |(base, _)| Utf8Path::new(base).join(name));
            format!(
                "write {key} = {name:?} for a directory of its own, or read_write = [\"{dir}\"] for what others have"
            )
        }
        None => format!("write read_write = [\"{dir}\"]"),
    }
}

/// Returns the absolute path that a line is about: the last one before the error's text, else the first one after it.
fn path_in(line: &str, at: usize) -> Option<Utf8PathBuf> {
    let is_end = |c: char| c.is_whitespace() || "'\"`,;:()[]<>=".contains(c);
    let paths = |text: &str| {
        let words = text.split(is_end).filter(|word| word.starts_with('/') && word.len() > 1);
        words.map(Utf8PathBuf::from).collect::<Vec<_>>()
    };
    let (before, after) = line.split_at(at);
    paths(before).pop().or_else(|| paths(after).into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_names_its_key() {
        let told = |line: &str| remedy(line, true).unwrap_or_else(|| panic!("{line}"));
        for (line, subject, key) in [
            (
                "/etc/f/act: 3: cannot create /srv/git/x: Read-only file system\n",
                "/srv/git/x",
                "read_write = [\"/srv/git\"]",
            ),
            (
                "OSError: [Errno 30] Read-only file system: '/var/lib/awstats/x'",
                "/var/lib/awstats/x",
                "state = \"awstats\"",
            ),
            (
                "touch: cannot touch '/var/cache/munin/a/b': Read-only file system",
                "/var/cache/munin/a/b",
                "cache = \"munin\"",
            ),
            (
                "open(/var/log/x.log): Read-only file system in /usr/share/a.php on line 3",
                "/var/log/x.log",
                "logs = \"x.log\"",
            ),
            ("Cannot open /srv/a: Permission denied at /usr/bin/b line 2.", "/srv/a", "groups = […]"),
            ("PermissionError: [Errno 13] Permission denied: '/home/me/x'", "/home/me/x", "ProtectHome = false"),
            ("sudo: setresuid(0, -1, -1): Operation not permitted", "", "[systemd.service]"),
            ("mkdir: Read-only file system", "", "read_write"),
        ] {
            let told = told(line);
            let begin =
                if subject.is_empty() { "function.toml: ".to_owned() } else { format!("function.toml: {subject}: ") };
            assert!(told.starts_with(&begin) && told.contains(key), "{line}: {told}");
        }
        assert_eq!(remedy("all is well: /srv", true), None);
        assert_eq!(remedy("/srv/x: Read-only file system", false), None, "no sandbox did that");
        assert_eq!(remedy("/srv/x: Operation not permitted", false), None);
        assert!(remedy("/srv/x: Permission denied", false).is_some());
    }
}
