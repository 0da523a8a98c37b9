//! Starts programs while the caller goes on, however long execve(2) takes: the program may be on a file system of a network
//! that does not answer.
//!
//! fork(2) copies the caller's page tables, and vfork(2), which posix_spawn(3) and the standard library use, suspends
//! the calling thread until the program runs. This file calls clone(2) with CLONE_VM alone: the child shares the
//! caller's memory until execve(2), as after vfork(2), but both run. `cargo bench --bench spawn` compares it with the
//! standard library.
//!
//! Until execve(2) the child must do nothing but system calls: no allocation, no lock, no panic, and no errno, which is
//! the calling thread's. This is the project's only unsafe code.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::param::page_size;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use syscalls::{Errno, Sysno, syscall};

/// Bytes of a child's stack, a multiple of every page size of Linux. The child calls a few functions deep.
const STACK_SIZE: usize = 64 << 10;
/// Bytes of the kernel's `sigset_t`, which is smaller than the C library's, and signals that fit in it, signal(7).
const SIGSET_SIZE: usize = size_of::<SignalSet>();
const SIGNALS: c_int = SignalSet::BITS as c_int;

/// The kernel's `sigset_t` where it knows 64 signals.
type SignalSet = u64;
/// At least as large as the kernel's `struct sigaction`: handler, flags, restorer and mask. Zeros are SIG_DFL.
type SignalAction = [u64; 4];

#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
compile_error!("the kernel's sigset_t has 128 signals on MIPS");
const _: () = assert!(SIGSET_SIZE == 8 && SIGSET_SIZE <= size_of::<libc::sigset_t>());
const _: () = assert!(size_of::<SignalAction>() >= 3 * size_of::<usize>() + SIGSET_SIZE);
const _: () = assert!(libc::SIG_DFL == 0);

/// The kernel's `struct rlimit64`: the limit in force, and the highest that a process may set itself.
type Limit = [u64; 2];

/// Descendants of a program are known by their limit of real-time CPU time: they inherit it and cannot raise it. One that lowers
/// it has the mark of a program that was started earlier, or none.
const MARKED_LIMIT: usize = libc::RLIMIT_RTTIME as usize;
/// Microseconds of the mark 0: 35 years, so that marks limit nothing.
const MARKS_BEGIN: u64 = 1 << 50;

/// NUL-terminated strings in one allocation, as execve(2) takes them.
#[derive(Default)]
pub(crate) struct StringBlock {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl StringBlock {
    /// Adds one string, the concatenation of `parts`.
    ///
    /// # Errors
    /// `InvalidInput` if a part contains a NUL byte.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        if self.bytes[start..].contains(&0) {
            self.bytes.truncate(start);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an argument or variable contains a NUL byte"));
        }
        self.bytes.push(0);
        self.starts.push(start);
        Ok(())
    }

    /// Adds the environment variable `name=value`.
    ///
    /// # Errors
    /// `InvalidInput` if the name or the value contains a NUL byte.
    pub(crate) fn push_variable(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.push(&[name, b"=", value])
    }

    fn pointers(&self) -> Vec<*const c_char> {
        let each = self.starts.iter().map(|start| self.bytes[*start..].as_ptr().cast());
        each.chain([ptr::null()]).collect()
    }
}

/// The arguments of execve(2) and the working directory. The pointers point into the strings beside them.
pub(crate) struct Image {
    path: CString,
    dir: CString,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    limit: Limit,
    _strings: (StringBlock, StringBlock),
}

impl Image {
    /// Describes the program at `path`, started in `dir` with a mark.
    ///
    /// # Errors
    /// `InvalidInput` if a path contains a NUL byte.
    pub(crate) fn new(
        path: &Path,
        dir: &Path,
        arguments: StringBlock,
        variables: StringBlock,
        mark: u64,
    ) -> io::Result<Self> {
        let terminated = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
        Ok(Self {
            path: terminated(path.as_os_str())?,
            dir: terminated(dir.as_os_str())?,
            argv: arguments.pointers(),
            envp: variables.pointers(),
            limit: [MARKS_BEGIN + mark; 2],
            _strings: (arguments, variables),
        })
    }
}

/// A child's stack: an inaccessible page, then `STACK_SIZE` bytes.
struct Stack(NonNull<c_void>);

// SAFETY: it owns its mapping, which no thread is bound to.
unsafe impl Send for Stack {}

/// Stacks of children that have ended, for the next ones: mmap(2) and the first write to a page are slow. There are
/// never more than children that ran at the same time.
static FREE_STACKS: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

impl Stack {
    fn take() -> io::Result<Self> {
        let free = FREE_STACKS.lock().expect("no holder panics").pop();
        free.map_or_else(Self::map, Ok)
    }

    fn map() -> io::Result<Self> {
        let size = page_size() + STACK_SIZE;
        // SAFETY: the kernel chooses an address that nothing else uses; the mapping is dropped with this value.
        unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::STACK;
            let start = mmap_anonymous(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, flags)?;
            let stack = Self(NonNull::new(start).expect("mmap(2) without MAP_FIXED never returns address 0"));
            mprotect(start, page_size(), MprotectFlags::empty())?; // the stack grows down to it
            Ok(stack)
        }
    }

    fn top(&self) -> *mut c_void {
        self.0.as_ptr().wrapping_byte_add(page_size() + STACK_SIZE)
    }

    fn give_back(self) {
        FREE_STACKS.lock().expect("no holder panics").push(self);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no child runs on it: `ChildMemory` leaks the stacks of those that
        // do.
        let _ = unsafe { munmap(self.0.as_ptr(), page_size() + STACK_SIZE) };
    }
}

/// What the parent and the child both access.
struct Shared {
    /// The errno of what failed before execve(2), or 0.
    error: AtomicI32,
    image: Image,
    stdin: RawFd,
    stdout: RawFd,
    /// Its stderr, or -1 for the caller's.
    stderr: RawFd,
    /// The pipe that is closed with execve(2), or -1.
    started: RawFd,
    /// The signals that the calling thread blocks, for the program to inherit.
    mask: SignalSet,
    stack: Stack,
}

/// The memory that a child uses until execve(2). `free` releases it; dropping it leaks it, as a child may still use it.
pub(crate) struct ChildMemory(NonNull<Shared>);

// SAFETY: the child and the parent only read it, but for `error`, which is atomic.
unsafe impl Send for ChildMemory {}

/// Starts a child that leads a process group of its own and executes `image`; does not wait for that. Its stderr is the
/// caller's unless there is another. The child closes `started`, the write end of a pipe, with execve(2), or writes its errno there if that fails.
/// The caller must free the returned memory after it has waited for the child.
///
/// # Errors
/// What mmap(2) and clone(2) return. `ChildMemory::error` has the error of chdir(2) or execve(2) in the child.
pub(crate) fn spawn(
    image: Image,
    stdin: &OwnedFd,
    stdout: &OwnedFd,
    stderr: Option<&OwnedFd>,
    started: Option<&OwnedFd>,
) -> io::Result<(Pid, ChildMemory)> {
    let stack = Stack::take()?;
    let top = stack.top();
    // Blocked until the child has reset the handlers: they would run in the caller's memory.
    let mask = set_mask(libc::SIG_BLOCK, !0)?;
    let (error, stdin, stdout) = (AtomicI32::new(0), stdin.as_raw_fd(), stdout.as_raw_fd());
    let [stderr, started] = [stderr, started].map(|it| it.map_or(-1, AsRawFd::as_raw_fd));
    let shared = Box::leak(Box::new(Shared { error, image, stdin, stdout, stderr, started, mask, stack }));
    let memory = ChildMemory(NonNull::from(shared));
    // SAFETY: the stack is aligned to a page and lives, as all that the child reads, until `memory` is freed.
    let made = unsafe { libc::clone(child, top, libc::CLONE_VM | libc::SIGCHLD, memory.0.as_ptr().cast()) };
    let made = if made < 0 { Err(io::Error::last_os_error()) } else { Ok(made) };
    let restored = set_mask(libc::SIG_SETMASK, mask);
    match made.map(|pid| Pid::from_raw(pid).expect("clone(2) returns a process ID")) {
        Ok(pid) => match restored {
            Ok(_) => Ok((pid, memory)),
            Err(error) => {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
                memory.free();
                Err(error)
            }
        },
        Err(error) => {
            memory.free();
            Err(error)
        }
    }
}

/// Changes the calling thread's signal mask, and returns the former one. The C library's function leaves out the
/// signals that it uses itself.
fn set_mask(how: c_int, set: SignalSet) -> io::Result<SignalSet> {
    let mut former = 0;
    // SAFETY: both sets are as large as the kernel expects.
    let outcome = unsafe { syscall!(Sysno::rt_sigprocmask, how, &raw const set, &raw mut former, SIGSET_SIZE) };
    outcome.map(|_| former).map_err(|errno| io::Error::from_raw_os_error(errno.into_raw()))
}

impl ChildMemory {
    /// Returns why the program does not run. Without an error it runs, or the child has not come to execve(2) yet.
    pub(crate) fn error(&self) -> Option<io::Error> {
        // SAFETY: only `free`, which takes this value, releases it.
        let number = unsafe { self.0.as_ref() }.error.load(Ordering::Acquire);
        (number != 0).then(|| io::Error::from_raw_os_error(number))
    }

    /// Releases the memory. Must be called after the child has been waited for: it reads and writes there.
    pub(crate) fn free(self) {
        // SAFETY: it was a box, and this value was the only one that pointed to it.
        let shared = unsafe { Box::from_raw(self.0.as_ptr()) };
        shared.stack.give_back();
    }
}

/// Returns the mark of a process with the caller's user.
pub(crate) fn mark_of(pid: Pid) -> Option<u64> {
    let mut limit: Limit = [0; 2];
    let pid = pid.as_raw_nonzero().get() as usize;
    // SAFETY: the kernel writes a `struct rlimit64` there.
    unsafe { syscall!(Sysno::prlimit64, pid, MARKED_LIMIT, 0_usize, &raw mut limit) }.ok()?;
    limit[1].checked_sub(MARKS_BEGIN)
}

/// Runs in the child, on its own stack.
extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: the parent keeps it until it has waited for this process; all that changes there is atomic.
    let shared = unsafe { &*shared.cast::<Shared>() };
    // SAFETY: its system calls change this process alone.
    let errno = unsafe { execute(shared) }.err().map_or(0, Errno::into_raw);
    shared.error.store(errno, Ordering::Release);
    // SAFETY: it reads a number on this stack.
    let _ = unsafe { syscall!(Sysno::write, shared.started, &raw const errno, size_of::<c_int>()) };
    // SAFETY: exit(3) would run the handlers of the parent, exit_group(2) runs none.
    let _ = unsafe { syscall!(Sysno::exit_group, 127) };
    127
}

unsafe fn execute(shared: &Shared) -> Result<(), Errno> {
    // SAFETY: all pointers point to what lives in `shared` or on this stack, and are as large as the kernel expects.
    unsafe {
        syscall!(Sysno::setpgid, 0, 0)?;
        // A lower limit of the caller stays, and the program has no mark.
        let _ = syscall!(Sysno::prlimit64, 0, MARKED_LIMIT, shared.image.limit.as_ptr(), 0_usize);
        let mut stdout = shared.stdout;
        if stdout == 0 {
            // stdin takes that number first.
            stdout = syscall!(Sysno::fcntl, stdout, libc::F_DUPFD_CLOEXEC, 3)? as RawFd;
        }
        move_descriptor(shared.stdin, 0)?;
        move_descriptor(stdout, 1)?;
        if shared.stderr >= 0 {
            move_descriptor(shared.stderr, 2)?;
        }
        // They have FD_CLOEXEC, but execve(2) may take for ever, and connections of others must not stay open as long.
        let last = u32::MAX as usize;
        if shared.started < 0 {
            let _ = syscall!(Sysno::close_range, 3, last, 0);
        } else {
            let _ = syscall!(Sysno::close_range, 3, shared.started - 1, 0);
            let _ = syscall!(Sysno::close_range, shared.started + 1, last, 0);
        }
        let default = SignalAction::default();
        for signal in (1..=SIGNALS).filter(|signal| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP)) {
            syscall!(Sysno::rt_sigaction, signal, default.as_ptr(), 0_usize, SIGSET_SIZE)?;
        }
        let image = &shared.image;
        syscall!(Sysno::chdir, image.dir.as_ptr())?;
        syscall!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, &raw const shared.mask, 0_usize, SIGSET_SIZE)?;
        syscall!(Sysno::execve, image.path.as_ptr(), image.argv.as_ptr(), image.envp.as_ptr())?;
    }
    Ok(())
}

/// Makes `to` a descriptor of what `from` is one of, and leaves it open in the program.
unsafe fn move_descriptor(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: neither call takes a pointer.
    unsafe {
        if from == to {
            syscall!(Sysno::fcntl, from, libc::F_SETFD, 0)?; // dup3(2) refuses equal ones
        } else {
            syscall!(Sysno::dup3, from, to, 0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::process::WaitStatus;
    use std::fs::{self, File};
    use std::io::Read;
    use std::mem::ManuallyDrop;
    use std::os::fd::FromRawFd;

    fn image(path: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Image {
        let (mut argv, mut envp) = (StringBlock::default(), StringBlock::default());
        for argument in [path].iter().chain(arguments) {
            argv.push(&[argument.as_bytes()]).expect("no NUL");
        }
        for (name, value) in variables {
            envp.push_variable(name.as_bytes(), value.as_bytes()).expect("no NUL");
        }
        Image::new(path.as_ref(), "/usr".as_ref(), argv, envp, 7).expect("no NUL")
    }

    fn shell(line: &str) -> Image {
        image("/bin/sh", &["-c", line], &[("PATH", "/usr/bin:/bin")])
    }

    fn null() -> OwnedFd {
        File::open("/dev/null").expect("/dev/null").into()
    }

    fn pipe() -> (File, OwnedFd) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        (reader.into(), writer)
    }

    fn wait_for(pid: Pid, memory: ChildMemory) -> (WaitStatus, Option<io::Error>) {
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).expect("a child").expect("a status");
        let error = memory.error();
        memory.free();
        (status, error)
    }

    /// What a program writes, and how it ends.
    fn output(image: Image) -> (String, WaitStatus) {
        let (mut reader, writer) = pipe();
        let (pid, memory) = spawn(image, &null(), &writer, None, None).expect("a process");
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        let (status, error) = wait_for(pid, memory);
        assert!(error.is_none(), "{error:?}");
        (text, status)
    }

    #[test]
    fn a_program_has_its_arguments_variables_and_directory() {
        let arguments = ["-c", "echo \"$A|$1|$PWD\"", "sh", "a b"];
        let (text, status) = output(image("/bin/sh", &arguments, &[("A", "1=2"), ("PWD", "/usr")]));
        assert_eq!((text.as_str(), status.exit_status()), ("1=2|a b|/usr\n", Some(0)));
    }

    #[test]
    fn descendants_have_the_mark_of_their_program() {
        let (mut reader, writer) = pipe();
        let (pid, memory) =
            spawn(shell("setsid sleep 1000 & echo $!"), &null(), &writer, None, None).expect("a process");
        drop(writer);
        let mut line = [0; 16];
        let read = reader.read(&mut line).expect("a line");
        assert_eq!(mark_of(pid), Some(7));
        let number = std::str::from_utf8(&line[..read]).expect("text").trim().parse().expect("a number");
        wait_for(pid, memory);
        let orphan = Pid::from_raw(number).expect("an ID");
        assert_eq!(mark_of(orphan), Some(7));
        kill_process(orphan, Signal::KILL).expect("a process");
    }

    #[test]
    fn errors_of_execve_are_reported() {
        for (path, kind) in [("/nowhere", io::ErrorKind::NotFound), ("/etc/passwd", io::ErrorKind::PermissionDenied)] {
            let (_reader, writer) = pipe();
            let (mut failed, started) = pipe();
            let (pid, memory) =
                spawn(image(path, &[], &[]), &null(), &writer, None, Some(&started)).expect("a process");
            drop(started);
            let mut errno = Vec::new();
            failed.read_to_end(&mut errno).expect("an errno");
            let errno = c_int::from_ne_bytes(errno.try_into().expect("a number"));
            assert_eq!(io::Error::from_raw_os_error(errno).kind(), kind);
            let (status, error) = wait_for(pid, memory);
            assert_eq!((status.exit_status(), error.map(|error| error.kind())), (Some(127), Some(kind)));
        }
    }

    #[test]
    fn a_program_that_runs_has_closed_its_pipe() {
        let (mut failed, started) = pipe();
        let (pid, memory) = spawn(shell("exec sleep 1000"), &null(), &null(), None, Some(&started)).expect("a process");
        drop(started);
        let mut errno = Vec::new();
        failed.read_to_end(&mut errno).expect("the end");
        assert!(errno.is_empty());
        kill_process(pid, Signal::KILL).expect("a process");
        wait_for(pid, memory);
    }

    #[test]
    fn a_program_inherits_no_descriptor_and_no_signal_disposition() {
        let (reader, _writer) = pipe();
        let line = format!("test -e /proc/$$/fd/{} || echo closed", reader.as_raw_fd());
        let line = format!("{line}; grep -E 'Sig(Blk|Ign)' /proc/self/status; kill -PIPE $$");
        let (text, status) = output(shell(&line));
        let zeros = "0".repeat(16);
        assert_eq!(text, format!("closed\nSigBlk:\t{zeros}\nSigIgn:\t{zeros}\n"));
        assert_eq!(status.terminating_signal(), Some(libc::SIGPIPE), "which this process ignores");
    }

    #[test]
    fn standard_streams_may_be_the_callers_own() {
        let link =
            |number: i32| fs::read_link(format!("/proc/self/fd/{number}")).expect("a link").display().to_string();
        // SAFETY: they stay open, as nothing drops them.
        let [zero, one] = [0, 1].map(|number| ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) }));
        let check = |stdin: &str, stdout: &str| {
            shell(&format!(
                "[ \"$(readlink /proc/$$/fd/0)\" = '{stdin}' ] && [ \"$(readlink /proc/$$/fd/1)\" = '{stdout}' ]"
            ))
        };
        let null = null();
        let cases: [(&OwnedFd, &OwnedFd, String, String); 4] = [
            (&zero, &one, link(0), link(1)),
            (&one, &zero, link(1), link(0)),
            (&null, &zero, "/dev/null".into(), link(0)),
            (&one, &null, link(1), "/dev/null".into()),
        ];
        for (stdin, stdout, first, second) in cases {
            let (pid, memory) = spawn(check(&first, &second), stdin, stdout, None, None).expect("a process");
            assert_eq!(wait_for(pid, memory).0.exit_status(), Some(0), "{first} {second}");
        }
    }

    #[test]
    fn an_inaccessible_page_is_below_a_stack() {
        let stack = Stack::take().expect("a stack");
        let guard = stack.0.as_ptr() as usize;
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
        let of = |address: usize| {
            let contains = |line: &&str| {
                let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
                let [start, end] = [start, end].map(|it| usize::from_str_radix(it, 16).expect("an address"));
                (start..end).contains(&address)
            };
            maps.lines().find(contains).and_then(|line| line.split(' ').nth(1)).map(str::to_owned)
        };
        assert_eq!(of(guard).as_deref(), Some("---p"));
        assert_eq!(of(guard + page_size()).as_deref(), Some("rw-p"));
        assert_eq!(of(stack.top() as usize - 1).as_deref(), Some("rw-p"));
    }

    #[test]
    fn a_nul_is_refused() {
        let mut strings = StringBlock::default();
        assert!(strings.push_variable(b"A", b"1\x002").is_err());
        strings.push_variable(b"B", b"2").expect("no NUL");
        assert_eq!(strings.bytes, b"B=2\0");
    }
}
