//! A directory that is given to declare. Another user may own it, and change it meanwhile: it is read through
//! descriptors, no link is followed, and what is neither a file, a directory nor a link is refused without opening it.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::inode::Inode;
use crate::source::files::{MAX_BYTES, MAX_DEPTH};
use crate::source::ignored::{IGNORE, Ignored};
use crate::source::read::utf8;

/// A directory that is given to declare.
pub(crate) struct Given {
    dir: Utf8PathBuf,
    root: OwnedFd,
    ignored: Ignored,
}

/// A file, directory or link in it.
pub(crate) struct Entry {
    /// Relative to the directory.
    pub(crate) path: Utf8PathBuf,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    Link {
        target: Utf8PathBuf,
    },
    File {
        size: u64,
        /// Whether its owner may execute it.
        is_executable: bool,
    },
}

impl Given {
    /// Opens a directory, and reads its `.conductorignore`.
    ///
    /// # Errors
    /// If it is none, or cannot be opened or read.
    pub(crate) fn open(dir: &Utf8Path) -> Result<Self, Diagnostic> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, dir.as_std_path(), flags, Mode::empty()).map_err(|error| failed(dir, error))?;
        let mut given = Self { dir: dir.to_owned(), root, ignored: Ignored::default() };
        if given.entry(IGNORE.into())?.is_some() {
            given.ignored = Ignored::parse(&given.text(IGNORE.into())?);
        }
        Ok(given)
    }

    /// Returns the path of one of its files, as errors name it.
    pub(crate) fn shown(&self, path: &Utf8Path) -> Utf8PathBuf {
        if path.as_str().is_empty() { self.dir.clone() } else { self.dir.join(path) }
    }

    /// Opens what is at a path itself, O_PATH. No directory on the way may be a link.
    fn inode(&self, path: &Utf8Path) -> io::Result<Inode> {
        let path = if path.as_str().is_empty() { Utf8Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Inode::of(openat2(&self.root, path.as_std_path(), flags, Mode::empty(), within)?)
    }

    /// Describes what is at a path; None if there is nothing.
    ///
    /// # Errors
    /// If it is neither a file, a directory nor a link, or cannot be seen.
    pub(crate) fn entry(&self, path: &Utf8Path) -> Result<Option<Entry>, Diagnostic> {
        let shown = self.shown(path);
        let inode = match self.inode(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            inode => inode.map_err(|error| failed(&shown, error))?,
        };
        let kind = match inode.kind() {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link { target: target(&inode, &shown)? },
            FileType::RegularFile => Kind::File { size: inode.size(), is_executable: inode.has_mode(0o100) },
            _ => {
                let message = "is neither a file, a directory nor a link";
                return Err(Diagnostic::of_file(&shown, message, "remove it from the declaration"));
            }
        };
        Ok(Some(Entry { path: path.to_owned(), kind }))
    }

    /// Returns whether an entry does not belong to the declaration.
    pub(crate) fn ignores(&self, entry: &Entry) -> bool {
        self.ignored.has(&entry.path, entry.kind == Kind::Directory)
    }

    /// Lists everything below a directory that is not ignored, sorted, each directory before what is in it.
    ///
    /// # Errors
    /// Names that are not UTF-8; directories that are too deep or cannot be listed; what is neither a file, a directory
    /// nor a link.
    pub(crate) fn below(&self, path: &Utf8Path) -> Result<Vec<Entry>, Diagnostics> {
        let (mut entries, mut errors) = (Vec::new(), Diagnostics::default());
        self.walk(path, &mut entries, &mut errors);
        errors.into_result().map(|()| entries)
    }

    fn walk(&self, path: &Utf8Path, entries: &mut Vec<Entry>, errors: &mut Diagnostics) {
        let names = match self.names(path, errors) {
            Ok(names) => names,
            Err(error) => return errors.0.push(error),
        };
        for name in names {
            let path = path.join(name);
            match self.entry(&path) {
                Ok(Some(entry)) if self.ignores(&entry) => {}
                Err(_) if self.ignored.has(&path, false) => {}
                Ok(Some(entry)) => {
                    let inside = (entry.kind == Kind::Directory).then(|| entry.path.clone());
                    entries.push(entry);
                    if let Some(inside) = inside {
                        self.walk(&inside, entries, errors);
                    }
                }
                // Removed meanwhile.
                Ok(None) => {}
                Err(error) => errors.0.push(error),
            }
        }
    }

    fn names(&self, path: &Utf8Path, errors: &mut Diagnostics) -> Result<Vec<String>, Diagnostic> {
        let shown = self.shown(path);
        if path.components().count() > MAX_DEPTH {
            let message = format!("is more than {MAX_DEPTH} directories deep");
            return Err(Diagnostic::of_file(&shown, message, "remove it from the declaration"));
        }
        let failed = |error: io::Error| failed(&shown, error);
        let dir = self.inode(path).map_err(failed)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(dir.path().as_std_path()).map_err(failed)? {
            match entry.map_err(failed)?.file_name().into_string() {
                Ok(name) => names.push(name),
                Err(name) => {
                    errors.0.push(Diagnostic::of_file(&shown, format!("the name {name:?} is not UTF-8"), "rename it"));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens a file to read at most as many bytes of it as a declaration's files may have.
    ///
    /// # Errors
    /// If it is no regular file, or cannot be opened.
    fn file(&self, path: &Utf8Path) -> io::Result<io::Take<File>> {
        let inode = self.inode(path)?;
        if inode.kind() != FileType::RegularFile {
            return Err(io::Error::new(ErrorKind::InvalidInput, "is not a regular file"));
        }
        Ok(File::open(inode.path().as_std_path())?.take(MAX_BYTES))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// If it is no regular file, is not UTF-8 or cannot be read.
    pub(crate) fn text(&self, path: &Utf8Path) -> Result<String, Diagnostic> {
        utf8(self.bytes(path)?, &self.shown(path))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is no regular file or cannot be read.
    pub(crate) fn bytes(&self, path: &Utf8Path) -> Result<Vec<u8>, Diagnostic> {
        let failed = |error| failed(&self.shown(path), error);
        let mut content = Vec::new();
        self.file(path).map_err(failed)?.read_to_end(&mut content).map_err(failed)?;
        Ok(content)
    }

    /// Copies an entry into the directory `to`, where its parent is: owned by the caller and writable for nobody else,
    /// whatever its mode was.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(crate) fn copy(&self, entry: &Entry, to: &Utf8Path) -> Result<(), Diagnostic> {
        let (path, to) = (&entry.path, to.join(&entry.path));
        let copied = match &entry.kind {
            Kind::Directory => {
                fs::create_dir(&to).and_then(|()| fs::set_permissions(&to, Permissions::from_mode(0o755)))
            }
            Kind::Link { target } => symlink(target, &to),
            Kind::File { is_executable, .. } => self.file(path).and_then(|mut from| {
                let mut file = File::create_new(&to)?;
                file.set_permissions(permissions(*is_executable))?;
                io::copy(&mut from, &mut file).map(drop)
            }),
        };
        copied.map_err(|error| match error.kind() {
            ErrorKind::StorageFull => failed(&to, error),
            _ => failed(&self.shown(path), error),
        })
    }
}

/// Checks that the files of a declaration together are not too large.
///
/// # Errors
/// If they are.
pub(crate) fn must_fit(shown: &Utf8Path, what: &str, entries: &[Entry]) -> Result<(), Diagnostic> {
    let size = |entry: &Entry| match entry.kind {
        Kind::File { size, .. } => size,
        Kind::Directory | Kind::Link { .. } => 0,
    };
    let bytes = entries.iter().map(size).fold(0, u64::saturating_add);
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("the {what}'s files are {} MiB, more than {}", bytes >> 20, MAX_BYTES >> 20);
    let remedy = "put what is big into a package, an image or /srv: every reload hashes these files";
    Err(Diagnostic::of_file(shown, message, remedy))
}

/// Returns the permissions of a stored file.
pub(crate) fn permissions(is_executable: bool) -> Permissions {
    Permissions::from_mode(if is_executable { 0o755 } else { 0o644 })
}

fn target(link: &Inode, shown: &Utf8Path) -> Result<Utf8PathBuf, Diagnostic> {
    let target = link.target().map_err(|error| failed(shown, error))?;
    let text = target.into_string().map_err(|_| {
        Diagnostic::of_file(shown, "links to a name that is not UTF-8", "link to another of the declaration's files")
    })?;
    Ok(text.into())
}

/// Returns the error of a file that cannot be read or written.
pub(crate) fn failed(path: &Utf8Path, error: impl Into<io::Error>) -> Diagnostic {
    let error = error.into();
    let remedy = match error.kind() {
        ErrorKind::StorageFull => "make space there",
        _ => "check the path and its permissions",
    };
    Diagnostic::of_file(path, error.to_string(), remedy)
}
