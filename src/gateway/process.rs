//! Processes of requests: started, waited for and ended, with all that they leave behind.
//!
//! One task waits for all of them. Each leads a process group of its own. This process is the reaper of what their
//! descendants leave, PR_SET_CHILD_SUBREAPER, so that nothing outlives a request by leaving its group.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpgid, kill_process, kill_process_group,
    set_child_subreaper, wait, waitid,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::gateway::spawn::{Image, Slot, Start, Strings, spawn};

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
    pub environment: BTreeMap<OsString, OsString>,
}

/// Variables of a request, before those of its program.
pub type Variables = Vec<(OsString, OsString)>;

impl Program {
    /// Whether it writes HTTP itself, RFC 3875 section 5.
    pub fn is_nph(&self) -> bool {
        self.path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("nph-"))
    }

    fn image(&self, own: &Variables, mark: u64) -> io::Result<Image> {
        let (mut words, mut variables) = (Strings::default(), Strings::default());
        words.push(&[self.path.as_os_str().as_bytes()])?;
        for argument in &self.arguments {
            words.push(&[argument.as_bytes()])?;
        }
        let others = self.environment.iter().filter(|(name, _)| !own.iter().any(|(it, _)| it == *name));
        for (name, value) in own.iter().map(|(name, value)| (name, value)).chain(others) {
            variables.set(name.as_bytes(), value.as_bytes())?;
        }
        variables.set(MARK.as_bytes(), mark.to_string().as_bytes())?;
        Image::new(&self.path, &self.dir, words, variables)
    }
}

/// What a process is given for its standard streams; its stderr is that of this process.
pub struct Streams {
    pub stdin: OwnedFd,
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
pub struct Children {
    registry: Mutex<Registry>,
    /// What a request without a body has its program read.
    nothing: OwnedFd,
}

#[derive(Default)]
struct Registry {
    running: HashMap<Pid, Running>,
    count: u64,
}

struct Running {
    ended: oneshot::Sender<End>,
    mark: u64,
    slot: Slot,
}

/// How a process ended.
pub struct End {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// Why it never became its program.
    pub not_started: Option<io::Error>,
}

/// A process; it is killed when this is dropped, and its group with it.
pub struct Process {
    pid: Pid,
    children: Arc<Children>,
    ended: Ended,
}

enum Ended {
    Waiting(oneshot::Receiver<End>),
    Done,
}

impl Children {
    /// Takes charge of all descendants of this process. Needs a runtime.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn adopt() -> io::Result<Arc<Self>> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        let children = Arc::new(Self { registry: Mutex::default(), nothing: File::open("/dev/null")?.into() });
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
        self.registry.lock().expect("nobody panics while holding it")
    }

    /// Starts a program as the leader of a process group, and returns when it runs.
    ///
    /// # Errors
    /// What the kernel refuses, as that the program is not there.
    pub fn start(self: &Arc<Self>, program: &Program, streams: &Streams) -> io::Result<Process> {
        let mut registry = self.registry();
        let mark = registry.mark();
        let image = program.image(&Variables::new(), mark)?;
        let (pid, slot) = spawn(image, &streams.stdin, &streams.stdout, Start::First)?;
        let error = slot.error();
        let process = self.enter(&mut registry, pid, mark, slot);
        drop(registry); // a process that is dropped looks there
        error.map_or(Ok(process), Err)
    }

    /// Has a program answer a request: what it writes is read from the pipe. Whether it runs at all its end tells.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn run(
        self: &Arc<Self>,
        program: &Program,
        own: &Variables,
        stdin: Option<&OwnedFd>,
    ) -> io::Result<(Process, OwnedFd)> {
        let mut registry = self.registry();
        let mark = registry.mark();
        let image = program.image(own, mark)?;
        let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (pid, slot) = spawn(image, stdin.unwrap_or(&self.nothing), &stdout, Start::Beside)?;
        Ok((self.enter(&mut registry, pid, mark, slot), output))
    }

    /// Under the lock since it was made: nobody has waited for it.
    fn enter(self: &Arc<Self>, registry: &mut Registry, pid: Pid, mark: u64, slot: Slot) -> Process {
        let (ended, receiver) = oneshot::channel();
        registry.running.insert(pid, Running { ended, mark, slot });
        Process { pid, children: self.clone(), ended: Ended::Waiting(receiver) }
    }

    /// Waits for what has ended. A process's group ends with it: its number cannot have been given to another in between.
    fn reap(&self) {
        let mut registry = self.registry();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            registry.ended(pid, status);
        }
    }

    /// Kills what was left to this process by requests that are over, if it was there at the last look as well.
    fn sweep(&self, before: &HashSet<Pid>) -> HashSet<Pid> {
        let mut left = HashSet::new();
        for pid in children_of_this_process() {
            let registry = self.registry();
            if registry.running.contains_key(&pid) {
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

impl Registry {
    fn mark(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) {
        if let Some(Running { ended, slot, mark: _ }) = self.running.remove(&pid) {
            let _ = kill_process_group(pid, Signal::KILL);
            let (code, signal) = (status.exit_status(), status.terminating_signal());
            let _ = ended.send(End { code, signal, not_started: slot.error() });
            slot.free();
        }
    }
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
    pub async fn ended(&mut self) -> End {
        poll_fn(|context| self.poll_ended(context)).await
    }

    /// The same, until it says so.
    ///
    /// # Panics
    /// When asked once more.
    pub fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let Ended::Waiting(receiver) = &mut self.ended else { panic!("it said how it ended") };
        // Who waits is there as long as its processes are.
        let end = ready!(Pin::new(receiver).poll(context)).expect("the registry outlives its processes");
        self.ended = Ended::Done;
        Poll::Ready(end)
    }

    /// How it ended, if it has: before a signal says so, and before it is waited for, which takes the kernel a while.
    ///
    /// # Panics
    /// As above.
    pub fn peek(&mut self) -> Option<End> {
        assert!(matches!(self.ended, Ended::Waiting(_)), "it said how it ended");
        let registry = self.children.registry();
        let not_started = registry.running.get(&self.pid)?.slot.error();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.pid), options).ok()??;
        drop(registry);
        self.ended = Ended::Done;
        Some(End { code: status.exit_status(), signal: status.terminating_signal(), not_started })
    }

    pub fn is_running(&self) -> bool {
        matches!(self.ended, Ended::Waiting(_)) && self.children.registry().running.contains_key(&self.pid)
    }

    /// Ends it, and its group with it.
    pub fn kill(&self) {
        // Under the lock it cannot have been waited for: its number is no other's.
        let registry = self.children.registry();
        if registry.running.contains_key(&self.pid) {
            // It makes its group itself, and may not have come to it.
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

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "it exited with {code}"),
            (_, Some(signal)) => write!(f, "signal {signal} ended it"),
            _ => f.write_str("it ended"),
        }
    }
}
