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
use crate::names::{Deployment, GenerationId, ListenerName, ServiceName};
use crate::systemd::Manager;

/// The deployments of one generation that is to hold slots, and who stands in for them.
struct Holders<'a> {
    generation: &'a GenerationId,
    concurrency: u32,
    ready: &'a [Deployment],
    siblings: Vec<&'a Deployment>,
    /// Whether a deployment of another generation holds the slots of an instance that is not ready.
    mixes: bool,
}

impl<'a> Holders<'a> {
    fn new(generation: &'a GenerationId, concurrency: u32, ready: &'a [Deployment], mixes: bool) -> Self {
        let concurrency = concurrency.max(1);
        let within = |one: &&Deployment| one.generation == *generation && one.instance <= concurrency;
        let within: Vec<_> = ready.iter().filter(within).collect();
        let siblings = if within.is_empty() { ready.iter().collect() } else { within };
        Self { generation, concurrency, ready, siblings, mixes }
    }

    /// Returns the holder of one of its slots, by number.
    fn holder(&self, slot: u32) -> Option<&'a Deployment> {
        let instance = (slot - 1) % self.concurrency + 1;
        let mine = || self.ready.iter().filter(|deployment| deployment.instance == instance);
        let other = || if self.mixes { mine().next() } else { None };
        let turn = ((slot - 1) / self.concurrency + slot) as usize;
        let sibling = || self.siblings.get(turn % self.siblings.len().max(1)).copied();
        mine().find(|one| one.generation == *self.generation).or_else(other).or_else(sibling)
    }
}

/// Returns the holder of each slot, the first slot first.
///
/// Slot i leads to instance ((i − 1) mod concurrency) + 1: of the target generation if that one is ready, else of
/// another generation, else to another ready instance. An old deployment that restarts during a rollout therefore gets
/// no slot back. With strategy blue-green, and beside a canary, another generation holds slots only while no deployment of the
/// target is ready: clients never reach two generations, or each in its share. A canary has the last slots.
pub(crate) fn assign<'a>(target: &'a Target, ready: &'a [Deployment]) -> Vec<Option<&'a Deployment>> {
    let Target { generation, concurrency, slots, strategy, canary, .. } = target;
    let mixes = matches!(strategy, Strategy::Rolling | Strategy::Recreate) && canary.is_none();
    let served = Holders::new(generation, *concurrency, ready, mixes);
    let Some(canary) = canary else { return (1..=*slots).map(|slot| served.holder(slot)).collect() };
    let tried = Holders::new(&canary.generation, canary.concurrency, ready, false);
    let stay = slots.saturating_sub(canary.slots);
    let holder = |slot| if slot <= stay { served.holder(slot) } else { tried.holder(slot - stay) };
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

/// Changes the target of a service, and assigns its slots by it, before anybody else changes either.
///
/// # Errors
/// Those of `change`, which writes the target that it returns; and if the file system refuses a change.
pub(crate) fn redirect<E: From<io::Error>>(
    layout: &Layout,
    name: &ServiceName,
    change: impl FnOnce(Option<Target>) -> Result<Target, E>,
) -> Result<(), E> {
    let _guard = guard(layout, name)?;
    let target = change(Target::read(layout, name)?)?;
    Ok(assign_guarded(layout, name, &target, |_| true)?)
}

fn assign_all(layout: &Layout, name: &ServiceName, is_to_change: impl Fn(&Utf8Path) -> bool) -> io::Result<()> {
    if Target::read(layout, name)?.is_none() {
        return Ok(());
    }
    let _guard = guard(layout, name)?;
    // It may have changed before the lock was this hook's.
    match Target::read(layout, name)? {
        Some(target) => assign_guarded(layout, name, &target, is_to_change),
        None => Ok(()),
    }
}

/// Assigns the slots of a service, whose lock the caller holds.
fn assign_guarded(
    layout: &Layout,
    name: &ServiceName,
    target: &Target,
    is_to_change: impl Fn(&Utf8Path) -> bool,
) -> io::Result<()> {
    let dir = layout.at(&layout.slots(name));
    fs::create_dir_all(&dir)?;
    let (led, assigned) = assigned(layout, name, target)?;
    for (slot, socket) in assigned {
        if !slot.read_link_utf8().is_ok_and(|held| held == socket || !is_to_change(&held)) {
            atomic::link(&socket, &slot)?;
        }
    }
    unlink(&dir, |slot, listener, _| slot > target.slots || !led.contains(listener))
}

/// A slot, and the socket that it leads to.
type Led = (Utf8PathBuf, Utf8PathBuf);

/// Returns the listeners of a service that slots lead to, and where each slot of theirs leads that a deployment holds.
fn assigned(
    layout: &Layout,
    name: &ServiceName,
    target: &Target,
) -> io::Result<(BTreeSet<Option<ListenerName>>, Vec<Led>)> {
    let ready = state::ready_with_listeners(layout, name)?;
    let (mut led, mut assigned) = (BTreeSet::new(), Vec::new());
    for listener in target.listeners.iter().chain(ready.iter().flat_map(|(_, listeners)| listeners)) {
        if !led.insert(listener.clone()) {
            continue;
        }
        let having = ready.iter().filter(|(_, listeners)| listeners.contains(listener));
        let having: Vec<_> = having.map(|(deployment, _)| deployment.clone()).collect();
        let holders = (1..).zip(assign(target, &having)).filter_map(|(slot, holder)| Some((slot, holder?.clone())));
        assigned.extend(holders.map(|(slot, holder)| {
            let slot = layout.at(&layout.slot(name, slot, listener.as_ref()));
            (slot, holder.socket(layout, listener.as_ref()))
        }));
    }
    Ok((led, assigned))
}

/// Returns whether the slots of a service lead where its target and its ready deployments say. They do not when a hook was killed
/// between the target and them.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn is_settled(layout: &Layout, name: &ServiceName, target: &Target) -> io::Result<bool> {
    let (_, assigned) = assigned(layout, name, target)?;
    Ok(assigned.iter().all(|(slot, socket)| slot.read_link_utf8().is_ok_and(|held| held == *socket)))
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
    use crate::live::canary::Canary;

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
        holders_beside(None, strategy, slots, concurrency, ready)
    }

    fn holders_beside(
        canary: Option<Canary>,
        strategy: Strategy,
        slots: u32,
        concurrency: u32,
        ready: &[(&str, u32)],
    ) -> Vec<String> {
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
            canary,
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
    fn a_canary_has_the_last_slots() {
        let held = |slots: u32, concurrency: u32, ready: &[(&str, u32)]| {
            let generation = GenerationId::new("00000000000c").expect("an id");
            let canary = Canary { slots, concurrency, ..Canary::new(generation, 1) };
            holders_beside(Some(canary), Strategy::Canary, 6, 2, ready).concat()
        };
        let (old, both) = ([(NEW, 1), (NEW, 2)], [(NEW, 1), (NEW, 2), ("00000000000c", 1), ("00000000000c", 2)]);
        assert_eq!(held(0, 1, &both), "b1b2b1b2b1b2", "before its first step, and when it is aborted");
        assert_eq!(held(1, 1, &both[..3]), "b1b2b1b2b1c1");
        assert_eq!(held(3, 2, &both), "b1b2b1c1c2c1");
        assert_eq!(held(3, 2, &both[..3]), "b1b2b1c1c1c1", "one that crashed has its sibling's help");
        assert_eq!(held(3, 2, &both[1..]), "b2b2b2c1c2c1");
        assert_eq!(held(3, 2, &old).matches('b').count(), 6, "better the other than none");
        assert_eq!(held(3, 2, &both[2..]).matches('c').count(), 6, "better the other than none");
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
