//! Resolving commands: their words, and programs among the declaration's files.

use camino::{Utf8Path, Utf8PathBuf};

use crate::directive;
use crate::document::Path;
use crate::model::{Command, File, FileKind};
use crate::resolve::{MAX_TEXT, Resolver, unfit};

impl Resolver<'_> {
    /// Checks that a unit can contain the words of a command line, systemd.service(5).
    pub(crate) fn words(&mut self, at: &Path, words: Vec<String>) -> Vec<String> {
        for (index, word) in words.iter().enumerate() {
            if word.contains('\0') {
                self.error(&at.join(index), "a NUL character cannot be in a command", "remove it");
            } else if let Some((message, remedy)) = unfit(word) {
                self.error(&at.join(index), message, remedy);
            }
        }
        words
    }

    /// Resolves a command that runs in a container, with the programs of its image; None if it is empty.
    pub(crate) fn command_inside(&mut self, at: &Path, words: Vec<String>) -> Option<Command> {
        let words = self.words(at, words);
        let lengths = || words.iter().map(String::len);
        if lengths().all(|length| length <= MAX_TEXT) && lengths().sum::<usize>() > MAX_TEXT {
            self.error(at, "longer than 128 KiB", "move its content to a file of the declaration");
        }
        (!words.is_empty()).then_some(Command(words))
    }

    /// Resolves a command; None if it is empty.
    pub(crate) fn command(&mut self, at: &Path, words: Vec<String>) -> Option<Command> {
        let Command(words) = self.command_inside(at, words)?;
        let program = words.first()?;
        let here = at.join(0);
        if program.contains('$') {
            self.error(&here, "systemd expands nothing in a program's path", "write the path out");
        } else if program.chars().any(|c| c.is_control() || "\"'\\".contains(c)) {
            let remedy = "rename the program, or run it through a script of the declaration";
            self.error(&here, "systemd takes no quotes, backslashes or control characters in a program's path", remedy);
        } else if let Some(relative) = program.strip_prefix("./") {
            self.declared_program(&here, Utf8Path::new(relative));
        } else if program.starts_with('/') {
            if program.ends_with('/') || program.split('/').any(|part| part == "..") {
                self.error(&here, "not a normalized path of a program", "write the path without .. and a last /");
            } else if program.len() > 4000 {
                self.error(&here, "too long for a path", "write at most 4000 bytes");
            }
        } else if program.starts_with(|c| "@-:+!|".contains(c)) {
            let remedy = "write the program's name or path alone; systemd's prefixes are not for declarations";
            self.error(&here, format!("{program:?} is not the name of a program"), remedy);
        } else if program.contains('/') {
            let remedy = format!("write \"./{program}\" for one of the declaration's files, or an absolute path");
            self.error(&here, "a relative path of a program starts with ./", remedy);
        } else if matches!(program.as_str(), "" | "." | "..") || program.len() > 255 {
            let remedy = "write a program's name such as \"gunicorn\", or its path";
            self.error(&here, format!("{program:?} is not the name of a program"), remedy);
        }
        Some(Command(words))
    }

    fn declared_program(&mut self, at: &Path, relative: &Utf8Path) {
        if relative.as_str().split('/').any(|part| matches!(part, "" | "." | "..")) {
            let remedy = "write the program's path below the declaration's directory, without //, . and ..";
            return self.error(at, "not a normalized path of a program", remedy);
        }
        let subject = |path: &Utf8Path| {
            if path == relative { relative.to_string() } else { format!("{relative} links to {path}, which") }
        };
        let (message, remedy) = match follow(&self.declared.files, relative) {
            Ok(File { kind: FileKind::Regular { executable: true, .. }, .. }) => return,
            Ok(File { kind: FileKind::Regular { executable: false, .. }, path }) => {
                (format!("{} is not executable", subject(path)), format!("chmod +x {}", self.declared.dir.join(path)))
            }
            Ok(File { kind: FileKind::Directory, path }) => {
                (format!("{} is a directory", subject(path)), "name a program in it".to_owned())
            }
            // What it links to is on the host, and not among the files.
            Ok(File { kind: FileKind::Symlink { target }, .. }) if target.is_absolute() => return,
            Ok(File { kind: FileKind::Symlink { .. }, .. }) => {
                (format!("{relative} is a cycle of links"), "link to a program".to_owned())
            }
            Err(path) => {
                let remedy = self.missing_program(&path);
                (format!("{} is not among the declaration's files", subject(&path)), remedy)
            }
        };
        self.error(at, message, remedy);
    }

    fn missing_program(&self, relative: &Utf8Path) -> String {
        let files = || self.declared.files.iter().map(|file| file.path.as_str());
        let mut words = relative.as_str().split_whitespace();
        let first = words.next().unwrap_or("");
        if first != relative && files().any(|file| file == first) {
            let rest: String = words.map(|word| format!(", {word:?}")).collect();
            return format!("write each word as a string of its own: [\"./{first}\"{rest}]");
        }
        match directive::closest(relative.as_str(), files()) {
            Some(near) => format!("did you mean \"./{near}\"?"),
            None => format!("put the program at {}", self.declared.dir.join(relative)),
        }
    }
}

/// The largest number of symbolic links on the way to a file, path_resolution(7).
const MAX_LINKS: usize = 40;

/// Follows the symbolic links of a path to a file of the declaration; returns a link if they form a cycle, or lead to an
/// absolute path.
///
/// # Errors
/// The path that is missing.
fn follow<'a>(files: &'a [File], path: &Utf8Path) -> Result<&'a File, Utf8PathBuf> {
    let find = |path: &Utf8Path| files.iter().find(|file| file.path == path);
    let mut here = Utf8PathBuf::new();
    let mut ahead: Vec<&str> = path.as_str().split('/').rev().collect();
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        match step {
            "" | "." => {}
            ".." => drop(here.pop()),
            name => here.push(name),
        }
        if let Some(File { kind: FileKind::Symlink { target }, .. }) = find(&here)
            && links < MAX_LINKS
        {
            if target.is_absolute() {
                break;
            }
            links += 1;
            here.pop();
            ahead.extend(target.as_str().split('/').rev());
        }
    }
    find(&here).ok_or(here)
}
