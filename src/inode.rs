//! A file by its inode: opened without following a link, and changed through its descriptor. So root acts where another
//! user can write: whatever the name leads to a moment later, it is the file that was checked.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, chmod, chownat, fstat, linkat, open, readlinkat};

use crate::atomic;
use crate::write::named;

/// An open inode, open(2) with O_PATH.
pub(crate) struct Inode {
    descriptor: OwnedFd,
    stat: Stat,
}

impl Inode {
    /// Opens what a path names, be it a link.
    ///
    /// # Errors
    /// If there is nothing, or a directory above it cannot be entered.
    pub(crate) fn open(path: &Utf8Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::of(open(path.as_std_path(), flags, Mode::empty())?)
    }

    /// Takes an inode that was opened with O_PATH.
    ///
    /// # Errors
    /// If fstat(2) fails.
    pub(crate) fn of(descriptor: OwnedFd) -> io::Result<Self> {
        let stat = fstat(&descriptor)?;
        Ok(Self { descriptor, stat })
    }

    /// Opens a unix socket.
    ///
    /// # Errors
    /// If there is none at this path; a link to one is none.
    pub(crate) fn socket(path: &Utf8Path) -> io::Result<Self> {
        let inode = Self::open(path)?;
        match inode.kind() {
            FileType::Socket => Ok(inode),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a socket")),
        }
    }

    /// Returns what kind of file it is.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Returns its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.stat.st_size as u64
    }

    /// Returns whether its mode has one of these bits.
    pub(crate) fn has_mode(&self, bits: u32) -> bool {
        self.stat.st_mode & bits != 0
    }

    /// Reads the target of a link.
    ///
    /// # Errors
    /// If it is no link.
    pub(crate) fn target(&self) -> io::Result<CString> {
        Ok(readlinkat(&self.descriptor, "", Vec::new())?)
    }

    /// Returns the number of its owner.
    pub(crate) fn owner(&self) -> u32 {
        self.stat.st_uid
    }

    /// Returns a path that leads to it while it is open, proc(5).
    pub(crate) fn path(&self) -> Utf8PathBuf {
        format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()).into()
    }

    /// Changes its group and then its mode.
    ///
    /// # Errors
    /// If the file system refuses one of them.
    pub(crate) fn give(&self, group: u32, mode: u32) -> io::Result<()> {
        chownat(&self.descriptor, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH)?;
        Ok(chmod(self.path().as_std_path(), Mode::from_raw_mode(mode))?)
    }

    /// Gives it another name, in one step: what was there has the name no longer.
    ///
    /// # Errors
    /// If the file system refuses an operation, with the path.
    pub(crate) fn link(&self, path: &Utf8Path) -> io::Result<()> {
        let fresh = path.with_file_name(format!(".{}.new", path.file_name().unwrap_or("link")));
        let link = || {
            atomic::remove_file(&fresh)?;
            linkat(CWD, self.path().as_std_path(), CWD, fresh.as_std_path(), AtFlags::SYMLINK_FOLLOW)?;
            std::fs::rename(&fresh, path)?;
            // rename(2) of one name of a file to another name of it does nothing.
            atomic::remove_file(&fresh)
        };
        link().map_err(|error| named(path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn only_a_socket_itself_is_taken() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
        let (bound, other) = (root.join("bound"), root.join("other"));
        let _listener = UnixListener::bind(&bound).expect("a socket");
        fs::write(root.join("file"), "").expect("a file");
        symlink(&bound, root.join("link")).expect("a link");
        for name in ["file", "link"] {
            let error = Inode::socket(&root.join(name)).err().expect("no socket");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
        let missing = Inode::socket(&root.join("missing")).err().expect("nothing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let socket = Inode::socket(&bound).expect("a socket");
        for _ in 0..2 {
            socket.link(&other).expect("a name");
        }
        // The first name may lead elsewhere now.
        fs::remove_file(&bound).expect("it was there");
        symlink("/etc/shadow", &bound).expect("a link");
        let group = fs::metadata(root).expect("a directory").gid();
        socket.give(group, 0o660).expect("one's own");
        assert_eq!(fs::symlink_metadata(&other).expect("a socket").mode() & 0o7777, 0o660);
        UnixStream::connect(&other).expect("the listener");
        UnixStream::connect(socket.path()).expect("the listener");
        assert_eq!(root.read_dir_utf8().expect("a directory").count(), 4, "no half of a name stays");
    }
}
