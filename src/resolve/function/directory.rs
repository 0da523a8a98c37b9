//! Resolving the directory of a function's programs, and the files that the proxy serves beside them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::document::Path;
use crate::key::File;
use crate::layout::Scope;
use crate::model::function::Interface;
use crate::model::programs::{Programs, Static};
use crate::model::{Command, Engine, FileKind, Process};
use crate::path;
use crate::resolve::Resolver;

/// The longest suffix of a file's name, in characters.
const MAX_SUFFIX: usize = 16;

impl Resolver<'_> {
    /// Returns whether a function has a directory of programs in place of a command.
    pub(crate) fn has_directory(&self) -> bool {
        self.file == File::Function && self.document.get(&path!["directory"]).is_some()
    }

    pub(super) fn programs(
        &mut self,
        directory: Option<String>,
        interpreter: BTreeMap<String, Vec<String>>,
        index: Vec<String>,
    ) -> Option<Programs> {
        let Some(directory) = directory else {
            for (key, is_given) in [("interpreter", !interpreter.is_empty()), ("index", !index.is_empty())] {
                if is_given {
                    let remedy = "remove it, or write directory = \"…\"";
                    self.key_error(&path![key], "only a directory of programs has it", remedy);
                }
            }
            return None;
        };
        Some(Programs {
            directory: self.directory(&path!["directory"], &directory),
            interpreters: self.interpreters(interpreter),
            index: self.index(index),
        })
    }

    fn directory(&mut self, at: &Path, text: &str) -> Utf8PathBuf {
        let Some(relative) = text.strip_prefix("./") else {
            if text.starts_with('/') {
                self.absolute(at, text);
            } else {
                let remedy = "write an absolute path, or \"./…\" for a directory beside the manifest";
                self.error(at, format!("{text:?} is not the path of a directory"), remedy);
            }
            return text.into();
        };
        let relative = Utf8Path::new(relative.trim_end_matches('/'));
        let is_directory = |kind: &FileKind| matches!(kind, FileKind::Directory);
        let is_there = |file: &crate::model::File| {
            file.path == relative && is_directory(&file.kind)
                || file.path != relative && file.path.starts_with(relative)
        };
        if relative == "" || !self.declared.files.iter().any(is_there) {
            let remedy = "name a directory beside the manifest that has the programs";
            self.error(at, format!("{text:?} is not a directory of the function"), remedy);
        }
        relative.to_owned()
    }

    fn interpreters(&mut self, given: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Command> {
        let mut interpreters = BTreeMap::new();
        for (suffix, words) in given {
            let at = path!["interpreter", suffix.as_str()];
            let ok = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if suffix.is_empty() || suffix.len() > MAX_SUFFIX || !suffix.chars().all(ok) {
                let remedy = "write letters and digits, without the dot: php = [\"php-cgi\"]";
                self.key_error(&at, "not the suffix of a file's name", remedy);
            }
            match self.command(&at, words) {
                Some(command) => drop(interpreters.insert(suffix, command)),
                None => self.error(&at, "the command is empty", "write the interpreter, such as [\"php-cgi\"]"),
            }
        }
        interpreters
    }

    fn index(&mut self, names: Vec<String>) -> Vec<String> {
        for (number, name) in names.iter().enumerate() {
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
                let remedy = "write the name of a file, such as \"index.php\"";
                self.error(
                    &path!["index", number],
                    format!("{name:?} is not the name of a file that is shown"),
                    remedy,
                );
            }
        }
        names
    }

    /// Checks what cannot stand beside a directory of programs.
    pub(super) fn check_directory(&mut self, process: &Process, interface: Interface, has_strip: bool) {
        if !self.has_directory() {
            return;
        }
        let at = path!["directory"];
        match &process.engine {
            Engine::Exec { command: Command(words) } if words.is_empty() => {}
            Engine::Exec { .. } => {
                let remedy = "remove it, or the directory";
                self.key_error(&path!["exec", "command"], "the programs are those of the directory", remedy);
            }
            Engine::Container(_) | Engine::Pod(_) => {
                let remedy = "write [exec] without a command, or the container's command without a directory";
                self.key_error(&at, "a container has a program of its own", remedy);
            }
        }
        if interface == Interface::Http {
            let remedy = "remove it, or write interface = \"cgi\"";
            self.key_error(&at, "programs of a directory serve one request each, by CGI", remedy);
        }
        if has_strip {
            let remedy = "remove it";
            self.key_error(&path!["path_info_strip"], "the directory's files tell which path is the program's", remedy);
        }
    }

    pub(super) fn static_files(&mut self, given: BTreeMap<String, String>) -> Vec<Static> {
        let mut files = Vec::new();
        for (address, text) in given {
            let at = path!["static", address.as_str()];
            if self.declared.scope == Scope::User {
                let remedy = "remove it, or declare the function for the system's manager";
                self.key_error(&at, "the system's proxy serves no users' files", remedy);
                continue;
            }
            let alias = self.alias(&at, &address);
            self.alias_length(&at, &alias);
            let ok = |c: char| c.is_ascii_alphanumeric() || "/-_.~+,:@=".contains(c);
            if !text.starts_with('/') {
                let remedy = "write an absolute path that the proxy's user may read, such as \"/usr/share/…\"";
                self.error(&at, "the proxy serves no files of a function's own", remedy);
            } else if let Some(bad) = text.chars().find(|c| !ok(*c)) {
                let remedy = "name a link to it whose path has letters, digits and /-_.~+,:@= alone";
                self.error(&at, format!("{bad:?} cannot be in a path of the proxy's configuration"), remedy);
            } else {
                self.absolute(&at, &text);
            }
            files.push(Static { at: alias, path: text.into() });
        }
        files.sort();
        files
    }
}
