//! Jobs that people start: as the clock does, with the job's output on the terminal.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use crate::deployment::health::{exit_of, unless};
use crate::layout::Scope;
use crate::names::ServiceName;
use crate::service::failure::{Failure, Result};
use crate::service::job::SERVICE;
use crate::service::machine::Machine;
use crate::service::run::{End, interruption};
use crate::systemd::Manager;

/// The time between two looks at the journal.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts a job, writes to `output` what it logs, and returns its exit code when it has ended. It is stopped if this
/// program is asked to end.
///
/// # Errors
/// If it runs already, or why it could not start or did not end.
pub(crate) fn start(machine: &Machine, name: &ServiceName, job: &str, output: &mut impl Write) -> Result<u8> {
    let (manager, unit) = (machine.manager, format!("{}{SERVICE}", name.job(job)));
    let before = manager.show(&unit, &["LoadState", "ActiveState", "InvocationID"])?;
    let before = |name: &str| before.get(name).map_or("", String::as_str);
    if before("LoadState") == "not-found" {
        let remedy = "`conductor daemon-reload` applies what is declared";
        return Err(Failure::Failed(format!("there is no {unit}: {remedy}")));
    }
    if !matches!(before("ActiveState"), "inactive" | "failed") {
        let follow = format!("`journalctl --follow --unit={unit}` shows its output");
        return Err(Failure::Failed(format!("the job {job} of {name} runs already: {follow}")));
    }
    let mut log = Log::from_now(manager, &unit);
    let ended = await_end(systemctl_start(manager, &unit)?, || log.write_new(output))?;
    if !ended {
        manager.stop(std::slice::from_ref(&unit))?;
        log.write_new(output)?;
        return Err(Failure::Failed(format!("interrupted; stopped {unit}")));
    }
    log.write_last(output)?;
    let end = End::of(manager, &unit)?;
    match end.result.as_str() {
        _ if end.invocation == before("InvocationID") => {
            let see = format!("`systemctl status {unit}` shows why");
            Err(Failure::Failed(format!("systemd did not start {unit}: {see}")))
        }
        "success" => Ok(0),
        "exit-code" => Ok(end.status.parse().unwrap_or(1)),
        _ => Err(Failure::Failed(format!("the job {job} of {name} {}", end.why(None)))),
    }
}

/// Starts systemctl(1), which waits for the end of the job. What it tells of failures is for its own callers.
fn systemctl_start(manager: Manager, unit: &str) -> Result<Child> {
    let mut start = Command::new("systemctl");
    if manager.scope() == Scope::User {
        start.arg("--user");
    }
    start.args(["start", unit]).stderr(Stdio::null());
    start.spawn().map_err(|error| Failure::Failed(format!("could not run systemctl: {error}")))
}

/// Waits for the end of a program and works meanwhile, again and again. Returns whether it has ended: not if this program
/// is asked to end first.
fn await_end(mut child: Child, mut work: impl FnMut() -> Result<()>) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let waiting = async {
            while timeout(PAUSE, exit_of(Some(child.id()))).await.is_err() {
                work()?;
            }
            Ok::<_, Failure>(())
        };
        Ok::<_, io::Error>(unless(interruption()?, waiting).await)
    })?;
    match ended {
        Ok(worked) => {
            worked?;
            child.wait()?;
            Ok(true)
        }
        Err(()) => Ok(false),
    }
}

/// What the processes of a unit log from a point of time on.
struct Log {
    manager: Manager,
    /// `_SYSTEMD_UNIT=…`, systemd.journal-fields(7).
    matches: String,
    /// Where the next entries begin: behind the last one that was written, or at a time. journalctl(1) would skip the
    /// first entry behind one that does not match.
    from: String,
}

impl Log {
    fn from_now(manager: Manager, unit: &str) -> Self {
        let field = if manager.scope() == Scope::User { "_SYSTEMD_USER_UNIT" } else { "_SYSTEMD_UNIT" };
        // What an earlier run has logged is written before.
        manager.sync_journal();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let from = format!("--since=@{}.{:06}", now.as_secs(), now.subsec_micros());
        Self { manager, matches: format!("{field}={unit}"), from }
    }

    /// Writes the entries since the last call.
    fn write_new(&mut self, output: &mut impl Write) -> Result<()> {
        const CURSOR: &[u8] = b"-- cursor: ";
        let mut journalctl = self.manager.journalctl();
        journalctl.args(["--output=cat", "--all", "--no-pager", "--quiet", "--show-cursor", &self.from, &self.matches]);
        let mut text = journalctl.output()?.stdout;
        let cursor = text.windows(CURSOR.len()).rposition(|bytes| bytes == CURSOR);
        if let Some(start) = cursor.filter(|start| *start == 0 || text[start - 1] == b'\n') {
            let cursor = String::from_utf8_lossy(&text[start + CURSOR.len()..]).trim().to_owned();
            self.from = format!("--after-cursor={cursor}");
            text.truncate(start);
        }
        output.write_all(&text)?;
        Ok(output.flush()?)
    }

    /// Writes the entries of a unit that has ended.
    fn write_last(&mut self, output: &mut impl Write) -> Result<()> {
        self.manager.sync_journal();
        self.write_new(output)
    }
}
