//! Processes of requests: started, waited for and ended, with all that they leave behind.
//!
//! They are spawned by posix_spawn(3), which the standard library does for a command without code to run in the child;
//! one task waits for all of them. Each leads a process group of its own. This process is the reaper of what their
//! descendants leave, PR_SET_CHILD_SUBREAPER, so that nothing outlives a request by leaving its group.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, kill_process, kill_process_group, set_child_subreaper, wait, waitpid,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// In the environment of a request's processes: whose they are, wherever they went.
pub const MARK: &str = "CONDUCTOR_REQUEST";
/// Between two looks for what has left its process group.
const SWEEP: Duration = Duration::from_millis(500);

/// What is run for a request or a worker.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    pub dir: PathBuf,
    pub environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// Whether it writes HTTP itself, RFC 3875 section 5.
    pub fn is_nph(&self) -> bool {
        self.path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("nph-"))
    }
}

/// What a process is given for its standard streams; its stderr is that of this process.
pub struct Streams {
    pub stdin: Stdio,
    pub stdout: OwnedFd,
}

/// Where temporary files may be: first where there is room, which is no tmpfs where /tmp is one. An image need have no more
/// than the last.
const SCRATCH: &[&str] = &["/var/tmp", "/tmp", "/dev/shm"];

/// Makes something temporary.
///
/// # Errors
/// What the file system says of the last place.
pub fn scratch<T>(make: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for dir in SCRATCH {
        outcome = make(Path::new(dir));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// All processes of this one.
#[derive(Default)]
pub struct Children(Mutex<Registry>);

#[derive(Default)]
struct Registry {
    running: HashMap<Pid, Running>,
    /// Spawns that have not returned: their processes may have ended already.
    spawning: u32,
    ended_early: HashMap<Pid, WaitStatus>,
    count: u64,
}

struct Running {
    ended: oneshot::Sender<WaitStatus>,
    mark: u64,
}

/// A process; it is killed when this is dropped, and its group with it.
pub struct Process {
    pid: Pid,
    children: Arc<Children>,
    ended: Ended,
}

enum Ended {
    Waiting(oneshot::Receiver<WaitStatus>),
    Done(WaitStatus),
}

impl Children {
    /// Takes charge of all descendants of this process. Needs a runtime.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn adopt() -> io::Result<Arc<Self>> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        let children = Arc::new(Self::default());
        let mut signals = signal(SignalKind::child())?;
        let all = children.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                all.reap();
            }
        });
        let all = children.clone();
        tokio::spawn(async move {
            let mut before = HashSet::new();
            loop {
                tokio::time::sleep(SWEEP).await;
                before = all.sweep(&before);
            }
        });
        Ok(children)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().expect("nobody panics while holding it")
    }

    /// Starts a program as the leader of a process group.
    ///
    /// # Errors
    /// What the kernel refuses, as that the program is not there.
    pub fn spawn(self: &Arc<Self>, program: &Program, streams: Streams) -> io::Result<Process> {
        let mark = {
            let mut registry = self.registry();
            registry.spawning += 1;
            registry.count += 1;
            registry.count
        };
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).current_dir(&program.dir).env_clear();
        command.envs(program.environment.iter().map(|(name, value)| (name, value))).env(MARK, mark.to_string());
        command.stdin(streams.stdin).stdout(streams.stdout).process_group(0);
        let spawned = command.spawn();
        let mut registry = self.registry();
        registry.spawning -= 1;
        let early = spawned.as_ref().ok().and_then(|child| registry.ended_early.remove(&pid_of(child)));
        if registry.spawning == 0 {
            registry.ended_early.clear();
        }
        let pid = pid_of(&spawned?);
        let ended = match early {
            Some(status) => {
                let _ = kill_process_group(pid, Signal::KILL);
                Ended::Done(status)
            }
            None => {
                let (sender, receiver) = oneshot::channel();
                registry.running.insert(pid, Running { ended: sender, mark });
                Ended::Waiting(receiver)
            }
        };
        drop(registry);
        Ok(Process { pid, children: self.clone(), ended })
    }

    /// Waits for what has ended. A process's group ends with it: its number cannot have been given to another in between.
    fn reap(&self) {
        let mut registry = self.registry();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(running) = registry.running.remove(&pid) {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = running.ended.send(status);
            } else if registry.spawning > 0 {
                registry.ended_early.insert(pid, status);
            }
        }
    }

    /// Kills what was left to this process by requests that are over, if it was there at the last look as well.
    fn sweep(&self, before: &HashSet<Pid>) -> HashSet<Pid> {
        let mut left = HashSet::new();
        for pid in children_of_this_process() {
            let registry = self.registry();
            if registry.running.contains_key(&pid) || registry.spawning > 0 {
                continue;
            }
            let is_of_group = getpgid(Some(pid)).is_ok_and(|group| registry.running.contains_key(&group));
            let is_of_request = || mark_of(pid).is_some_and(|mark| registry.running.values().any(|it| it.mark == mark));
            if is_of_group || is_of_request() {
                continue;
            }
            if before.contains(&pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
            left.insert(pid);
        }
        left
    }
}

fn pid_of(child: &std::process::Child) -> Pid {
    Pid::from_child(child)
}

/// proc_pid_task_children(5)
fn children_of_this_process() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let numbers =
        lists.flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>());
    numbers.filter_map(Pid::from_raw).collect()
}

/// The request that a process was started for, by the environment that it was started with.
fn mark_of(pid: Pid) -> Option<u64> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0).filter_map(|it| std::str::from_utf8(it).ok());
    variables.find_map(|variable| variable.strip_prefix(MARK)?.strip_prefix('=')?.parse().ok())
}

impl Process {
    /// Waits until it has ended, and its group with it.
    pub async fn ended(&mut self) -> WaitStatus {
        poll_fn(|context| self.poll_ended(context)).await
    }

    /// The same, to be asked again and again.
    pub fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<WaitStatus> {
        let status = match &mut self.ended {
            Ended::Done(status) => *status,
            // Who waits is there as long as its processes are.
            Ended::Waiting(receiver) => {
                ready!(Pin::new(receiver).poll(context)).expect("the registry outlives its processes")
            }
        };
        self.ended = Ended::Done(status);
        Poll::Ready(status)
    }

    /// Waits for it if it has ended already: sooner than by a signal.
    pub fn reap(&mut self) {
        let mut registry = self.children.registry();
        if !registry.running.contains_key(&self.pid) {
            return;
        }
        if let Ok(Some((_, status))) = waitpid(Some(self.pid), WaitOptions::NOHANG) {
            let _ = kill_process_group(self.pid, Signal::KILL);
            registry.running.remove(&self.pid);
            drop(registry);
            self.ended = Ended::Done(status);
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.ended, Ended::Waiting(_)) && self.children.registry().running.contains_key(&self.pid)
    }

    /// Ends it, and its group with it.
    pub fn kill(&self) {
        // Under the lock it cannot have been waited for: its number is no other's.
        let registry = self.children.registry();
        if registry.running.contains_key(&self.pid) && matches!(self.ended, Ended::Waiting(_)) {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a process ended, for people.
pub fn ending(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("it exited with {code}"),
        (_, Some(signal)) => format!("signal {signal} ended it"),
        _ => "it ended".to_owned(),
    }
}
