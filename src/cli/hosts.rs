//! Commands that run on several hosts, one after the other, over ssh(1).

use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;

/// The hosts of a command.
#[derive(Args)]
pub(crate) struct Hosts {
    /// Run on these hosts instead, one after the other, over ssh(1); stop at the first that fails
    #[arg(long = "host", value_name = "HOST", value_delimiter = ',')]
    pub(crate) hosts: Vec<String>,
}

impl Hosts {
    /// Returns whether the command runs here.
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Runs conductor on each host with these words, and `send` writes what it reads.
    ///
    /// # Errors
    /// The exit code of the first host that fails, after naming it and the hosts that were not reached.
    pub(crate) fn run(
        &self,
        context: &Context,
        words: &[String],
        mut send: impl FnMut(&mut dyn Write) -> Outcome,
    ) -> Outcome {
        context.must_be_this_machine()?;
        for (index, host) in self.hosts.iter().enumerate() {
            if host.starts_with('-') || host.is_empty() {
                return Err(Failure::Usage(format!("{host:?} is not a host")));
            }
            outln!("{host}:");
            let status = run_on(host, words, &mut send)?;
            if !status.success() {
                return Err(self.failed(index, status));
            }
        }
        Ok(())
    }

    fn failed(&self, index: usize, status: ExitStatus) -> Failure {
        let host = &self.hosts[index];
        let left = match &self.hosts[index + 1..] {
            [] => String::new(),
            left => format!("; nothing was done on {}", left.join(", ")),
        };
        match status.code() {
            // ssh(1)
            Some(255) => Failure::Failed(format!("{host}: ssh could not run the command{left}")),
            Some(127) => {
                Failure::Failed(format!("{host}: there is no conductor in the PATH of its ssh sessions{left}"))
            }
            _ => Failure::Failed(format!("{host}: conductor failed ({status}){left}")),
        }
    }
}

/// Runs conductor on a host.
fn run_on(
    host: &str,
    words: &[String],
    send: &mut impl FnMut(&mut dyn Write) -> Outcome,
) -> Result<ExitStatus, Failure> {
    let command: Vec<_> = ["conductor".to_owned()].iter().chain(words).map(|word| quoted(word)).collect();
    let mut ssh = Command::new("ssh");
    ssh.args(["--", host, &command.join(" ")]).stdin(Stdio::piped());
    let mut child = ssh.spawn().map_err(|error| Failure::Failed(format!("ssh: {error}")))?;
    let sent = child.stdin.take().map_or(Ok(()), |mut input| send(&mut input));
    let status = child.wait()?;
    // A host that fails may not read all: its own failure says more than the broken pipe.
    if status.success() {
        sent?;
    }
    Ok(status)
}

/// Quotes a word for the shell of the other host, sh(1).
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_shell_reads_a_word_as_it_is(word in "[^\0]{0,20}") {
            let echoed = Command::new("sh").args(["-c", &format!("printf %s {}", quoted(&word))]).output().unwrap();
            prop_assert_eq!(String::from_utf8(echoed.stdout).unwrap(), word);
        }
    }
}
