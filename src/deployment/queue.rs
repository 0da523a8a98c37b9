//! The queue of a service: a socket that takes its callers while no deployment serves.
//!
//! systemd-socket-proxyd(8), which connects the callers of a port, goes on accepting when no deployment serves, and a proxy
//! answers 503 at once. So the slots lead to a socket then on which nobody accepts, and callers wait in the kernel's
//! queue, listen(2). The first of them starts the queue's relay. It waits here until a deployment has the slots, and
//! becomes a systemd-socket-proxyd(8) to that deployment. Its callers stay connected over it, and it goes on accepting: the
//! next gap has another queue.

use fs_err as fs;
use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::atomic;
use crate::deployment::connections;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::log::note;
use crate::model::listen::QUEUE_LENGTH;
use crate::names::listener::{from_numbered, numbered};
use crate::names::{ListenerName, ServiceName};
use crate::systemd::Manager;

/// The pause between two looks at a slot, or at the length of a queue.
const PAUSE: Duration = Duration::from_millis(2);
/// The pause between the two counts that must both be zero, as when a deployment drains.
const CONFIRM: Duration = Duration::from_millis(3);
/// The time in which a relay takes all callers that wait.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// One of a service's queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    service: ServiceName,
    /// The listener that its callers wait for, None for that of `[listen]` itself.
    listener: Option<ListenerName>,
    number: u32,
}

impl Queue {
    /// Reads the name of a queue in its units, `2` or `2-metrics`.
    pub(crate) fn from_instance(service: &ServiceName, instance: &str) -> Option<Self> {
        let (number, listener) = from_numbered(instance)?;
        Some(Self { service: service.clone(), listener, number })
    }

    pub(crate) fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Returns its name in its units.
    fn instance(&self) -> String {
        numbered(self.number, self.listener.as_ref())
    }

    /// Returns the path of its socket.
    pub(crate) fn socket(&self, layout: &Layout) -> Utf8PathBuf {
        layout.queues(&self.service).join(self.instance())
    }

    fn socket_unit(&self) -> String {
        format!("{}{}.socket", self.service.queue_template(), self.instance())
    }

    fn relay_unit(&self) -> String {
        format!("{}{}.service", self.service.queue_template(), self.instance())
    }
}

/// Returns whether a service has queues: their units are those of the declaration in force.
pub(crate) fn is_declared(layout: &Layout, name: &ServiceName) -> bool {
    layout.at(layout.generator()).join(format!("{}.socket", name.queue_template())).exists()
}

/// Returns whether a slot leads to one of the service's queues.
pub(crate) fn is_queue(layout: &Layout, name: &ServiceName, socket: &Utf8Path) -> bool {
    socket.parent() == Some(&layout.queues(name))
}

/// Opens a queue for each of some listeners of a service, in their order; none of them is in use.
///
/// # Errors
/// If systemd refuses the job.
pub(crate) fn open(manager: Manager, name: &ServiceName, listeners: &[Option<ListenerName>]) -> Result<Vec<Queue>> {
    let used = manager.active(&name.queue_pattern())?;
    let is_free = |queue: &Queue| !used.contains(&queue.socket_unit()) && !used.contains(&queue.relay_unit());
    let mut queues = Vec::new();
    for listener in listeners {
        let of = |number| Queue { service: name.clone(), listener: listener.clone(), number };
        let queue = (1..=u32::MAX).map(of).find(is_free);
        queues.push(queue.ok_or_else(|| Error(format!("{name}: all queues are in use")))?);
    }
    manager.start(&queues.iter().map(Queue::socket_unit).collect::<Vec<_>>())?;
    Ok(queues)
}

/// Lists the queues of a service that are open.
fn all(layout: &Layout, name: &ServiceName) -> io::Result<Vec<Queue>> {
    let entries = atomic::entries(&layout.at(&layout.queues(name)))?;
    Ok(entries.iter().filter_map(|entry| Queue::from_instance(name, entry.file_name())).collect())
}

/// Closes the queues of a service whose slots lead to a deployment, once their relays have taken all callers.
///
/// # Errors
/// If systemd refuses the job.
pub(crate) fn close(layout: &Layout, manager: Manager, name: &ServiceName) -> Result<()> {
    let open = all(layout, name)?;
    if open.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + TAKEN_WITHIN;
    for queue in &open {
        wait_until_empty(&layout.at(&queue.socket(layout)), deadline);
    }
    Ok(manager.stop(&open.iter().map(Queue::socket_unit).collect::<Vec<_>>())?)
}

/// Asks systemd to close a queue, and does not wait: whoever is in it is refused.
pub(crate) fn ask_close(manager: Manager, queue: &Queue) {
    manager.ask_stop(&queue.socket_unit());
}

/// Waits until nobody is in a queue. A caller may have read a slot before that led elsewhere: the queue must be empty twice.
fn wait_until_empty(socket: &Utf8Path, deadline: Instant) {
    let mut was_empty = false;
    while Instant::now() < deadline {
        // Unknown is not zero.
        let is_empty = connections::in_flight(socket).is_ok_and(|in_flight| in_flight.queued == 0);
        if is_empty && was_empty {
            return;
        }
        sleep(if is_empty { CONFIRM } else { PAUSE });
        was_empty = is_empty;
    }
    note!("{socket}: closing the queue although callers may wait in it after {TAKEN_WITHIN:?}");
}

/// Logs how many callers are in the queue if no more can be: the kernel has refused others.
pub(crate) fn tell_if_full(layout: &Layout, name: &ServiceName) {
    for queue in all(layout, name).unwrap_or_default() {
        let socket = queue.socket(layout);
        let Ok(waiting) = connections::in_flight(&layout.at(&socket)) else { continue };
        if waiting.queued >= most() {
            let remedy = "raise net.core.somaxconn, sysctl(8)";
            note!("{name}: {} callers waited, and others were refused: {remedy}", waiting.queued);
        }
    }
}

/// Returns how many callers fit a queue, listen(2).
fn most() -> u32 {
    let kernels = fs::read_to_string("/proc/sys/net/core/somaxconn").ok().and_then(|text| text.trim().parse().ok());
    kernels.map_or(QUEUE_LENGTH, |most: u32| most.min(QUEUE_LENGTH))
}

/// Removes the directory of a service's queues.
///
/// # Errors
/// If the file system refuses it.
pub(crate) fn clear(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    atomic::remove_dir(&layout.at(&layout.queues(name)))
}

/// Waits until the first slot of the queue's listener leads to a deployment, and becomes `command`, systemd-socket-proxyd(8), with
/// the deployment's socket as its last argument.
///
/// # Errors
/// If no deployment has the slot within `limit`, or the command cannot be run.
pub(crate) fn relay(layout: &Layout, queue: &Queue, limit: Duration, command: &[String]) -> Result<Infallible> {
    let [program, options @ ..] = command else { return Err(Error("there is no command".to_owned())) };
    let slot = layout.at(&layout.slot(&queue.service, 1, queue.listener.as_ref()));
    let (own, deadline) = (queue.socket(layout), Instant::now() + limit);
    while Instant::now() < deadline {
        if let Some(socket) = slot.read_link_utf8().ok().filter(|socket| *socket != own) {
            let error = Command::new(program).args(options).arg(layout.at(&socket)).exec();
            return Err(Error(format!("{program} cannot be run: {error}")));
        }
        sleep(PAUSE);
    }
    Err(Error(format!("{}: closing the queue of its callers: no deployment served within {limit:?}", queue.service)))
}
