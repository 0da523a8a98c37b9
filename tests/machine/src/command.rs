//! Commands on the host and in a machine, and what they did.

use std::fmt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Runs a command on the host, for its output.
pub(crate) fn host(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stdout))),
    }
}

/// A program that was built together with this one.
pub(crate) fn sibling(name: &str) -> PathBuf {
    std::env::current_exe().expect("the path of this program").with_file_name(name)
}

/// What a command in a machine did.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; 124 when it took longer than any command may.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub(crate) fn of(output: &std::process::Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code().unwrap_or(-1);
        Self { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub fn success(&self) -> bool {
        self.status == 0
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

/// A command that runs in a machine.
pub struct Background {
    /// The shell command, for messages.
    text: String,
    child: Child,
}

impl Background {
    pub(crate) fn start(text: &str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self { text: text.into(), child: child.expect("nsenter") }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for a command").is_none()
    }

    pub fn wait(self) -> Output {
        Output::of(&self.child.wait_with_output().expect("wait for a command"))
    }

    /// Waits for the command and returns its output; panics with the output if it fails.
    #[track_caller]
    pub fn finish(self) -> String {
        let text = self.text.clone();
        let output = self.wait();
        assert!(output.success(), "{text}: {output}");
        output.stdout
    }
}
