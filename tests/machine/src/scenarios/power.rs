//! The power is cut at each moment of what changes a disk.
//!
//! An emulated machine has the declarations and their history on a disk of which every write is recorded. What the disk
//! has after each of these writes is what a power cut leaves; it is judged without that machine, and some of it is
//! booted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use conductor_machine::machine::{Machine, installed};
use conductor_machine::recorded::{Record, Recorded};
use conductor_machine::vm::{APP, Vm};

use crate::scenario::scenarios;

scenarios!("power":
    cuts: "the power is cut after any write to the disk while services are declared, rolled out, scaled, rolled back and \
           removed, and functions are declared and removed; every second write since the disk's last flush may be lost (on \
           an emulated Debian 13)"
        => "the disk has the old or the new declaration, whole, each stored generation is complete, and each boots and \
            serves; after a command has ended, its declaration is the new one",
);

/// Writes of one command after which the power is cut, at most: as many as are judged in about ten seconds.
const CUTS: usize = 16;

/// As long as nobody syncs, nothing is written: no timer, and no heuristics of ext4 that sync what is renamed.
const MOUNT: &str = "mkdir /state; mount -o commit=3600,noauto_da_alloc /dev/vdc /state
    echo 0 >/proc/sys/vm/dirty_writeback_centisecs; echo 360000 >/proc/sys/vm/dirty_expire_centisecs
    mkdir -p /etc/conductor /var/lib/conductor; cp -a /etc/conductor /state/etc; cp -a /var/lib/conductor /state/var
    mount --bind /state/etc /etc/conductor; mount --bind /state/var /var/lib/conductor
    mkdir -p /root/shop/data /root/act; cp /bin/true /root/act/act
    sed -i /^:80/,/^}/d /etc/caddy/Caddyfile; systemctl reload caddy";
const SERVICE: &str = "concurrency = 1
[exec]
command = [\"/usr/local/bin/app\", \"--version\", \"{{ VERSION }}\", \"--stop-delay\", \"0s\"]
[health]
http = \"/healthz\"
[deploy]
health_timeout = \"120s\"
";
const FUNCTION: &str =
    "name = \"act\"\naliases = [\"/act\", \"/deed\"]\n[exec]\ncommand = [\"./act\", \"{{ VERSION }}\"]\n";

/// What changes the disk, after what an administrator prepares; and whether in one step: then all of it is as before or as
/// after.
const STEPS: &[(&str, &str, bool)] = &[
    ("yes 1 | head -c 300000 >/root/shop/data/blob", "conductor service declare /root/shop VERSION=1", true),
    ("yes 2 | head -c 300000 >/root/shop/data/blob", "conductor service declare /root/shop VERSION=2", true),
    ("", "conductor service rollback shop", true),
    ("", "conductor service scale shop 2", true),
    ("yes 3 | head -c 200000 >/etc/conductor/services/shop/data/more", "conductor daemon-reload", true),
    ("", "conductor cgi declare /root/act VERSION=1", false),
    ("", "conductor cgi declare /root/act VERSION=2", false),
    ("", "conductor cgi rm /act", false),
    ("", "conductor service rm shop", false),
];

/// A step that was taken, in lengths of the record.
struct Step {
    command: &'static str,
    is_one: bool,
    begin: u64,
    done: u64,
    synced: u64,
}

fn cuts(m: &mut Machine) {
    // What is judged depends on the file system, which is the same on both releases.
    if m.suite != "trixie" {
        return m.note("shown on trixie only");
    }
    let disk = Recorded::new();
    let start = Instant::now();
    let steps = take(m, &disk);
    m.note(format!("recorded in {:.0} s", start.elapsed().as_secs_f64()));
    let record = disk.record(steps.last().expect("steps").synced);
    let scratch = disk.scratch();
    let mut judge =
        Judge { disk: &disk, record: &record, scratch, points: 0, found: BTreeMap::new(), known: Known::default() };
    let states: Vec<_> = steps.iter().map(|step| judge.ends(step)).collect();
    for (step, (before, after)) in steps.iter().zip(&states) {
        judge.step(step, before, after);
    }
    let took = start.elapsed().as_secs_f64();
    m.note(format!("{} cuts, {} different disks, judged after {took:.0} s", judge.points, judge.found.len()));
    boots(m, &judge.found);
}

/// Takes all steps on an emulated machine.
fn take(m: &Machine, disk: &Recorded) -> Vec<Step> {
    let vm = Vm::boot_with(&m.suite, &installed(&m.suite), disk);
    vm.write("/root/shop/service.toml", SERVICE);
    vm.write("/root/act/function.toml", FUNCTION);
    vm.run(MOUNT);
    let synced = || {
        vm.run("sync");
        disk.length()
    };
    let steps = STEPS.iter().map(|&(prepare, command, is_one)| {
        vm.run(prepare);
        let begin = synced();
        vm.run(command);
        let done = disk.length();
        Step { command, is_one, begin, done, synced: synced() }
    });
    steps.collect()
}

/// What a disk has: directories, links and files with their modes, by path.
type Tree = BTreeMap<PathBuf, String>;

fn tree(dir: &Path) -> Tree {
    let mut found = Tree::new();
    let mut rest = vec![dir.to_owned()];
    while let Some(next) = rest.pop() {
        for entry in fs::read_dir(&next).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            let metadata = entry.symlink_metadata().expect("an entry");
            let content = if metadata.is_dir() {
                rest.push(entry.clone());
                String::new()
            } else if metadata.is_symlink() {
                fs::read_link(&entry).expect("a link").display().to_string()
            } else {
                String::from_utf8_lossy(&fs::read(&entry).expect("a file")).into_owned()
            };
            let path = entry.strip_prefix(dir).expect("below it").to_owned();
            found.insert(path, format!("{:o} {content}", metadata.mode()));
        }
    }
    found
}

/// A disk as Conductor looks at it: without what a killed command had not finished.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// What is declared: services, drop-ins, functions and aliases, each by itself.
    declared: BTreeMap<PathBuf, Tree>,
    /// The files and the declaration of each generation.
    stored: BTreeMap<PathBuf, Tree>,
    is_unfinished: bool,
}

impl State {
    fn of(tree: &Tree) -> Self {
        let is_unfinished = |path: &Path| {
            let mut names = path.iter().filter_map(|name| name.to_str());
            names.any(|name| name.starts_with(".conductor-") || name.starts_with('.') && name.ends_with(".new"))
        };
        let mut state = Self { declared: BTreeMap::new(), stored: BTreeMap::new(), is_unfinished: false };
        for (path, content) in tree {
            state.is_unfinished |= is_unfinished(path);
            let names: Vec<_> = path.iter().filter_map(|name| name.to_str()).collect();
            let (things, depth) = match names[..] {
                ["etc", "services" | "functions" | "aliases", ..] => (&mut state.declared, 3),
                ["var", "generations", _, _, "files" | "declared", ..] => (&mut state.stored, 5),
                _ => continue,
            };
            if names.len() >= depth && !is_unfinished(path) {
                let thing = things.entry(path.iter().take(depth).collect()).or_default();
                thing.insert(path.iter().skip(depth).collect(), content.clone());
            }
        }
        // A directory without drop-ins says nothing.
        let says_nothing = |name: &Path, tree: &Tree| name.extension().is_some_and(|it| it == "d") && tree.len() == 1;
        state.declared.retain(|name, tree| !says_nothing(name, tree));
        state
    }

    fn services(&self) -> Vec<(&PathBuf, &Tree)> {
        self.declared.iter().filter(|(name, _)| name.starts_with("etc/services")).collect()
    }

    /// The names of what is declared otherwise than in another state.
    fn differences<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a Path> {
        let names = self.declared.keys().chain(other.declared.keys()).map(PathBuf::as_path);
        names.filter(|name| self.declared.get(*name) != other.declared.get(*name)).collect()
    }
}

/// Complete parts of generations, as the disks between the steps have them.
#[derive(Default)]
struct Known(BTreeMap<PathBuf, Vec<Tree>>);

struct Judge<'a> {
    disk: &'a Recorded,
    record: &'a Record,
    scratch: PathBuf,
    points: usize,
    /// A directory for each different disk.
    found: BTreeMap<State, PathBuf>,
    known: Known,
}

impl Judge<'_> {
    /// The disk before and after a step.
    fn ends(&mut self, step: &Step) -> (State, State) {
        let mut state = |length| self.look(0..self.record.count(length), None);
        let ends = (state(step.begin), state(step.synced));
        for (part, tree) in ends.0.stored.iter().chain(&ends.1.stored) {
            self.known.0.entry(part.clone()).or_default().push(tree.clone());
        }
        ends
    }

    /// Reads what is on the disk after some writes; with `losing`, when its cache loses some of them.
    fn look(&mut self, writes: Range<usize>, losing: Option<usize>) -> State {
        let dir = self.scratch.join(self.points.to_string());
        self.points += 1;
        match losing {
            None => self.disk.restore(self.record, writes, &dir),
            Some(seed) => self.disk.restore(self.record, self.record.losing(writes.end, seed), &dir),
        }
        let state = State::of(&tree(&dir));
        if self.found.contains_key(&state) {
            fs::remove_dir_all(&dir).expect("a directory of its own");
        } else {
            self.found.insert(state.clone(), dir);
        }
        state
    }

    fn step(&mut self, step: &Step, before: &State, after: &State) {
        let range = self.record.count(step.begin)..self.record.count(step.done);
        let writes = self.record.writes(range.clone());
        let every = writes.len().div_ceil(CUTS).max(1);
        for count in writes.into_iter().step_by(every) {
            for losing in [None, Some(count)] {
                let state = self.look(0..count, losing);
                self.judge(step, &format!("{count} writes, {losing:?}"), &state, before, after);
            }
        }
        let ended = self.look(0..range.end, None);
        assert_eq!(ended.differences(after), BTreeSet::new(), "{}: has ended", step.command);
    }

    fn judge(&self, step: &Step, what: &str, state: &State, before: &State, after: &State) {
        let what = format!("{} of {}: {what}", step.command, self.record.count(step.done));
        let (from_old, from_new) = (state.differences(before), state.differences(after));
        let between: Vec<_> = from_old.intersection(&from_new).collect();
        assert!(between.is_empty(), "{what}: neither old nor new: {between:?}");
        let is_whole = from_old.is_empty() || from_new.is_empty();
        // A service loses its drop-ins after its declaration.
        let is_gone = from_new.iter().all(|name| name.extension().is_some_and(|extension| extension == "d"));
        let is_function = |name: &&Path| name.starts_with("etc/functions") || name.starts_with("etc/aliases");
        assert!(
            is_whole || !step.is_one && (is_gone || from_old.iter().all(is_function)),
            "{what}: old but for {from_old:?}, new but for {from_new:?}"
        );
        for (part, tree) in &state.stored {
            let known = self.known.0.get(part).map_or(&[][..], Vec::as_slice);
            assert!(known.contains(tree), "{what}: {} is not complete: {:?}", part.display(), tree.keys());
        }
        for generation in state.stored.keys().map(|part| part.parent().expect("a generation")) {
            let is_there = |part: &str| state.stored.contains_key(&generation.join(part));
            assert!(is_there("files") && is_there("declared"), "{what}: {} is not complete", generation.display());
        }
    }
}

/// Boots each kind of disk that was found: which services are declared, and whether a command had not finished.
fn boots(m: &mut Machine, found: &BTreeMap<State, PathBuf>) {
    m.copy_app(APP);
    m.write("/etc/caddy/Caddyfile", "# No site of its own.\n{\n}\n");
    let mut kinds = BTreeSet::new();
    let disks = found.iter().filter(|(state, _)| kinds.insert((state.services(), state.is_unfinished)));
    let mut booted = 0;
    for (state, dir) in disks {
        let shop = state.declared.get(Path::new("etc/services/shop"));
        m.run("systemctl stop shop 2>/dev/null || true");
        m.run("rm -rf /etc/conductor/* /etc/conductor/.[!.]* /var/lib/conductor/* /var/lib/conductor/.[!.]*");
        m.copy_dir(&dir.join("etc"), "/etc/conductor");
        m.copy_dir(&dir.join("var"), "/var/lib/conductor");
        m.run("conductor check");
        m.reboot();
        assert_eq!(m.failed_units(), Vec::<String>::new(), "{state:?}");
        let answer = m.try_run("curl --silent --fail --unix-socket /run/conductor/slots/shop/1 http://shop/").stdout;
        let version = shop.map_or("", |shop| if shop[Path::new("service.toml")].contains("\"1\"") { "1" } else { "2" });
        assert_eq!(answer.split(' ').next(), Some(version), "{:?}", state.declared.keys());
        let reload = m.run("conductor daemon-reload");
        assert!(shop.is_none() || reload.contains("every service is as declared"), "{reload}");
        let left = m.run("find /etc/conductor /var/lib/conductor /run/conductor -name '.conductor-*'");
        assert_eq!(left, "", "a reload sweeps what was not finished");
        booted += 1;
    }
    m.note(format!("{booted} booted"));
}
