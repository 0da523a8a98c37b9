//! Processes of programs: starts them, waits for them, and kills what they leave behind.
//!
//! One task waits for all processes. Each process leads a process group of its own. The gateway is the reaper of their
//! orphaned descendants, PR_SET_CHILD_SUBREAPER of prctl(2), so that no descendant outlives its request by leaving the
//! group. A control group for each request would need a writable /sys/fs/cgroup, which the programs share: they could leave
//! their groups. The unit of an isolated request is such a group, and systemd's.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, kill_process,
    kill_process_group, set_child_subreaper, set_dumpable_behavior, wait, waitid,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use crate::gateway::program::Program;
use crate::gateway::spawn::{ChildMemory, Image, StringBlock, mark_of, spawn};

/// The variable that has a process's number.
const REQUEST_VARIABLE: &str = "CONDUCTOR_REQUEST";
/// The time between the end of a process and the search for its orphans, which serves those that end within it as well.
const SWEEP_DELAY: Duration = Duration::from_millis(50);
/// The time between two searches, until one finds no orphan.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// Processes that start others faster than the gateway ends them are ended with the gateway, by systemd, after this time.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);

/// Environment variables of a request. They override those of the program.
pub(crate) type Variables = Vec<(OsString, OsString)>;

/// The standard streams of a process, but for stderr, which all processes share.
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
}

/// The child processes of the gateway.
pub(crate) struct Children {
    registry: Mutex<Registry>,
    /// /dev/null, the stdin of requests without a body.
    null: OwnedFd,
    /// The stderr of programs; None for the gateway's own.
    stderr: Option<Arc<OwnedFd>>,
    /// Some process has ended.
    has_ended: Notify,
    /// The orphans cannot be ended one by one.
    are_too_many: Notify,
}

#[derive(Default)]
struct Registry {
    running: HashMap<Pid, Child>,
    /// The number of the last process.
    last_number: u64,
}

struct Child {
    ended: oneshot::Sender<End>,
    number: u64,
    memory: ChildMemory,
}

/// How a process ended.
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// Why its program did not start.
    pub(crate) start_error: Option<io::Error>,
}

/// A process that a program was started in. Dropping it kills the process and its group.
pub(super) struct Process {
    pid: Pid,
    children: Arc<Children>,
    ended: Ended,
}

enum Ended {
    Waiting(oneshot::Receiver<End>),
    Done,
}

impl Children {
    /// Makes this process the reaper of its descendants, closes its memory and descriptors to them, and starts the tasks
    /// that wait for them. Needs a tokio runtime. Programs write errors to `stderr` if there is one, else where the gateway does.
    ///
    /// # Errors
    /// If the kernel refuses that, or the signal handler of SIGCHLD.
    pub(crate) fn adopt(stderr: Option<Arc<OwnedFd>>) -> io::Result<Arc<Self>> {
        set_child_subreaper(Some(getpid()))?;
        // Programs have the same user: without this they could trace the gateway, ptrace(2), and read other requests.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let (registry, has_ended, are_too_many) = Default::default();
        let null = File::open("/dev/null")?.into();
        let children = Arc::new(Self { registry, null, stderr, has_ended, are_too_many });
        let mut signals = signal(SignalKind::child())?;
        let all = children.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                all.reap();
            }
        });
        let all = children.clone();
        tokio::spawn(async move {
            loop {
                all.has_ended.notified().await;
                sleep(SWEEP_DELAY).await;
                all.sweep_until_none_is_left().await;
            }
        });
        Ok(children)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().expect("no holder panics")
    }

    /// Starts a program, and returns when it runs.
    ///
    /// # Errors
    /// If the kernel cannot execute it.
    pub(crate) async fn start(self: &Arc<Self>, program: &Program, streams: &Streams) -> io::Result<Process> {
        let (process, started) = self.begin(program, streams)?;
        let mut errno = [0; size_of::<i32>()];
        match Receiver::from_owned_fd(started)?.read(&mut errno).await? {
            0 => Ok(process),
            _ => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
        }
    }

    /// Starts a process, and returns the pipe that it closes when its program runs.
    fn begin(self: &Arc<Self>, program: &Program, streams: &Streams) -> io::Result<(Process, OwnedFd)> {
        let mut registry = self.registry();
        let number = registry.next_number();
        let image = image(program, &Variables::new(), number)?;
        // No other process starts, and inherits this pipe, until its end here is closed.
        let (started, running) = pipe_with(PipeFlags::CLOEXEC)?;
        let (pid, memory) = spawn(image, &streams.stdin, &streams.stdout, self.stderr.as_deref(), Some(&running))?;
        Ok((self.register(&mut registry, pid, number, memory), started))
    }

    /// Starts a program for a request, and returns the pipe that it writes to. `End::start_error` is set if the kernel
    /// cannot execute it.
    ///
    /// # Errors
    /// If the kernel refuses a pipe or a process.
    pub(crate) fn run(
        self: &Arc<Self>,
        program: &Program,
        variables: &Variables,
        stdin: Option<&OwnedFd>,
    ) -> io::Result<(Process, OwnedFd)> {
        let mut registry = self.registry();
        let number = registry.next_number();
        let image = image(program, variables, number)?;
        let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (pid, memory) = spawn(image, stdin.unwrap_or(&self.null), &stdout, self.stderr.as_deref(), None)?;
        Ok((self.register(&mut registry, pid, number, memory), output))
    }

    /// Registers a process. The registry must have been locked before the process started, or `reap` could miss it.
    fn register(self: &Arc<Self>, registry: &mut Registry, pid: Pid, number: u64, memory: ChildMemory) -> Process {
        let (ended, receiver) = oneshot::channel();
        registry.running.insert(pid, Child { ended, number, memory });
        Process { pid, children: self.clone(), ended: Ended::Waiting(receiver) }
    }

    /// Waits for all processes that have ended, wait(2).
    fn reap(&self) {
        let mut registry = self.registry();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if registry.ended(pid, status) {
                self.has_ended.notify_one();
            }
        }
    }

    async fn sweep_until_none_is_left(&self) {
        let began = Instant::now();
        while self.sweep() {
            if began.elapsed() > SWEEP_LIMIT {
                self.are_too_many.notify_one();
            }
            sleep(SWEEP_PAUSE).await;
            self.reap();
        }
    }

    /// Returns when the orphans of requests that are over start others faster than this process can end them.
    pub(crate) async fn are_too_many(&self) {
        self.are_too_many.notified().await;
    }

    /// Kills the orphans of requests that are over. Returns whether it found any.
    fn sweep(&self) -> bool {
        let mut has_found = false;
        for pid in children_of_this_process() {
            // While the registry is locked nothing waits for the process, and its ID is not reused.
            let registry = self.registry();
            let is_of_request =
                || mark_of(pid).is_some_and(|mark| registry.running.values().any(|it| it.number == mark));
            if is_child(pid) && !registry.running.contains_key(&pid) && !is_of_request() {
                // One with another user, such as sudo(8) where there is no sandbox, is left alone.
                has_found |= kill_process(pid, Signal::KILL).is_ok();
            }
        }
        has_found
    }
}

/// Returns whether a process is a child of this one that runs.
fn is_child(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

impl Registry {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Returns whether the process was a program's own, not a descendant.
    fn ended(&mut self, pid: Pid, status: WaitStatus) -> bool {
        let Some(Child { ended, memory, number: _ }) = self.running.remove(&pid) else { return false };
        // The kernel assigns IDs in a cycle, and this one is free only since wait(2): no other group has it yet.
        let _ = kill_process_group(pid, Signal::KILL);
        let (code, signal) = (status.exit_status(), status.terminating_signal());
        let _ = ended.send(End { code, signal, start_error: memory.error() });
        memory.free();
        true
    }
}

/// Returns the arguments of execve(2) for a program. `number` marks the process and its descendants.
fn image(program: &Program, variables: &Variables, number: u64) -> io::Result<Image> {
    let (mut arguments, mut environment) = (StringBlock::default(), StringBlock::default());
    arguments.push(&[program.path.as_os_str().as_bytes()])?;
    for argument in &program.arguments {
        arguments.push(&[argument.as_bytes()])?;
    }
    let is_overridden = |name: &OsString| variables.iter().any(|(it, _)| it == name);
    let inherited = program.environment.iter().filter(|(name, _)| !is_overridden(name));
    for (name, value) in variables.iter().map(|(name, value)| (name, value)).chain(inherited) {
        environment.push_variable(name.as_bytes(), value.as_bytes())?;
    }
    environment.push_variable(REQUEST_VARIABLE.as_bytes(), number.to_string().as_bytes())?;
    Image::new(&program.path, &program.dir, arguments, environment, number)
}

/// Returns the children of this process, its adopted ones included, proc_pid_task(5).
fn children_of_this_process() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let numbers =
        lists.flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>());
    numbers.filter_map(Pid::from_raw).collect()
}

impl Process {
    /// Waits until the process has ended and its group was killed.
    ///
    /// # Panics
    /// If its end has been returned before.
    pub(crate) async fn ended(&mut self) -> End {
        poll_fn(|context| self.poll_ended(context)).await
    }

    /// Returns how the process ended, once its group was killed.
    ///
    /// # Panics
    /// If its end has been returned before.
    pub(crate) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let Ended::Waiting(receiver) = &mut self.ended else { panic!("the end of the process was returned before") };
        let end = ready!(Pin::new(receiver).poll(context)).expect("the registry sends before it forgets a process");
        self.ended = Ended::Done;
        Poll::Ready(end)
    }

    /// Returns how the process ended, if it has, without the signal and wait(2), which come a while later.
    ///
    /// # Panics
    /// If its end has been returned before.
    pub(crate) fn try_wait(&mut self) -> Option<End> {
        assert!(matches!(self.ended, Ended::Waiting(_)), "the end of the process was returned before");
        let registry = self.children.registry();
        let start_error = registry.running.get(&self.pid)?.memory.error();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.pid), options).ok()??;
        drop(registry);
        self.ended = Ended::Done;
        Some(End { code: status.exit_status(), signal: status.terminating_signal(), start_error })
    }

    /// Returns whether nothing has waited for the process yet.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.ended, Ended::Waiting(_)) && self.children.registry().running.contains_key(&self.pid)
    }

    /// Kills the process and its group.
    fn kill(&self) {
        // While the registry is locked nothing waits for the process, and its ID is not reused.
        let registry = self.children.registry();
        if registry.running.contains_key(&self.pid) {
            // The child may not have come to setpgid(2) yet.
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.ended, Ended::Waiting(_)) {
            self.kill();
        }
    }
}

/// Continues a sentence about the program.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with status {code}"),
            (_, Some(signal)) => write!(f, "was killed by signal {signal}"),
            _ => f.write_str("ended"),
        }
    }
}
