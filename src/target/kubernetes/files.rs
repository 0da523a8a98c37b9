//! The files of a declaration that containers see.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{Engine, File, FileKind, Service};
use crate::names::hex;
use crate::target::Contents;
use crate::target::kubernetes::names::{CONFIG_MAP_LIMIT, DIGITS};

/// The largest number of symbolic links on the way to a file, path_resolution(7).
const MAX_LINKS: usize = 40;

/// A file as it is in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountedFile {
    pub(super) path: Utf8PathBuf,
    /// The key in the ConfigMap.
    pub(super) key: String,
    pub(super) is_executable: bool,
    pub(super) content: Vec<u8>,
}

/// The files of a service that its containers see.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    pub(super) all: Vec<MountedFile>,
}

impl Files {
    /// Collects the files that containers see: those of `[exec]` all, else what volumes name.
    ///
    /// # Errors
    /// Links that no ConfigMap can have.
    pub(super) fn of(service: &Service, shown: &Utf8Path, contents: &Contents) -> Result<Self, Diagnostics> {
        let is_seen: Box<dyn Fn(&Utf8Path) -> bool> = match &service.process.engine {
            Engine::Exec { .. } => Box::new(|_| true),
            Engine::Container(container) => {
                let sources = container.volume.iter().filter_map(|volume| volume.split(':').next()?.strip_prefix("./"));
                let sources: Vec<_> = sources.map(|source| Utf8PathBuf::from(source.trim_end_matches('/'))).collect();
                Box::new(move |path| {
                    sources.iter().any(|source| path.starts_with(source) || source == "" || source == ".")
                })
            }
            Engine::Pod(_) => Box::new(|_| false),
        };
        let (mut all, mut keys, mut errors) = (Vec::new(), BTreeSet::new(), Diagnostics::default());
        for file in service.files.iter().filter(|file| is_seen(&file.path)) {
            match resolved(service, shown, file) {
                Ok(Some(source)) => {
                    let FileKind::Regular { executable, .. } = source.kind else { continue };
                    let content = contents.get(&source.path).cloned().unwrap_or_default();
                    let key = key(&file.path, &mut keys);
                    all.push(MountedFile { path: file.path.clone(), key, is_executable: executable, content });
                }
                Ok(None) => {}
                Err(error) => errors.0.push(error),
            }
        }
        errors.into_result().map(|()| Self { all })
    }

    /// Returns whether a ConfigMap has room for the files.
    pub(super) fn fit(&self) -> bool {
        self.all.iter().map(|file| file.content.len() + file.key.len()).sum::<usize>() <= CONFIG_MAP_LIMIT
    }

    /// Returns the digest of paths, modes and contents, which names are made of.
    pub(super) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for file in &self.all {
            hasher.update(format!("{}\n{}\n{}\n", file.path, file.is_executable, file.content.len()));
            hasher.update(&file.content);
        }
        hex(&hasher.finalize())[..DIGITS].to_owned()
    }

    /// Returns whether the containers have the files from a ConfigMap.
    pub(super) fn are_mounted(&self) -> bool {
        !self.all.is_empty() && self.fit()
    }
}

/// Follows a symbolic link among the files to the regular file that it leads to; None of a directory.
fn resolved<'a>(service: &'a Service, shown: &Utf8Path, file: &'a File) -> Result<Option<&'a File>, Diagnostic> {
    let refuse =
        |message: &str| Diagnostic::of_file(&shown.join(&file.path), message, "replace the link by the file itself");
    let mut here = file;
    for _ in 0..MAX_LINKS {
        let FileKind::Symlink { target } = &here.kind else {
            let is_file = matches!(here.kind, FileKind::Regular { .. });
            let is_link = !std::ptr::eq(here, file);
            return if is_file || !is_link {
                Ok(is_file.then_some(here))
            } else {
                Err(refuse("a ConfigMap has no links to directories"))
            };
        };
        let path = normalized(&here.path.parent().unwrap_or(Utf8Path::new("")).join(target));
        let next = service.files.iter().find(|other| other.path == path);
        here = next.ok_or_else(|| refuse("a ConfigMap has no links to files of the host"))?;
    }
    Err(refuse("a cycle of links"))
}

fn normalized(path: &Utf8Path) -> Utf8PathBuf {
    let mut normal = Utf8PathBuf::new();
    for step in path.as_str().split('/') {
        match step {
            "" | "." => {}
            ".." => drop(normal.pop()),
            name => normal.push(name),
        }
    }
    if path.is_absolute() { Utf8Path::new("/").join(normal) } else { normal }
}

/// Returns a key that no other file has: letters, digits, `-`, `_` and `.`.
fn key(path: &Utf8Path, taken: &mut BTreeSet<String>) -> String {
    let plain = path.as_str().replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "_");
    let plain = plain[..plain.len().min(200)].trim_start_matches("..").to_owned();
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let key = std::iter::once(plain.clone()).chain(numbered).find(|key| !taken.contains(key)).unwrap_or(plain);
    taken.insert(key.clone());
    key
}
