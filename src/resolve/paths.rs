//! Resolving paths of files with variables and of the directory in which processes start.

use camino::{Utf8Path, Utf8PathBuf};

use crate::document::Path;
use crate::key::File;
use crate::model::FileKind;
use crate::resolve::{Resolver, unfit};

impl Resolver<'_> {
    /// Checks the files of `start_templates`.
    pub(super) fn start_templates(&mut self, at: &Path, files: Vec<String>) -> Vec<Utf8PathBuf> {
        if self.file == File::Function && !files.is_empty() {
            self.key_error(
                at,
                "functions have no start templates",
                "write the values into the file, or pass variables",
            );
        }
        files.iter().enumerate().map(|(index, file)| self.declared_file(&at.join(index), file)).collect()
    }

    /// Checks the files of `environment_file`.
    pub(super) fn environment_files(&mut self, at: &Path, files: Vec<String>) -> Vec<String> {
        if self.file == File::Function && !files.is_empty() {
            self.key_error(at, "functions have no environment files", "write the variables into environment");
            return files;
        }
        for (index, text) in files.iter().enumerate() {
            let here = at.join(index);
            let file = text.strip_prefix('-').unwrap_or(text);
            if file.starts_with("./") {
                self.declared_file(&here, file);
            } else if !file.starts_with('/') {
                let remedy = "write an absolute path, or \"./…\" for one of the declaration's files";
                self.error(&here, format!("{file:?} is not a path of a file"), remedy);
            } else if file.contains(['*', '?', '[']) {
                self.error(&here, "a pattern stands for many files", "name each file");
            } else {
                self.absolute(&here, file);
            }
        }
        files
    }

    /// Resolves `working_dir`: absolute, or a directory of the declaration.
    pub(super) fn working_dir(&mut self, at: &Path, text: &str) -> Utf8PathBuf {
        if self.file == File::Function {
            self.key_error(at, "programs of functions start in the directory of their files", "remove it");
        } else if text.starts_with('/') {
            self.absolute(at, text);
        } else {
            return self.declared_dir(at, text);
        }
        text.into()
    }

    pub(super) fn declared_dir(&mut self, at: &Path, text: &str) -> Utf8PathBuf {
        let relative = Utf8Path::new(text.strip_prefix("./").unwrap_or(text).trim_end_matches('/'));
        let found = self.declared.files.iter().find(|file| file.path == relative);
        match found.map(|file| &file.kind) {
            Some(FileKind::Directory) => {}
            Some(_) => self.error(at, format!("{relative} is not a directory"), "name a directory"),
            None if self.declared.files.iter().any(|file| file.path.starts_with(relative) && relative != "") => {}
            None => {
                let remedy = format!("create {}, or write an absolute path", self.declared.dir.join(relative));
                self.error(at, format!("{text:?} is not a directory of the declaration"), remedy);
            }
        }
        relative.to_owned()
    }

    /// Checks an absolute path that becomes a line of a unit.
    pub(super) fn absolute(&mut self, at: &Path, path: &str) {
        let is_normalized = !path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) || path == "/";
        if !is_normalized || path.len() > 4000 {
            self.error(at, "not a normalized path", "remove //, . and .. and a last /");
        } else if path.ends_with('\\') || path.trim() != path || path.chars().any(char::is_control) {
            let remedy = "remove control characters, and spaces and backslashes at the end";
            self.error(at, "systemd refuses such a path", remedy);
        } else if let Some((message, remedy)) = unfit(path) {
            self.error(at, message, remedy);
        }
    }
}
