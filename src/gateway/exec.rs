//! Replaces this process by a program that takes over the socket on stdin.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The first descriptor that a program takes from systemd: SD_LISTEN_FDS_START of sd_listen_fds(3).
const LISTEN_FDS_START: i32 = 3;

/// What stdin is, and how the program gets it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// A listening socket: as file descriptor 3, with the variables of sd_listen_fds(3). The program does not get stdout,
    /// which is closed when it runs.
    Listener,
    /// A connection: as stdin and stdout.
    Connection,
}

/// Executes `command` in place of this process, and returns only the error if that fails.
pub(crate) fn exec(command: &[String], stdin: Stdin) -> io::Error {
    let Some((program, arguments)) = command.split_first() else { return io::Error::other("the command is empty") };
    let mut command = Command::new(program);
    if let Err(error) = pass(command.args(arguments), stdin) {
        return error;
    }
    let error = command.exec();
    io::Error::new(error.kind(), format!("could not start {program}: {error}"))
}

fn pass(command: &mut Command, role: Stdin) -> io::Result<()> {
    let stdin = io::stdin();
    if role == Stdin::Connection {
        return Ok(rustix::stdio::dup2_stdout(stdin.as_fd())?);
    }
    let socket = rustix::io::dup(stdin.as_fd())?; // the lowest free number
    if socket.as_raw_fd() != LISTEN_FDS_START {
        return Err(io::Error::other("file descriptor 3 is in use"));
    }
    // Whoever started this process waits until this is closed: with execve(2).
    let running = rustix::io::fcntl_dupfd_cloexec(io::stdout(), LISTEN_FDS_START + 1)?;
    std::mem::forget((socket, running)); // the program's, and the kernel's
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(fs::File::options().write(true).open("/dev/null")?)?;
    let pid = std::process::id().to_string();
    command.envs([("LISTEN_FDS", "1"), ("LISTEN_PID", &pid), ("LISTEN_FDNAMES", "connection")]);
    Ok(())
}
