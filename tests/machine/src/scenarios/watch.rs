//! Looks at the shop's slots all the time while something else happens.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use conductor_machine::machine::Machine;

const PAUSE: Duration = Duration::from_millis(2);

pub(super) struct Watch {
    over: Arc<AtomicBool>,
    looks: JoinHandle<Looks>,
}

/// What was seen.
#[derive(Default)]
pub(super) struct Looks {
    pub count: u32,
    /// The fewest slots that named a listening socket at one time.
    pub fewest: Option<usize>,
}

impl Watch {
    /// Begins to look. The shop must be serving.
    pub(super) fn begin(m: &Machine) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (until, leader) = (over.clone(), m.leader());
        Self { over, looks: thread::spawn(move || look_until(&until, leader)) }
    }

    /// Stops looking, and panics if there was a moment at which no slot was live.
    #[track_caller]
    pub(super) fn end(self) -> Looks {
        self.over.store(true, Ordering::Relaxed);
        let looks = self.looks.join().expect("a look at the slots");
        assert!(looks.count > 10, "{} looks at the slots", looks.count);
        assert!(looks.fewest.is_some_and(|fewest| fewest > 0), "there was a moment with no live slot");
        looks
    }
}

fn look_until(over: &AtomicBool, leader: i32) -> Looks {
    let mut looks = Looks::default();
    while !over.load(Ordering::Relaxed) {
        let slots = slots(leader);
        let listening = listening(leader);
        // What was renamed in between says nothing.
        if slots == self::slots(leader) {
            let live = slots.values().filter(|socket| listening.contains(*socket)).count();
            looks.count += 1;
            looks.fewest = Some(looks.fewest.map_or(live, |fewest| fewest.min(live)));
        }
        thread::sleep(PAUSE);
    }
    looks
}

fn slots(leader: i32) -> BTreeMap<String, String> {
    let dir = PathBuf::from(format!("/proc/{leader}/root/run/conductor/slots/shop"));
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let held = entries.filter_map(|entry| {
        let socket = fs::read_link(entry.path()).ok()?.to_str()?.to_owned();
        Some((entry.file_name().to_str()?.to_owned(), socket))
    });
    held.filter(|(slot, _)| !slot.starts_with('.')).collect()
}

/// Paths of listening sockets, by unix(7)'s table in /proc: `Num: RefCount Protocol Flags Type St Inode Path`, and
/// the flag of those that accept.
fn listening(leader: i32) -> HashSet<String> {
    let table = fs::read_to_string(format!("/proc/{leader}/net/unix")).unwrap_or_default();
    let path = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.get(3) == Some(&"00010000")).then(|| words.get(7).map(|path| (*path).to_owned())).flatten()
    };
    table.lines().filter_map(path).collect()
}
