//! Slots: the proxy's fixed upstreams, each a symlink to the socket of a deployment; a further listener has slots beside those
//! of `[listen]`.
//!
//! The ready deployments determine which slot leads to which deployment; each change of them assigns the slots again,
//! with one rename(2) a slot, so that no slot is ever missing.

use fs_err as fs;
use std::collections::BTreeSet;
use std::io;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};

use crate::atomic;
use crate::deployment::queue::{self, Queue};
use crate::deployment::state;
use crate::error::Result;
use crate::layout::Layout;
use crate::live::Target;
use crate::model::Strategy;
use crate::names::listener::from_numbered;
use crate::names::{Deployment, ListenerName, ServiceName};
use crate::systemd::Manager;

/// Returns the holder of each slot, the first slot first.
///
/// Slot i leads to instance ((i − 1) mod concurrency) + 1: of the target generation if that one is ready, else of
/// another generation, else to another ready instance. An old deployment that restarts during a rollout therefore gets
/// no slot back. With strategy blue-green, another generation holds slots only while no deployment of the target is
/// ready, so that clients never reach two generations.
pub(crate) fn assign<'a>(target: &Target, ready: &'a [Deployment]) -> Vec<Option<&'a Deployment>> {
    let Target { generation, concurrency, slots, strategy, .. } = target;
    let concurrency = (*concurrency).max(1);
    let of_target = |deployment: &&Deployment| deployment.generation == *generation;
    let siblings: Vec<_> = {
        let within: Vec<_> = ready.iter().filter(of_target).filter(|d| d.instance <= concurrency).collect();
        if within.is_empty() { ready.iter().collect() } else { within }
    };
    let holder = |slot: u32| {
        let instance = (slot - 1) % concurrency + 1;
        let mine = || ready.iter().filter(|deployment| deployment.instance == instance);
        let other = || if *strategy == Strategy::BlueGreen { None } else { mine().next() };
        let sibling = || siblings.get(((slot - 1) / concurrency + slot) as usize % siblings.len().max(1)).copied();
        mine().find(of_target).or_else(other).or_else(sibling)
    };
    (1..=*slots).map(holder).collect()
}

/// Assigns the slots of a service to its ready deployments. While none is ready, slots do not change: a deployment that
/// crashed restarts behind its socket, where its clients wait.
///
/// # Errors
/// If the file system refuses a change.
pub(crate) fn settle(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    assign_all(layout, name, |_| true)
}

/// Assigns the slots of a service to its ready deployments, but leaves callers in a queue who wait there for another
/// deployment: for a hook of one that stops or has crashed.
///
/// # Errors
/// If the file system refuses a change.
pub(crate) fn pass_on(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    assign_all(layout, name, |held| !queue::is_queue(layout, name, held))
}

fn assign_all(layout: &Layout, name: &ServiceName, is_to_change: impl Fn(&Utf8Path) -> bool) -> io::Result<()> {
    let Some(target) = Target::read(layout, name)? else { return Ok(()) };
    let _guard = guard(layout, name)?;
    let ready = state::ready_with_listeners(layout, name)?;
    let dir = layout.at(&layout.slots(name));
    fs::create_dir_all(&dir)?;
    let mut led = BTreeSet::new();
    for listener in target.listeners.iter().chain(ready.iter().flat_map(|(_, listeners)| listeners)) {
        let is_new = led.insert(listener);
        let having = ready.iter().filter(|(_, listeners)| is_new && listeners.contains(listener));
        let having: Vec<_> = having.map(|(deployment, _)| deployment.clone()).collect();
        for (index, holder) in assign(&target, &having).iter().enumerate() {
            let Some(holder) = holder else { continue };
            let slot = layout.at(&layout.slot(name, index as u32 + 1, listener.as_ref()));
            let socket = holder.socket(layout, listener.as_ref());
            if !slot.read_link_utf8().is_ok_and(|held| held == socket || !is_to_change(&held)) {
                atomic::link(&socket, &slot)?;
            }
        }
    }
    unlink(&dir, |slot, listener, _| slot > target.slots || !led.contains(listener))
}

/// Leads the slots of a service to a queue: callers wait there for the next deployment that becomes ready. While another one
/// is ready nothing changes, unless `all_leave`.
///
/// # Errors
/// If systemd does not open the queue, or the file system refuses a change.
pub(crate) fn enqueue(layout: &Layout, manager: Manager, name: &ServiceName, all_leave: bool) -> Result<()> {
    let Some(target) = Target::read(layout, name)?.filter(|_| queue::is_declared(layout, name)) else { return Ok(()) };
    let _guard = guard(layout, name)?;
    let dir = layout.at(&layout.slots(name));
    let is_queued = |listener: &Option<ListenerName>| {
        let slot = layout.at(&layout.slot(name, 1, listener.as_ref()));
        slot.read_link_utf8().is_ok_and(|socket| queue::is_queue(layout, name, &socket))
    };
    let served: Vec<_> = target.listeners.iter().filter(|listener| !is_queued(listener)).cloned().collect();
    if served.is_empty() || !all_leave && !state::ready(layout, name)?.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(&dir)?;
    for (listener, queue) in served.iter().zip(queue::open(manager, name, &served)?) {
        for slot in 1..=target.slots {
            atomic::link(&queue.socket(layout), &layout.at(&layout.slot(name, slot, listener.as_ref())))?;
        }
    }
    Ok(())
}

/// Closes a queue in which callers have waited in vain: they are disconnected, and the next are refused.
///
/// # Errors
/// If the file system refuses a change.
pub(crate) fn close_queue(layout: &Layout, manager: Manager, queue: &Queue) -> io::Result<()> {
    let name = queue.service();
    let _guard = guard(layout, name)?;
    let socket = queue.socket(layout);
    unlink(&layout.at(&layout.slots(name)), |_, _, held| held == socket)?;
    queue::ask_close(manager, queue);
    Ok(())
}

/// Lists the first slots of a service's listeners.
pub(crate) fn first(layout: &Layout, name: &ServiceName) -> Vec<Utf8PathBuf> {
    let entries = atomic::entries(&layout.at(&layout.slots(name))).unwrap_or_default();
    let first = entries.iter().filter(|slot| from_numbered(slot.file_name()).is_some_and(|(number, _)| number == 1));
    first.map(|slot| slot.path().to_owned()).collect()
}

/// Returns when the first slots of a service were led to where they lead; None if there is none.
pub(crate) fn led_at(layout: &Layout, name: &ServiceName) -> Option<SystemTime> {
    // Those of all listeners are led together.
    fs::symlink_metadata(first(layout, name).first()?).and_then(|slot| slot.modified()).ok()
}

/// Removes a deployment's slots without giving them to another.
///
/// # Errors
/// If the file system refuses a change.
pub(crate) fn withdraw(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
    let _guard = guard(layout, &deployment.service)?;
    unlink(&layout.at(&layout.slots(&deployment.service)), |_, _, held| {
        Deployment::from_socket(held).is_some_and(|holder| holder == *deployment)
    })
}

/// Removes all slots of a service.
///
/// # Errors
/// If the file system refuses a change.
pub(crate) fn clear(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    let _guard = guard(layout, name)?;
    atomic::remove_dir(&layout.at(&layout.slots(name)))
}

/// Counts the slots of a service, whoever holds them; those that lead to a queue are nobody's. Those of its listeners are
/// counted once.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn count(layout: &Layout, name: &ServiceName) -> io::Result<usize> {
    let entries = atomic::entries(&layout.at(&layout.slots(name)))?;
    let is_queued = |slot: &Utf8Path| slot.read_link_utf8().is_ok_and(|socket| queue::is_queue(layout, name, &socket));
    let held = entries.iter().filter(|entry| !is_queued(entry.path()));
    let numbers: BTreeSet<_> = held.filter_map(|entry| Some(from_numbered(entry.file_name())?.0)).collect();
    Ok(numbers.len())
}

/// Lists the slots that lead to a deployment, by number.
pub(crate) fn held(layout: &Layout, name: &ServiceName) -> Vec<(u32, Deployment)> {
    let dir = layout.at(&layout.slots(name));
    let mut held = Vec::new();
    for entry in dir.read_dir_utf8().into_iter().flatten().flatten() {
        let Some((slot, _)) = from_numbered(entry.file_name()) else { continue };
        let holder = entry.path().read_link_utf8().ok().and_then(|socket| Deployment::from_socket(&socket));
        held.extend(holder.map(|holder| (slot, holder)));
    }
    held.sort();
    held.dedup();
    held
}

fn guard(layout: &Layout, name: &ServiceName) -> io::Result<std::fs::File> {
    atomic::lock(&layout.at(&layout.slots_lock(name)))
}

/// Removes the slots that are stale, by their numbers, their listeners, and where they lead.
fn unlink(dir: &Utf8Path, is_stale: impl Fn(u32, &Option<ListenerName>, &Utf8Path) -> bool) -> io::Result<()> {
    for entry in atomic::entries(dir)? {
        let held = entry.path().read_link_utf8();
        // Any other file is left over from a process that was killed while it made a slot; this process holds the lock.
        let is_removed = match (from_numbered(entry.file_name()), held) {
            (Some((slot, listener)), Ok(held)) => is_stale(slot, &listener, &held),
            (parsed, _) => parsed.is_none(),
        };
        if is_removed {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Digests;
    use crate::names::GenerationId;

    const OLD: &str = "00000000000a";
    const NEW: &str = "00000000000b";

    fn deployment(generation: &str, instance: u32) -> Deployment {
        let name = ServiceName::new("hello").expect("a name");
        Deployment::new(&name, &GenerationId::new(generation).expect("an id"), instance)
    }

    fn holders(slots: u32, concurrency: u32, ready: &[(&str, u32)]) -> Vec<String> {
        holders_by(Strategy::Rolling, slots, concurrency, ready)
    }

    fn holders_by(strategy: Strategy, slots: u32, concurrency: u32, ready: &[(&str, u32)]) -> Vec<String> {
        let ready: Vec<_> = ready.iter().map(|(generation, instance)| deployment(generation, *instance)).collect();
        let none = String::new;
        let digests = Digests { generation: none(), routes: none(), scale: none(), settings: none() };
        let generation = GenerationId::new(NEW).expect("an id");
        let target = Target {
            generation,
            concurrency,
            slots,
            listeners: vec![None],
            strategy,
            digests,
            format: 1,
            variables: Default::default(),
        };
        let held = assign(&target, &ready);
        held.iter()
            .map(|d| d.map_or("-".into(), |d| format!("{}{}", &d.generation.as_str()[11..], d.instance)))
            .collect()
    }

    #[test]
    fn slots_belong_to_instances_in_turn() {
        let held = holders(6, 3, &[(NEW, 1), (NEW, 2), (NEW, 3)]);
        assert_eq!(held, ["b1", "b2", "b3", "b1", "b2", "b3"]);
    }

    #[test]
    fn an_old_deployment_takes_nothing_back() {
        let held = holders(3, 3, &[(OLD, 1), (OLD, 2), (OLD, 3), (NEW, 1)]);
        assert_eq!(held, ["b1", "a2", "a3"]);
    }

    #[test]
    fn blue_green_generations_do_not_mix() {
        let held = |ready: &[(&str, u32)]| holders_by(Strategy::BlueGreen, 4, 2, ready);
        assert_eq!(held(&[(NEW, 1), (OLD, 1), (OLD, 2)]), ["b1"; 4], "one that crashed has its sibling's help");
        assert_eq!(held(&[(OLD, 1)]), ["a1"; 4], "better the other than none");
    }

    #[test]
    fn siblings_stand_in() {
        assert_eq!(holders(4, 2, &[(NEW, 2)]), ["b2"; 4]);
        assert_eq!(holders(2, 2, &[(OLD, 2)]), ["a2"; 2]);
        assert_eq!(holders(2, 2, &[]), ["-"; 2]);
    }

    #[test]
    fn scaling_down_leaves_the_higher_instances() {
        let held = holders(6, 2, &[(NEW, 1), (NEW, 2), (NEW, 3), (NEW, 4), (NEW, 5)]);
        assert_eq!(held, ["b1", "b2", "b1", "b2", "b1", "b2"]);
    }
}
