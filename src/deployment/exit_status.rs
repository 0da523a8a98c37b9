//! How a unit's main process ended, as systemd passes it to `ExecStopPost=`, systemd.exec(5).

use std::env;
use std::fmt;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::engine::podman::runtime;

/// The statuses with which systemd itself ends before it executes a program, "Process Exit Codes" of systemd.exec(5),
/// and those of a shell.
const MEANINGS: &[(&str, &str)] = &[
    ("126", "a shell could not execute a program"),
    ("127", "a shell did not find a program"),
    ("200", "200/CHDIR: systemd could not change to the working directory"),
    ("203", "203/EXEC: systemd could not execute the program, or the interpreter that its first line names"),
    ("205", "205/LIMITS: systemd could not set a resource limit"),
    ("206", "206/OOM_ADJUST: systemd could not set OOMScoreAdjust"),
    ("208", "208/STDIN: systemd could not open the standard input"),
    ("209", "209/STDOUT: systemd could not open the standard output"),
    ("214", "214/SETSCHEDULER: systemd could not set the scheduling policy"),
    ("216", "216/GROUP: there is no such group"),
    ("217", "217/USER: there is no such user"),
    ("218", "218/CAPABILITIES: systemd could not set the capabilities"),
    ("219", "219/CGROUP: systemd could not set up the control group"),
    ("225", "225/NETWORK: systemd could not set up the network namespace"),
    ("226", "226/NAMESPACE: systemd could not set up the mounts; a path that the sandbox names is missing"),
    ("228", "228/SECCOMP: systemd could not apply the filter of system calls"),
    ("233", "233/RUNTIME_DIRECTORY: systemd could not create RuntimeDirectory"),
    ("238", "238/STATE_DIRECTORY: systemd could not create StateDirectory"),
    ("239", "239/CACHE_DIRECTORY: systemd could not create CacheDirectory"),
    ("240", "240/LOGS_DIRECTORY: systemd could not create LogsDirectory"),
    ("241", "241/CONFIGURATION_DIRECTORY: systemd could not create ConfigurationDirectory"),
    ("243", "243/CREDENTIALS: systemd could not load a credential"),
];

/// The words for a process that the kernel has killed for want of memory.
pub(crate) const OUT_OF_MEMORY: &str = "it took more memory than it may";
/// What podman's monitor returns for a container whose process SIGKILL has ended.
const KILLED_INSIDE: &str = "137";

/// The exit status of a process, or the signal that ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitStatus {
    /// `exited`, `killed` or `dumped`.
    pub(crate) code: String,
    /// A number, or the name of a signal such as `KILL`.
    pub(crate) status: String,
    /// Whether the kernel killed it for want of memory.
    #[serde(default)]
    pub(crate) is_out_of_memory: bool,
}

impl ExitStatus {
    /// Reads the variables of `ExecStopPost=`; None if no main process ran.
    pub(crate) fn from_environment() -> Option<Self> {
        let (code, status) = (env::var("EXIT_CODE").ok()?, env::var("EXIT_STATUS").ok()?);
        let was_killed = match code.as_str() {
            "exited" => status == KILLED_INSIDE,
            _ => status == "KILL",
        };
        // With `OOMPolicy=continue` systemd passes no other result than that of a kill.
        let is_out_of_memory = was_killed && kills_for_memory().is_some_and(|kills| kills > 0);
        Some(Self { code, status, is_out_of_memory })
    }
}

/// Returns how many processes the kernel has killed for want of memory in the unit of the caller, a hook, since it started,
/// cgroups(7); None if the kernel does not count them.
fn kills_for_memory() -> Option<u32> {
    let group = runtime::group_dir(&runtime::unit_group().ok()??);
    kills_in(&fs::read_to_string(group.join("memory.events")).ok()?)
}

fn kills_in(events: &str) -> Option<u32> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, status, is_out_of_memory } = self;
        let meaning = MEANINGS.iter().find(|(number, _)| number == status).map(|(_, meaning)| *meaning);
        match (code.as_str(), status.as_str(), meaning) {
            ("exited", "0", _) => out.write_str("exited with status 0: does it go into the background?"),
            ("exited", KILLED_INSIDE, _) if *is_out_of_memory => write!(out, "was killed by SIGKILL: {OUT_OF_MEMORY}"),
            ("exited", "126" | "127", Some(meaning)) => write!(out, "exited with status {status}: {meaning}"),
            ("exited", _, Some(meaning)) => write!(out, "exited with status {meaning}"),
            ("exited", ..) => write!(out, "exited with status {status}"),
            _ if *is_out_of_memory => write!(out, "was killed by SIG{status}: {OUT_OF_MEMORY}"),
            (_, "SYS", _) => out.write_str("was killed by SIGSYS: the sandbox forbids a system call that it made"),
            ("dumped", ..) => write!(out, "was killed by SIG{status} and dumped core"),
            _ => write!(out, "was killed by SIG{status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_have_words() {
        let told = |code: &str, status: &str, is_out_of_memory| {
            ExitStatus { code: code.into(), status: status.into(), is_out_of_memory }.to_string()
        };
        assert_eq!(told("exited", "0", false), "exited with status 0: does it go into the background?");
        assert_eq!(told("exited", "3", false), "exited with status 3");
        assert_eq!(told("exited", "127", false), "exited with status 127: a shell did not find a program");
        assert_eq!(told("exited", "217", false), "exited with status 217/USER: there is no such user");
        assert_eq!(told("killed", "KILL", true), "was killed by SIGKILL: it took more memory than it may");
        assert_eq!(told("exited", "137", true), "was killed by SIGKILL: it took more memory than it may");
        assert_eq!(told("killed", "KILL", false), "was killed by SIGKILL");
        assert_eq!(told("dumped", "SEGV", false), "was killed by SIGSEGV and dumped core");
    }

    #[test]
    fn kills_for_memory_are_counted_as_the_kernel_writes_them() {
        let events = "low 0\nhigh 0\nmax 20\noom 1\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(kills_in(events), Some(2));
        assert_eq!(kills_in("low 0\n"), None);
    }
}
