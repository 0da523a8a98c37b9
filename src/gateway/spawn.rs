//! Programs that are started while their maker goes on.
//!
//! fork(2) copies this process's page tables, and vfork(2), which posix_spawn(3) is made of, holds its caller up until the
//! program runs: of many requests at once, none of the others is looked at meanwhile. Here clone(2) is called with CLONE_VM
//! alone: the new process shares this one's memory until execve(2), as after vfork, but both go on.
//!
//! Until then it must do nothing but system calls of its own: no allocation, no lock, no panic, and no errno, which is the
//! calling thread's. This is the project's only unsafe code.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::Pid;
use syscalls::{Errno, Sysno, syscall};

/// Of a new process until its program runs; it calls a few functions deep.
const STACK: usize = 32 << 10;
/// What this process handles or ignores, and programs expect to be as it is by default, signal(7).
const RESET: &[c_int] = &[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGPIPE];
/// `sizeof (sigset_t)` of the kernel.
const SIGSET: usize = 8;

/// Strings as execve(2) takes them, in one piece.
#[derive(Default)]
pub struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Strings {
    /// Adds one, of these parts.
    ///
    /// # Errors
    /// A NUL would end it.
    pub fn push(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        if self.bytes[start..].contains(&0) {
            self.bytes.truncate(start);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a NUL in what a program is given"));
        }
        self.bytes.push(0);
        self.starts.push(start);
        Ok(())
    }

    /// Adds `name=value`.
    ///
    /// # Errors
    /// As above.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.push(&[name, b"=", value])
    }

    fn pointers(&self) -> Vec<*const c_char> {
        let each = self.starts.iter().map(|start| self.bytes[*start..].as_ptr().cast());
        each.chain([ptr::null()]).collect()
    }
}

/// What a process becomes. Pointers point into what is beside them.
pub struct Image {
    path: CString,
    dir: CString,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    _strings: (Strings, Strings),
}

impl Image {
    /// # Errors
    /// A NUL in one of the paths.
    pub fn new(path: &Path, dir: &Path, words: Strings, variables: Strings) -> io::Result<Self> {
        let terminated = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
        Ok(Self {
            path: terminated(path.as_os_str())?,
            dir: terminated(dir.as_os_str())?,
            argv: words.pointers(),
            envp: variables.pointers(),
            _strings: (words, variables),
        })
    }
}

#[repr(align(16))]
struct Stack(#[allow(dead_code)] [u8; STACK]);

/// What both processes see.
struct Shared {
    /// Of what failed before the program ran.
    error: AtomicI32,
    image: Image,
    stdin: RawFd,
    stdout: RawFd,
    /// Signals that the caller had blocked.
    mask: UnsafeCell<u64>,
    /// A box's.
    stack: *mut MaybeUninit<Stack>,
}

/// A new process's part of this one's memory. It may read it until it is waited for: dropped before, it is leaked.
pub struct Slot(NonNull<Shared>);

// It is one process's and its maker's; what either writes while both are there is atomic.
unsafe impl Send for Slot {}

/// How a process is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It runs while its maker goes on.
    Beside,
    /// Its maker waits until its program runs, or cannot.
    First,
}

/// Makes a process that leads a process group of its own and becomes `image`.
///
/// # Errors
/// What clone(2) says.
pub fn spawn(image: Image, stdin: &OwnedFd, stdout: &OwnedFd, start: Start) -> io::Result<(Pid, Slot)> {
    let shared = Box::into_raw(Box::new(Shared {
        error: AtomicI32::new(0),
        image,
        stdin: stdin.as_raw_fd(),
        stdout: stdout.as_raw_fd(),
        mask: UnsafeCell::new(0),
        stack: Box::into_raw(Box::new_uninit()), // never written here, which would take longer than all the rest
    }));
    // SAFETY: a box is never at 0.
    let slot = Slot(unsafe { NonNull::new_unchecked(shared) });
    let vfork = if start == Start::First { libc::CLONE_VFORK } else { 0 };
    // SAFETY: the stack grows down from its end, is aligned, and lives as long as the slot, which outlives the process.
    // The other process runs none of this one's signal handlers in this one's memory.
    let made = unsafe {
        let (mask, top) = ((*shared).mask.get(), (*shared).stack.cast::<u8>().add(STACK));
        let all = !0_u64;
        syscall!(Sysno::rt_sigprocmask, libc::SIG_BLOCK, &raw const all, mask, SIGSET).map_err(os_error)?;
        let made = libc::clone(child, top.cast(), libc::CLONE_VM | libc::SIGCHLD | vfork, shared.cast());
        let made = if made < 0 { Err(io::Error::last_os_error()) } else { Ok(made) };
        syscall!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, mask, 0_usize, SIGSET).map_err(os_error)?;
        made
    };
    match made.map(Pid::from_raw) {
        Ok(pid) => Ok((pid.expect("a number of a process"), slot)),
        Err(error) => {
            slot.free();
            Err(error)
        }
    }
}

impl Slot {
    fn shared(&self) -> &Shared {
        // SAFETY: it is there until it is freed, which takes this.
        unsafe { self.0.as_ref() }
    }

    /// Why the program does not run.
    pub fn error(&self) -> Option<io::Error> {
        let number = self.shared().error.load(Ordering::Acquire);
        (number != 0).then(|| io::Error::from_raw_os_error(number))
    }

    /// To be called when the process has been waited for: nobody else reads it any more.
    pub fn free(self) {
        // SAFETY: both were boxes, and this is taken.
        unsafe {
            let shared = Box::from_raw(self.0.as_ptr());
            drop(Box::from_raw(shared.stack));
        }
    }
}

fn os_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.into_raw())
}

/// All that the new process does.
extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: it is there until this process has been waited for, and what is written here is atomic.
    let shared = unsafe { &*shared.cast::<Shared>() };
    // SAFETY: of system calls that change this process alone.
    let failed = unsafe { become_program(shared) }.err();
    shared.error.store(failed.map_or(0, Errno::into_raw), Ordering::Release);
    // SAFETY: not exit(3), whose handlers are the other process's.
    let _ = unsafe { syscall!(Sysno::exit_group, 127) };
    127
}

unsafe fn become_program(shared: &Shared) -> Result<(), Errno> {
    unsafe {
        syscall!(Sysno::setpgid, 0, 0)?;
        syscall!(Sysno::dup3, shared.stdin, 0, 0)?;
        syscall!(Sysno::dup3, shared.stdout, 1, 0)?;
        let default = [0_u64; 4]; // the kernel's struct sigaction: SIG_DFL
        for signal in RESET {
            syscall!(Sysno::rt_sigaction, *signal, default.as_ptr(), 0_usize, SIGSET)?;
        }
        let image = &shared.image;
        syscall!(Sysno::chdir, image.dir.as_ptr())?;
        syscall!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, shared.mask.get(), 0_usize, SIGSET)?;
        syscall!(Sysno::execve, image.path.as_ptr(), image.argv.as_ptr(), image.envp.as_ptr())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::process::{WaitOptions, WaitStatus, waitpid};
    use std::fs::File;
    use std::io::Read;

    fn image(path: &str, words: &[&str], variables: &[(&str, &str)]) -> Image {
        let (mut argv, mut envp) = (Strings::default(), Strings::default());
        for word in [path].iter().chain(words) {
            argv.push(&[word.as_bytes()]).expect("no NUL");
        }
        for (name, value) in variables {
            envp.set(name.as_bytes(), value.as_bytes()).expect("no NUL");
        }
        Image::new(path.as_ref(), "/usr".as_ref(), argv, envp).expect("no NUL")
    }

    fn nothing() -> OwnedFd {
        File::open("/dev/null").expect("/dev/null").into()
    }

    fn pipe() -> (File, OwnedFd) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        (reader.into(), writer)
    }

    fn ended(pid: Pid, slot: Slot) -> (WaitStatus, Option<io::Error>) {
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).expect("a child").expect("an end");
        let error = slot.error();
        slot.free();
        (status, error)
    }

    #[test]
    fn a_program_has_its_words_its_variables_and_its_directory() {
        for start in [Start::Beside, Start::First] {
            let (mut reader, writer) = pipe();
            let image = image("/bin/sh", &["-c", "echo \"$A|$1|$PWD\"", "sh", "a b"], &[("A", "1=2"), ("PWD", "/usr")]);
            let (pid, slot) = spawn(image, &nothing(), &writer, start).expect("a process");
            drop(writer);
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("text");
            let (status, error) = ended(pid, slot);
            assert_eq!((text.as_str(), status.exit_status()), ("1=2|a b|/usr\n", Some(0)));
            assert!(error.is_none());
        }
    }

    #[test]
    fn what_cannot_run_says_why() {
        for (path, kind) in [("/nowhere", io::ErrorKind::NotFound), ("/etc/passwd", io::ErrorKind::PermissionDenied)] {
            let (_reader, writer) = pipe();
            let (pid, slot) = spawn(image(path, &[], &[]), &nothing(), &writer, Start::First).expect("a process");
            assert_eq!(slot.error().map(|error| error.kind()), Some(kind), "it is known at once");
            assert_eq!(ended(pid, slot).0.exit_status(), Some(127));
            let (pid, slot) = spawn(image(path, &[], &[]), &nothing(), &writer, Start::Beside).expect("a process");
            assert_eq!(ended(pid, slot).1.map(|error| error.kind()), Some(kind));
        }
    }

    #[test]
    fn a_program_has_none_of_its_makers_descriptors_and_signals_as_by_default() {
        let (mut reader, writer) = pipe();
        let line = format!("test -e /proc/$$/fd/{} || echo closed", reader.as_raw_fd());
        let line = format!("{line}; grep SigBlk /proc/self/status; kill -PIPE $$");
        let image = image("/bin/sh", &["-c", &line], &[("PATH", "/usr/bin:/bin")]);
        let (pid, slot) = spawn(image, &nothing(), &writer, Start::Beside).expect("a process");
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "closed\nSigBlk:\t0000000000000000\n");
        assert_eq!(ended(pid, slot).0.terminating_signal(), Some(libc::SIGPIPE), "which this process ignores");
    }

    #[test]
    fn a_nul_is_refused() {
        let mut strings = Strings::default();
        assert!(strings.set(b"A", b"1\x002").is_err());
        strings.set(b"B", b"2").expect("no NUL");
        assert_eq!(strings.bytes, b"B=2\0");
    }
}
